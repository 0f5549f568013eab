"""The functions that read and write the wire's other forms, with inputs for `tests/test_growth.py`: the Messages API,
standard events, images as data, headers, forms and queries of single routes, profiles and containers.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from functools import partial
from typing import Any

import httpx
import msgspec
from starlette.requests import Request

from codeact import events as e
from codeact.agent.call_items import check_client_call
from codeact.agent.environment_recording import seeds_in
from codeact.agent.model_calls import _checked
from codeact.errors import NotFound
from codeact.file_names import is_second
from codeact.ids import made_at_ms
from codeact.roles import role_of
from codeact.runs.media import served_type
from codeact.sealing import Sealer
from codeact.server.errors import close_reason
from codeact.server.login.attempt import resume
from codeact.server.login.provider import _is_safe
from codeact.server.peers.passed_run import Lines
from codeact.server.public_view import copied_conversation
from codeact.server.requests.containers import AllowedNetwork, SecretOfDomain, container_options
from codeact.server.requests.messages import parse_count
from codeact.server.requests.parameters import checked, read_json
from codeact.server.requests.profiles import ProfileBody, stored_values
from codeact.server.requests.skills import _read
from codeact.server.routes.access import _time
from codeact.server.routes.container_views import _name_of
from codeact.server.routes.files import _nested
from codeact.server.routes.login import NEXT
from codeact.server.transports import messages as messages_api
from codeact.server.transports.code_items import without_code
from codeact.server.transports.data_urls import _frame
from codeact.server.transports.message_blocks import MessageBlocks
from codeact.server.transports.standard_events import of_the_standard
from codeact.server.transports.summaries import with_summaries
from codeact.settings import Settings
from codeact.skills.bundle import read_zip
from codeact.store.records import Blob, StoredResponse
from codeact.store.repositories.excerpts import _around
from codeact.tools.function import Function
from sandbox_pool.outputs import DisplayData, Error, ExecutionResult, Stream
from tests.growth import BYTES, PIECES, TEXTS, Inputs, Reader, contents, refusing

__all__ = ["TABLE"]

SETTINGS = Settings(_env_file=None, egress_domains=[".test"])  # type: ignore[call-arg]
SEALER = Sealer(bytes(32))
SHELL = Function("shell", "", {}, client_shell="shell")
SEEN = b"PK\x05\x06"
END_OF_ZIP = b"PK\x05\x06" + bytes(18)


# ---- the Messages API ------------------------------------------------------------------------------------


def blocks(pieces: list[str]) -> None:
    """One answer: prose, thinking, code in pieces, its outputs, and calls of functions."""
    made = MessageBlocks(thinking=True)
    code = e.CodeInterpreterCall(id="ci_1", container_id="", code="".join(pieces))
    code.notebook_outputs = [Stream("stdout", "".join(pieces)), Error("E", "v", pieces)]
    code.result = ExecutionResult(status="error", duration_s=0.0)
    events: list[Any] = [e.ReasoningTextDelta("rs_1", 0, piece) for piece in pieces]
    events += [e.OutputTextDelta(item_id="msg_1", output_index=0, delta=piece) for piece in pieces]
    events += [e.CodeDelta(item_id="ci_1", output_index=0, delta=piece) for piece in pieces]
    arguments = msgspec.json.encode({"a": "".join(pieces)}).decode()
    calls = [e.FunctionCall(id="", call_id="c", name="f", arguments=arguments)]
    events += [e.OutputItemDone(output_index=0, item=item) for item in (*calls, code)]
    for event in events:
        for _ in made.feed(event):
            pass
    for _ in made.finish():
        pass


def asked(content: bytes) -> None:
    """A question in every kind of content block."""
    text = msgspec.json.decode(content)
    kinds: list[dict[str, Any]] = [
        {"type": "text", "text": text},
        {"type": "image", "source": {"type": "base64", "data": text, "media_type": "image/png"}},
        {"type": "document", "title": text[:500], "source": {"type": "text", "data": text}},
        {"type": "tool_use", "id": "a", "name": "f", "input": {"a": text}},
        {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": text}]},
        {"type": "server_tool_use", "id": "b", "name": "code_execution", "input": {"code": text}},
        {"type": "code_execution_tool_result", "tool_use_id": "b", "content": {"type": "x", "stdout": text}},
        {"type": "thinking", "thinking": text, "signature": text},
    ]
    body = {"model": "m", "system": text, "messages": [{"role": "user", "content": kinds}]}
    messages_api.as_create(parse_count(body))


# ---- streams ---------------------------------------------------------------------------------------------


async def standard(frames: list[str]) -> None:
    async def stream() -> AsyncGenerator[list[str], None]:
        yield frames

    async for _ in of_the_standard(stream()):
        pass


async def without(frames: list[str]) -> None:
    async def stream() -> AsyncGenerator[list[str], None]:
        yield frames

    async for _ in without_code(stream()):
        pass


async def summarised(frames: list[str]) -> None:
    async def stream() -> AsyncGenerator[list[str], None]:
        yield frames

    async for _ in with_summaries(stream()):
        pass


def thought(n: int) -> list[str]:
    """Events of items of reasoning, the last event with all of them, and one with as long a text."""
    item = e.Reasoning(id="rs_1", content=[e.ReasoningTextPart("x")])
    events: list[Any] = [e.OutputItemDone(output_index=at, item=item) for at in range(n)]
    events += [e.ReasoningTextDelta(item_id="rs_1", output_index=0, delta="x" * n)]
    events += [e.ResponseCompleted(response=e.Response(id="resp_1", created_at=0, model="m", output=[item] * n))]
    return [e.encode(event).decode() for event in events]


def ended(n: int) -> list[str]:
    """Events of as many items of code, and the last event with all of them."""
    code = e.CodeInterpreterCall(id="ci_1", container_id="", code="x")
    code.notebook_outputs = [DisplayData({"application/json": msgspec.Raw(b"[[],[],[]]")}, {})]
    events = [e.encode(e.OutputItemDone(output_index=at, item=code)).decode() for at in range(n)]
    response = e.Response(id="resp_1", created_at=0, model="m", output=[code] * n)
    return [*events, e.encode(e.ResponseCompleted(response=response)).decode()]


def framed(pieces: list[str]) -> list[str]:
    made = [e.encode(e.CodeDelta(item_id="ci_1", output_index=0, delta=piece)).decode() for piece in pieces]
    return [frame[:-1] + ',"sequence_number":7}' if '"sequence_number"' not in frame else frame for frame in made]


async def no_blob(sha256: str) -> Blob:
    raise NotFound("")


async def image(sha256: str) -> Blob:
    return Blob(b"\x89PNG\r\n\x1a\n", "image/png")


class Body:
    """The body of an answer of another server."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    async def aiter_raw(self) -> AsyncGenerator[bytes, None]:
        for piece in self._pieces:
            yield piece


async def lines(pieces: list[bytes]) -> None:
    with suppress(httpx.HTTPError):  # A stream of this server never ends by itself.
        async for _ in Lines(Body(pieces)):  # type: ignore[arg-type]
            pass


# ---- headers, queries, forms -----------------------------------------------------------------------------


def with_header(name: str, text: str) -> Request:
    headers = [(name.encode(), text.encode("latin-1", "replace"))]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": headers, "scheme": "http"}, nothing)


async def nothing() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


def cookie(text: str) -> object:
    return resume(with_header("cookie", f"codeact_login=cs1.{text}"), "state", SEALER)


def typed(text: str) -> object:
    return asyncio.run(read_json(with_header("content-type", text), 100))


def profile(text: str) -> object:
    body = {"name": text[:100], "description": text[:500], "instructions": text[:20_000], "tools": []}
    return stored_values(checked(body, ProfileBody), SETTINGS)


def domains(given: list[str]) -> object:
    secrets = [SecretOfDomain(each, f"A{at}", "x") for at, each in enumerate(given[:32])]
    policy = AllowedNetwork([each[:253] for each in given[:100]], secrets)
    return container_options(None, policy, SETTINGS)


def shared(n: int) -> StoredResponse:
    code = e.CodeInterpreterCall(id="ci_1", container_id="", code="x" * n, outputs=[e.LogsOutput("x")] * n)
    output: list[e.Item] = [e.Message(id=f"msg_{at}", content=[e.OutputText("x")]) for at in range(n)]
    return StoredResponse(e.Response(id="resp_1", created_at=0, model="m", output=[*output, code]), [])


def shell(given: object) -> None:
    check_client_call(SHELL, {"commands": given, "timeout_ms": given})


HOSTS: Inputs = {
    name: lambda n, make=make: [make(n)]  # type: ignore[misc]
    for name, make in {**TEXTS, "labels": lambda n: "a." * n + "test", "hyphens": lambda n: "-" * n + ".test"}.items()
}

TABLE: dict[str, tuple[Reader, Inputs]] = {
    "codeact.server.transports.message_blocks.MessageBlocks": (blocks, PIECES),
    "codeact.server.requests.messages.parse_count": (
        refusing(asked),
        {name: make for name, make in contents("", "").items() if not name.startswith("json")},
    ),
    "codeact.server.transports.standard_events.of_the_standard": (
        lambda frames: asyncio.run(standard(frames)),
        {
            **{name: lambda n, make=make: framed(make(n)) for name, make in PIECES.items()},  # type: ignore[misc]
            "numbers in the text": lambda n: framed(['"sequence_number":' * n]),
        },
    ),
    "codeact.server.transports.code_items.without_code": (
        lambda frames: asyncio.run(without(frames)),
        {
            **{name: lambda n, make=make: framed(make(n)) for name, make in PIECES.items()},  # type: ignore[misc]
            "items of code": ended,
        },
    ),
    "codeact.server.transports.summaries.with_summaries": (
        lambda frames: asyncio.run(summarised(frames)),
        {
            **{name: lambda n, make=make: framed(make(n)) for name, make in PIECES.items()},  # type: ignore[misc]
            "items of reasoning": thought,
        },
    ),
    "codeact.server.transports.data_urls._frame": (
        lambda frame: [asyncio.run(_frame(frame, get)) for get in (no_blob, image)],
        {
            **TEXTS,
            "images": lambda n: f'"type":"image","url":"blob:{"0" * 64}"' * (n // 10 + 1),
            "half images": lambda n: '"type":"image","url":"blob:' * n,
        },
    ),
    "codeact.server.peers.passed_run.Lines": (
        lambda pieces: asyncio.run(lines(pieces)),
        {
            "lines": lambda n: [b"Fx\n" * 10] * n,
            "pieces of one line": lambda n: [b"Fxxxxxxxxxxxxxxxxxx"] * n,
            "alive": lambda n: [b"\n"] * n,
        },
    ),
    "codeact.server.errors.close_reason": (close_reason, {"wide": lambda n: "\u00e9" * n}),
    "codeact.server.login.attempt.resume": (
        refusing(cookie),
        {**TEXTS, "a long one": lambda n: "A" * n, "cookies": lambda n: ";codeact_login=a" * n},
    ),
    "codeact.server.login.provider._is_safe": (
        lambda url: _is_safe(url, "https://a/"),
        {name: lambda n, make=make: f"https://{make(n)}" for name, make in TEXTS.items()},  # type: ignore[misc]
    ),
    "codeact.server.requests.parameters.read_json": (
        refusing(typed),
        {**TEXTS, "a type": lambda n: "text/" + "a+" * n},
    ),
    "codeact.server.requests.profiles.stored_values": (refusing(profile), TEXTS),
    "codeact.server.requests.containers.container_options": (
        refusing(domains),
        {**HOSTS, "domains": lambda n: [f"{at}.test" for at in range(n)]},
    ),
    "codeact.server.routes.access._time": (
        refusing(partial(_time, param="since")),
        {**TEXTS, "digits": lambda n: "1" * n, "other digits": lambda n: "\u0661" * n, "dots": lambda n: "." * n},
    ),
    "codeact.server.routes.container_views._name_of": (
        _name_of,
        {**TEXTS, "parts": lambda n: "a/../" * n, "up": lambda n: "../" * n, "slashes": lambda n: "/" * n},
    ),
    "codeact.server.routes.files._nested": (
        _nested,
        {"fields": lambda n: {f"expires_after[{at}]": "x" for at in range(n)}, "brackets": lambda n: {"[" * n: "x"}},
    ),
    "codeact.server.routes.login.NEXT": (NEXT.fullmatch, {**TEXTS, "a name": lambda n: "/c/" + "a" * n}),
    "codeact.skills.bundle.read_zip": (
        refusing(partial(read_zip, param="")),
        {
            **BYTES,
            "ends": lambda n: END_OF_ZIP * n,
            "beginnings of an end": lambda n: SEEN * n + END_OF_ZIP,
            "entries": lambda n: b"PK\x01\x02" * n + END_OF_ZIP,
        },
    ),
    "codeact.server.requests.skills._read": (
        refusing(partial(_read, param="")),
        {**TEXTS, "letters": lambda n: "UEsF" * n},
    ),
    "codeact.server.public_view.copied_conversation": (
        lambda items: asyncio.run(copied_conversation(items)),
        {"answers": lambda n: [shared(n)], "responses": lambda n: [shared(1) for _ in range(n)]},
    ),
    "codeact.sealing.Sealer": (refusing(lambda text: SEALER.open("k", f"cs1.{text}", owner="o")), TEXTS),
    "codeact.roles.role_of": (
        lambda text: role_of([("user", ("*@a.test", "b@a.test", "g"))], groups=[text] * 100, email=text),
        TEXTS,
    ),
    "codeact.ids.made_at_ms": (made_at_ms, {**TEXTS, "digits": lambda n: "resp_" + "0" * n}),
    "codeact.file_names.is_second": (
        lambda text: is_second(text, [text]),
        {**TEXTS, "numbers": lambda n: "a (" + "1" * n + ")", "brackets": lambda n: " (1)" * n},
    ),
    "codeact.runs.media.served_type": (lambda text: served_type(Blob(b"", text)), TEXTS),
    "codeact.store.repositories.excerpts._around": (lambda text: _around(text, len(text) // 2, len(text)), TEXTS),
    "codeact.agent.call_items.check_client_call": (
        refusing(shell),
        {"commands": lambda n: ["x"] * n, "values": lambda n: [[]] * n, "text": lambda n: "x" * n},
    ),
    "codeact.agent.environment_recording.seeds_in": (
        seeds_in,
        {**TEXTS, "seeds": lambda n: "np.random.seed(1)\n" * n, "without an end": lambda n: "np.random.seed(" * n},
    ),
    "codeact.agent.model_calls._checked": (
        lambda text: _checked(text, {"type": "object"}),
        {**TEXTS, "a fence": lambda n: "```" + "\n" * n + "```", "digits": lambda n: "1" * n},
    ),
}
