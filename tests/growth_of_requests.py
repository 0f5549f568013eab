"""The functions that read data of clients and of model servers, with their inputs for `tests/test_growth.py`."""

import io
import ipaddress
import json
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

from rich.console import Console
from starlette.requests import HTTPConnection

from codeact import events as e
from codeact.agent.repetition import BlockHistory, Repetition
from codeact.cli.terminal import Renderer
from codeact.context.compaction import compacted, kept_ids
from codeact.context.compaction_text import compaction_text, earlier_of
from codeact.context.facts import facts
from codeact.context.tokens import estimated_tokens
from codeact.context.window import fit
from codeact.dialect.foreign_calls import code_of, code_of_call
from codeact.dialect.history import rendered
from codeact.dialect.json_code import JsonCode
from codeact.dialect.known_prompt import KnownPrompt
from codeact.dialect.python_source import parses
from codeact.disclosure import Disclosure
from codeact.events import InputMessage
from codeact.file_names import called, distinct, normal
from codeact.ids import new_id
from codeact.model import ChatMessage
from codeact.models.demo.model import _answer
from codeact.models.litellm import errors as litellm_errors
from codeact.models.openai_compatible import errors as openai_errors
from codeact.models.shared import chunks, fallbacks
from codeact.models.shared import errors as model_errors
from codeact.models.shared.too_long import is_too_long
from codeact.runs.input_items import MessageItem
from codeact.runs.known_answers import history_of
from codeact.server.auth import auth, origin_check
from codeact.server.auth.audit_log import network_of
from codeact.server.auth.proxies import client_address
from codeact.server.requests.messages import parse_count
from codeact.server.requests.parameters import checked
from codeact.server.transports import messages as messages_api
from codeact.server.transports.chat_completions import as_create, parse_chat
from codeact.settings import Settings
from codeact.skills.bundle import MOST_FILES, read_files
from codeact.skills.front_matter import front_matter
from codeact.store.search.query import Cursor, HistoryQuery, terms
from codeact.tools.code_reading import read_code
from codeact.tools.hosts import hosts_in, hosts_in_json
from codeact.tools.values import decoded, json_only
from sandbox_pool.clues import Clue
from sandbox_pool.inventory import HeldFile, HeldFunction, HeldVariable, Inventory, to_inventory
from sandbox_pool.kernel.messages import to_packages
from sandbox_pool.kernel.session import DELIMITER, Message, Session
from sandbox_pool.outputs import Stream
from tests.growth import BYTES, PIECES, TEXTS, Inputs, Reader, contents, fed, refusing

__all__ = ["TABLE"]

WIDE, LETTERS = "\ufdfa" * 50, "\u00e9" * 50
SETTINGS = Settings(_env_file=None)  # type: ignore[call-arg]
ASKED = model_errors.Endpoint("m")
SKILL = b"---\nname: a\ndescription: b\n---\n"
OURS = [ipaddress.ip_network("127.0.0.1/32")]
KNOWN = Disclosure.of(secrets=["topsecret"], urls=["mongodb://u:password@db.internal:27017"], paths=["/srv/data"])
SESSION = Session("key", "hmac-sha256")
DIGITS: Inputs = {"digits": lambda n: "1" * n, "spaced digits": lambda n: "1 " * n, "sums": lambda n: "1 + " * n}
JSON_PIECES: Inputs = {
    f"in {begin[:9]}, {piece}": lambda n, begin=begin, piece=piece: [begin, *[piece] * n]  # type: ignore[misc]
    for begin in ('{"code": "', '{"other": ')
    for piece in ("\\u0041", "\\ud83d", "\\\\", "{", '"x":', " ", "x")
}
number = count()


def header(name: str, read: Callable[[HTTPConnection], object]) -> Reader:
    def run(text: str) -> object:
        headers = [(name.encode(), text.encode("latin-1", "replace"))]
        return read(HTTPConnection({"type": "http", "headers": headers, "subprotocols": [text]}))

    return run


def as_header(text: str) -> str:
    """Decodes a header as servers do. Each result differs, since `urlsplit` caches its results."""
    return f"{text.encode('latin-1', 'replace').decode('latin-1')}{next(number)}"


def refused_by_litellm(text: str) -> object:
    return litellm_errors.failure(RuntimeError(text), ASKED)


def shown(pieces: list[str]) -> None:
    """Shows the pieces as code and as output on a terminal."""
    renderer = Renderer(Console(file=io.StringIO(), force_terminal=True, width=80), Console(file=io.StringIO()))
    renderer.show(e.OutputItemAdded(output_index=0, item=e.CodeInterpreterCall(id="ci_1", container_id="")))
    for piece in pieces:
        renderer.show(e.CodeDelta(item_id="ci_1", output_index=0, delta=piece))
    for piece in pieces:
        renderer.show(e.CodeOutput(item_id="ci_1", output_index=0, output=Stream("stdout", piece)))


def read_chunk(data: bytes) -> object:
    try:
        return chunks.decode(data)
    except chunks.NoChunk as refusal:
        return refusal


def received(frames: list[bytes]) -> object:
    return SESSION.read([b"identity", *frames])


def code_blocks(at: int) -> list[dict[str, Any]]:
    """Code of an earlier answer and its outputs, as blocks of the Messages API."""
    outputs = {"type": "code_execution_result", "stdout": "x", "stderr": "", "return_code": 0, "content": []}
    return [
        {"type": "server_tool_use", "id": f"srvtoolu_{at}", "name": "code_execution", "input": {"code": "x"}},
        {"type": "code_execution_tool_result", "tool_use_id": f"srvtoolu_{at}", "content": outputs},
    ]


def calls(at: int) -> list[dict[str, Any]]:
    """A call of a function and its value, as blocks of the Messages API."""
    return [
        {"type": "tool_use", "id": f"toolu_{at}", "name": "f", "input": {}},
        {"type": "tool_result", "tool_use_id": f"toolu_{at}", "content": "x"},
    ]


def messages(*kinds: str) -> Callable[[int], list[dict[str, Any]]]:
    """Returns a function that builds `n` messages of each kind and one question."""
    return lambda n: [
        *({"role": kind, "content": f"x{at}"} for kind in kinds for at in range(n)),
        {"role": "user", "content": "x"},
    ]


def said(n: int) -> list[InputMessage]:
    return [InputMessage(id="", role="user", content=[{"type": "input_text", "text": "x" * 1_000}])] * n


def answered() -> e.Message:
    return e.Message(id=new_id("msg"), content=[e.OutputText("x")])


def going_on() -> e.CodeInterpreterCall:
    return e.CodeInterpreterCall(id="ci", container_id="", continues="ci")


ALIKE = 2**61 - 1
"""The multiples of this number have the same hash."""

TABLE: dict[str, tuple[Reader, Inputs]] = {
    "codeact.runs.known_answers.history_of": (
        lambda kinds: history_of([MessageItem(role, "x y " * 50) for role in kinds]),
        {
            "one role": lambda n: ["user"] * n,
            "answers": lambda n: ["assistant"] * n,
            "turns": lambda n: ["user", "assistant"] * n,
        },
    ),
    "sandbox_pool.kernel.session.Session": (
        refusing(received),
        {
            "frames": lambda n: [b""] * n,
            "content": lambda n: [DELIMITER, b"", b"{}", b"{}", b"{}", bytes(n)],
            "header": lambda n: [DELIMITER, b"", b"[" * n, b"[" * n, b"{}", b"{}"],
        },
    ),
    "sandbox_pool.kernel.messages.to_packages": (
        refusing(lambda content: to_packages(Message("kernel_info_reply", "", b"{}", content))),
        contents('{"packages":', "}"),
    ),
    "sandbox_pool.clues.Clue": (
        Clue.bounded,
        {name: lambda n, make=make: Clue(make(n), make(n), [make(n)], 0, make(n)) for name, make in TEXTS.items()},  # type: ignore[misc]
    ),
    "codeact.cli.terminal.Renderer": (
        shown,
        {"one line": lambda n: ["x" * 7] * n, "lines in one piece": lambda n: ["x = 1\n" * n]},
    ),
    "codeact.tools.values.decoded": (
        refusing(decoded),
        {
            **contents("", ""),
            "decimals": lambda n: f'{{"$codeact":"Decimal","value":"{"9" * n}"}}',
            "hashes in sets": lambda n: json.dumps({"$codeact": "set", "value": [k * ALIKE for k in range(n)]}),
            "hashes in keys": lambda n: json.dumps({"$codeact": "dict", "value": [[k * ALIKE, 0] for k in range(n)]}),
        },
    ),
    "codeact.tools.values.json_only": (refusing(json_only), contents("", "")),
    "codeact.disclosure.Disclosure": (lambda text: (KNOWN.scrub(text), KNOWN.without_secrets(text)), TEXTS),
    "codeact.dialect.foreign_calls.code_of": (
        code_of,
        {
            **TEXTS,
            "a call": lambda n: f'python {{"name": "python", "arguments": {{"code": "{"x" * n}"}}}}',
            "words before a call": lambda n: "python " * n + '{"code": "x"}',
        },
    ),
    "codeact.dialect.foreign_calls.code_of_call": (lambda text: code_of_call("python", f'"{text}'), TEXTS),
    "codeact.models.shared.chunks.decode": (
        read_chunk,
        {
            **{f"content, {k}": v for k, v in contents('{"choices":[{"delta":{"content":', "}}]}").items()},
            **{f"calls, {k}": v for k, v in contents('{"choices":[{"delta":{"tool_calls":', "}}]}").items()},
            **{f"choices, {k}": v for k, v in contents('{"choices":', "}").items()},
        },
    ),
    "codeact.models.shared.too_long.is_too_long": (is_too_long, TEXTS),
    "codeact.models.shared.errors.one_line": (model_errors.one_line, TEXTS),
    "codeact.models.shared.errors.is_used_up": (model_errors.is_used_up, TEXTS),
    "codeact.models.shared.errors.seconds": (refusing(model_errors.seconds), TEXTS),
    "codeact.models.shared.fallbacks.Form": (fallbacks.AS_IT_IS.after, TEXTS),
    "codeact.models.openai_compatible.errors.Refused": (
        lambda body: openai_errors.failure(openai_errors.Refused(400, body), ASKED),
        {**BYTES, **contents('{"error":', "}")},
    ),
    "codeact.models.openai_compatible.errors.NoCompletion": (openai_errors.NoCompletion.page, BYTES),
    "codeact.models.litellm.errors.failure": (refused_by_litellm, {**TEXTS, "sockets": lambda n: "a ssl:<" * n}),
    "codeact.models.demo.model.DemoModel": (
        lambda text: _answer([ChatMessage("user", text)]),
        {**TEXTS, **DIGITS},
    ),
    "codeact.agent.repetition.Repetition": (
        fed(Repetition),
        {**PIECES, "two letters": lambda n: ["ab" * 500] * n},
    ),
    "codeact.agent.repetition.BlockHistory": (lambda text: BlockHistory().times(text, text), {**TEXTS, **DIGITS}),
    "codeact.dialect.python_source.parses": (parses, TEXTS),
    "codeact.tools.code_reading.read_code": (
        read_code,
        {
            **TEXTS,
            "removals in a shell": lambda n: "!" + "rm " * n,
            "nearly dropped tables": lambda n: f'"""{"drop " * n}"""',
            "addresses": lambda n: f'"""{"a://" * n}"""',
            "magics": lambda n: "%ls x\n" * n,
        },
    ),
    "codeact.tools.hosts.hosts_in": (
        hosts_in,
        {
            **TEXTS,
            "addresses": lambda n: "a://" * n,
            "users": lambda n: "http://" + "a" * n,
            "schemes": lambda n: "http:" * n,
            "schemes and users": lambda n: "http:a@" * n,
            "wide names": lambda n: "".join(f"http://{at}{WIDE}/" for at in range(n // 50)),
            "names of letters": lambda n: "".join(f"http://{at}{LETTERS}/" for at in range(n // 50)),
        },
    ),
    "codeact.tools.hosts.hosts_in_json": (hosts_in_json, contents("", "")),
    "codeact.dialect.history.rendered": (lambda given: rendered(given, system="s"), {"messages": said}),
    "codeact.dialect.known_prompt.KnownPrompt": (
        lambda given: KnownPrompt().messages(
            given, unchanging=len(given), system="s", form=None, render=partial(rendered, system="s")
        ),
        {
            "messages": said,
            "turns": lambda n: [item for _ in range(n) for item in (*said(1), answered())],
            "blocks that go on": lambda n: [item for _ in range(n) for item in (*said(1), going_on(), answered())],
        },
    ),
    "codeact.dialect.json_code.JsonCode": (fed(JsonCode), {**PIECES, **JSON_PIECES}),
    "codeact.context.facts.facts": (
        lambda text: facts(
            Inventory([HeldVariable("x", head=text)], [HeldFunction("f", source=text)], files=[HeldFile(text, 1)]),
            most_chars=5_000,
        ),
        TEXTS,
    ),
    "codeact.context.compaction_text.earlier_of": (earlier_of, TEXTS),
    "codeact.context.compaction_text.compaction_text": (
        lambda text: compaction_text(words=text, said=[text], inventory=None, blocks=1, most_chars=5_000),
        TEXTS,
    ),
    "codeact.context.compaction.compacted": (
        lambda given: (compacted(given), kept_ids(given, room_tokens=5_000)),
        {"messages": said, "compactions": lambda n: [e.Compaction(id=f"cmp_{at}", text="t") for at in range(n)]},
    ),
    "codeact.context.window.fit": (
        lambda given: fit(given, room_chars=5_000),
        {
            "messages": lambda n: [ChatMessage("user", "x" * 100)] * n,
            "images": lambda n: [ChatMessage("user", [{"type": "image_url", "image_url": {"url": "blob:x"}}] * n)],
        },
    ),
    "sandbox_pool.inventory.to_inventory": (refusing(to_inventory), contents('{"variables":', "}")),
    "codeact.context.tokens.estimated_tokens": (estimated_tokens, TEXTS),
    "codeact.file_names.normal": (refusing(normal), TEXTS),
    "codeact.file_names.called": (called, TEXTS),
    "codeact.file_names.distinct": (
        distinct,
        {
            "one name": lambda n: ["a.txt"] * n,
            "names that are taken": lambda n: ["a.txt"] * n + [f"a ({at}).txt" for at in range(n)],
        },
    ),
    "codeact.store.search.query.Cursor": (refusing(Cursor.read), TEXTS),
    "codeact.store.search.query.terms": (refusing(lambda text: terms(HistoryQuery(query=text[:1_000]))), TEXTS),
    "codeact.server.auth.auth.key_of": (header("authorization", auth.key_of), TEXTS),
    "codeact.server.auth.auth.session_of": (
        header("cookie", auth.session_of),
        {**TEXTS, "cookies": lambda n: "a=b;" * n, "escapes": lambda n: 'codeact_session="' + "\\1" * n},
    ),
    "codeact.server.auth.origin_check.host_name": (lambda text: origin_check.host_name(as_header(text)), TEXTS),
    "codeact.server.auth.origin_check.is_own": (
        lambda text: origin_check.is_own(f"http://{as_header(text)}", "x", SETTINGS),
        TEXTS,
    ),
    "codeact.server.auth.proxies.client_address": (
        lambda text: client_address("127.0.0.1", text.split("\n"), OURS),
        {**TEXTS, "hops": lambda n: "127.0.0.1," * n, "lines": lambda n: "127.0.0.1\n" * n},
    ),
    "codeact.server.auth.audit_log.network_of": (network_of, TEXTS),
    "codeact.server.transports.chat_completions.as_create": (
        lambda given: as_create(parse_chat({"messages": given}), None),
        {"instructions": messages("system"), "questions": messages("user"), "both": messages("system", "user")},
    ),
    "codeact.server.transports.messages.as_create": (
        refusing(lambda given: messages_api.as_create(parse_count({"model": "m", "messages": given}))),
        {
            "instructions": messages("system"),
            "questions": messages("user"),
            "both": messages("system", "user"),
            "code": lambda n: [{"role": "user", "content": [block for at in range(n) for block in code_blocks(at)]}],
            "values": lambda n: [{"role": "user", "content": [block for at in range(n) for block in calls(at)]}],
        },
    ),
    "codeact.skills.bundle.read_files": (
        refusing(read_files),
        {
            "files": lambda n: [("SKILL.md", SKILL), *((f"{at}/{at}", b"x") for at in range(min(n, MOST_FILES - 1)))],
            "path": lambda n: [("SKILL.md", SKILL), ("a/" * n, b"")],
            "name": lambda n: [("e\u0301" * n, b"")],
        },
    ),
    "codeact.skills.front_matter.front_matter": (
        lambda text: front_matter(f"---\n{text}\n---\n".encode(errors="replace")),
        {
            **TEXTS,
            "fields": lambda n: "a: b\n" * n,
            "blocks": lambda n: "a: >\n x\n" * n,
            "spaces": lambda n: "a:" + " " * n,
        },
    ),
    "codeact.server.requests.parameters.checked": (
        refusing(lambda body: checked(body, HistoryQuery)),
        {"names": lambda n: {f"x{at}": 1 for at in range(n)}, "text": lambda n: {"query": "x" * n}},
    ),
}
