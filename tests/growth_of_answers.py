"""The functions that read models' answers and what kernels show of them, with inputs for `tests/test_growth.py`: bodies
of model servers, checks of evaluations, what a terminal shows, and messages of a kernel beside its outputs.
"""

import io
from collections.abc import Callable
from contextlib import suppress

import msgspec
from rich.console import Console

from codeact import events as e
from codeact.agent.waiting_block import WaitingBlock
from codeact.cli.controls import escaped
from codeact.cli.markdown import StreamedMarkdown
from codeact.cli.pictures import Picture
from codeact.context.masking import Masks
from codeact.dialect.images import displayed
from codeact.dialect.profiles import learn_no_tools, profile_of
from codeact.dialect.silent_thinkers import swallows_think
from codeact.evals.action_formats import _after, _read_json, _read_text
from codeact.evals.checks import equals, file_equals, json_equals, number
from codeact.evals.forms.gaia import is_right
from codeact.evals.outcome import Outcome, Ran
from codeact.models.openai_compatible.answer import Answer
from codeact.models.openai_compatible.client import _decoded
from codeact.models.openai_compatible.tokenizer import _counted
from codeact.models.responses_api.request import ResponsesForm
from codeact.models.scripted import ScriptedModel
from codeact.models.shared.ollama import json_of, of_show
from codeact.observations.kernel_state import restored_state
from codeact.tools.function import Function
from sandbox_pool.checkpoint import Manifest, Source, Unsaved
from sandbox_pool.egress.http import _end_to_end
from sandbox_pool.egress.rules import Refused, Rules, Secret, host_and_port
from sandbox_pool.kernel.messages import to_progress, to_size, to_state
from sandbox_pool.kernel.session import Message
from tests.growth import BYTES, TEXTS, Inputs, Reader, contents, refusing

__all__ = ["TABLE"]

MODEL = ScriptedModel([])
FUNCTIONS = {"f": Function("f", "", {"properties": {"a": {}}})}
FORM = ResponsesForm()
RULES = Rules(
    (".test",), (Secret(".test", "codeact-secret-1", "s" * 64), Secret(".test", "codeact-secret-2", "t" * 64))
)


def streamed(body: bytes) -> None:
    """The body of a model's answer: as events, and as one whole answer."""
    for start in (b"data: ", b""):
        answer = Answer()
        with suppress(Exception):
            for at in range(0, len(body), 4_096):
                answer.feed(start + body[at : at + 4_096])
                start = b""
            answer.finish()


async def no_sandbox(*_: object) -> Ran:
    raise NotImplementedError


def checked(text: str) -> None:
    response = e.Response(id="resp_1", created_at=0, model="m", output=[e.Message(id="", content=[e.OutputText(text)])])
    outcome = Outcome([response], {"a.txt": text.encode(errors="replace")}, [], [], no_sandbox)
    for check in (number(1.0), equals(text), json_equals([1]), file_equals("a.txt", "x")):
        check(outcome)


def acted(text: str) -> None:
    for word in ("Action:", "Answer:"):
        _after(f"{word}{text}", word)
    for read in (_read_json, _read_text):
        with suppress(Exception):
            read(FUNCTIONS, f"f,{text}")


def rightly(text: str) -> None:
    is_right(text, "a,b,3")
    is_right(text, "words")


def written(text: str) -> None:
    shown = StreamedMarkdown(Console(file=io.StringIO(), force_terminal=True, width=80))
    shown.feed(text)
    shown.end()


def masked(text: str) -> object:
    blocks = [e.CodeInterpreterCall(id=f"ci_{at}", container_id="", code=text) for at in range(4)]
    for block in blocks:
        block.observation = text
    masks = Masks({block.id for block in blocks}, {block.id for block in blocks})
    masks.add(blocks, to_save_chars=10**9)
    return masks.applied(blocks)


def restored(text: str) -> object:
    unsaved = tuple(Unsaved(text[:4_000], "t", text[:1_000]) for _ in range(50))
    sources = (Source("f", "function", text[:20_000], True),)
    state = restored_state(Manifest(1, "3", 0, unsaved=unsaved, sources=sources), codes=[text] * 5, missed=[text])
    return state.for_model()


def waiting(text: str) -> object:
    """A block that is to run again, and names of files that its code may read: as many as a kernel can have."""
    block = WaitingBlock("ci_1", "s", text, False, [], False, [], lambda outputs: None, "")
    return block.needs([f"{text[:200]} {at}.txt" for at in range(len(text))])


def message(read: Callable[[Message], object], kind: str) -> Reader:
    return refusing(lambda content: read(Message(kind, "", b"{}", content)))


def picture(text: str) -> None:
    for url in (f"data:image/png;base64,{text}", f"data:image/jpeg;base64,/9j/{text}"):
        call = e.CodeInterpreterCall(id="ci_1", container_id="", outputs=[e.ImageOutput(url)])
        displayed(call, {})
    for kind in ("image/png", "image/svg+xml"):
        Picture.of({kind: text})


def named(text: str) -> None:
    profile_of(text)
    learn_no_tools(MODEL, text)
    swallows_think(MODEL)


def header(text: str) -> list[tuple[bytes, bytes]]:
    value = text[:60_000].encode(errors="replace")
    return [(b"authorization", value), (b"connection", value)]


def passed(headers: list[tuple[bytes, bytes]]) -> None:
    with suppress(Refused):
        _end_to_end(headers)
        RULES.filled(headers, "a.test", tls=True)


def addressed(text: str) -> None:
    with suppress(Refused):
        host_and_port(text, 443)


HEADERS: Inputs = {
    **{name: lambda n, make=make: header(make(n)) for name, make in TEXTS.items()},  # type: ignore[misc]
    "placeholders": lambda n: header("codeact-secret-1 " * n),
    "credentials": lambda n: header("Basic " + "QUJD" * n),
    "names": lambda n: header("a," * n),
    "headers": lambda n: [(b"a%d" % at, b"codeact-secret-2") for at in range(n)],
}
STREAMED: Inputs = {
    **BYTES,
    **{f"events: {k}": v for k, v in contents('{"choices":[{"delta":{"content":', "}}]}\n\n").items()},
    "many events": lambda n: b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n' * n,
}
MARKDOWN: Inputs = {
    name: lambda n, piece=piece: piece * n  # type: ignore[misc]
    for name, piece in {
        "emphasis": "*a _b ",
        "links": "[a](",
        "images": "![",
        "quotes": "> ",
        "lists": "- a\n",
        "tables": "|a|b|\n|-|-|\n",
        "fences": "```\n",
        "entities": "&#9;",
        "backticks": "` `` ",
    }.items()
}

TABLE: dict[str, tuple[Reader, Inputs]] = {
    "codeact.models.openai_compatible.answer.Answer": (streamed, STREAMED),
    "codeact.models.openai_compatible.tokenizer._counted": (
        _counted,
        {**contents('{"tokens":', "}"), "numbers": lambda n: b'{"tokens":[' + b"1, " * n + b"1]}"},
    ),
    "codeact.models.responses_api.request.ResponsesForm": (lambda text: FORM.after(f"unsupported {text}"), TEXTS),
    "codeact.models.shared.ollama.of_show": (
        lambda body: of_show(json_of(body)),
        {
            **contents('{"parameters":', "}"),
            "lengths": lambda n: msgspec.json.encode({"model_info": {f"{at}.context_length": at for at in range(n)}}),
        },
    ),
    "codeact.models.openai_compatible.client._decoded": (_decoded, {**BYTES, **contents("", "")}),
    "codeact.dialect.profiles.profile_of": (named, TEXTS),
    "codeact.dialect.images.displayed": (picture, {**TEXTS, "segments": lambda n: "/wAA" * n}),
    "codeact.agent.waiting_block.WaitingBlock.needs": (
        waiting,
        {"words": lambda n: "word " * n, "names": lambda n: "a" * n},
    ),
    "codeact.context.masking.Masks": (masked, TEXTS),
    "codeact.evals.checks": (checked, {**TEXTS, "numbers": lambda n: "1,234 " * n, "digits": lambda n: "1" * n}),
    "codeact.evals.action_formats": (acted, {**TEXTS, "commas": lambda n: "," * n, "brackets": lambda n: ",(" * n}),
    "codeact.evals.forms.gaia.is_right": (rightly, {**TEXTS, "commas": lambda n: "," * n}),
    "codeact.cli.markdown.StreamedMarkdown": (written, MARKDOWN),
    "codeact.cli.controls.escaped": (escaped, TEXTS),
    "codeact.observations.kernel_state.restored_state": (
        restored,
        {**TEXTS, "a name": lambda n: "a" * n, "names and spaces": lambda n: "a " * n, "imports": lambda n: "as " * n},
    ),
    "sandbox_pool.egress.rules.Rules": (passed, HEADERS),
    "sandbox_pool.egress.rules.host_and_port": (
        addressed,
        {
            **TEXTS,
            "digits": lambda n: "a.test:" + "1" * n,
            "brackets": lambda n: "[" * n + "]",
            "colons": lambda n: ":" * n,
        },
    ),
    "sandbox_pool.kernel.messages.to_progress": (message(to_progress, "codeact_progress"), contents('{"a":', "}")),
    "sandbox_pool.kernel.messages.to_size": (message(to_size, "codeact_omitted"), contents('{"size_bytes":', "}")),
    "sandbox_pool.kernel.messages.to_state": (message(to_state, "status"), contents('{"execution_state":', "}")),
}
