"""Every function that reads what a stranger wrote is linear: twice the input costs at most 2.5 times the CPU.

The list in docs/security.md has the same names, with what else bounds each of them.
"""

import asyncio
import pkgutil
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from codeact import events as e
from codeact.cli.controls import TerminalText
from codeact.dashboard.drawing.markup import plain, prose, revealed, visible
from codeact.dashboard.drawing.tables import lines_of, read_table
from codeact.dialect.parser import Parser
from codeact.dialect.statements import Statements
from codeact.dialect.string_literals import Strings
from codeact.errors import InvalidRequest
from codeact.events.standard import standard_outputs
from codeact.exports import markdown, notebook, read_archive
from codeact.json_schemas import check_schema, problem
from codeact.models.shared.sse import Events
from codeact.observations.observation import observation
from codeact.observations.plaintext import as_terminal, excerpt, unescaped, visible_text
from codeact.observations.screen import climbed
from codeact.observations.tracebacks import condensed, failing_line
from codeact.runs.input_items import file_name
from codeact.runs.media import decode
from codeact.runs.replay import Replay
from codeact.server.public_view import shared_conversation
from codeact.server.requests.create import parse_create
from codeact.server.requests.downloads import download_headers
from codeact.server.requests.parameters import decoded
from codeact.store.records import Share, StoredResponse
from codeact.store.repositories.failure_stats import shape_of
from codeact.store.search.query import beginnings
from codeact.store.search.search_fields import blobs_in, title_of
from codeact.store.search.search_terms import place_of, query_words, words_of
from codeact.tools.function import Function
from codeact.tools.mcp import add_function
from codeact.tools.toolbox import Toolbox, functions_of, value_of
from sandbox_pool import json_size as nodes
from sandbox_pool.calls import to_call
from sandbox_pool.kernel.messages import to_output, to_reply
from sandbox_pool.kernel.session import Message
from sandbox_pool.kernel.zmtp import Receiver
from sandbox_pool.outputs import (
    DisplayData,
    Error,
    ExecuteResult,
    ExecutionResult,
    Output,
    Stream,
    UpdateDisplayData,
    fold,
    without_overdrawn,
)
from sandbox_pool.sandbox.coalesce import Coalescer
from tests import (
    growth_of_answers,
    growth_of_dialects,
    growth_of_documents,
    growth_of_messages,
    growth_of_peers,
    growth_of_requests,
    growth_of_verification,
)
from tests.growth import BYTES, DRAWN, PIECES, TEXTS, Inputs, Reader, contents, fed, growth, pieces, refusing
from tests.growth_coverage import called_by, parsing_functions
from tests.growth_exempt import EXEMPT

MOST = 2.5
ATTEMPTS = 3
"""Real growth appears each time; the effect of a busy machine does not."""
PAGE = Path(__file__).parents[1] / "docs" / "security.md"
PAGES = Path(__file__).parents[1] / "web" / "tests"
ROW = re.compile(r"^\| `(?P<name>[a-z_]+(?:\.\w+)+|web/\w+\.\w+)` \|", re.MULTILINE)
SCRIPT = re.compile(r'^  "(web/\w+\.\w+)":', re.MULTILINE)
"""Readers in TypeScript, which `web/tests/growth.test.ts` and, in a browser, `tests/web/test_growth.py` measure."""

OK = ExecutionResult(status="ok", duration_s=0.0)


def outputs(make: Callable[[int], Output], before: Callable[[int], Output] | None = None) -> Callable[[int], object]:
    return lambda n: [*((before(at) for at in range(n)) if before else ()), *(make(at) for at in range(n))]


def display(text: str, display_id: str | None = None) -> DisplayData:
    return DisplayData({"text/html": text}, {}, display_id)


def update(text: str, display_id: str) -> UpdateDisplayData:
    return UpdateDisplayData({"text/plain": text}, display_id)


OUTPUTS: Inputs = {
    **{name: lambda n, make=make: [Stream("stdout", make(n))] for name, make in TEXTS.items()},  # type: ignore[misc]
    "displays of scripts": outputs(lambda at: display("<script>" * 100)),
    "updates of one display": outputs(lambda at: update("x", "a"), lambda at: display("x", "a")),
    "updates of as many displays": outputs(lambda at: update("x", str(at)), lambda at: display("x", str(at))),
    "streams in turns": outputs(lambda at: Stream("stdout" if at % 2 else "stderr", "x\n")),
    "results": outputs(lambda at: ExecuteResult({"text/plain": "x"})),
    "errors": outputs(lambda at: Error("E", "v", ["\x1b[31mline"] * 10)),
    "pictures": outputs(lambda at: DisplayData({"image/png": "iVBORw0KGgoAAAANSUhEUg" * 3}, {})),
    "objects": outputs(lambda at: DisplayData({"application/json": msgspec.Raw(b"[1, 2]")}, {})),
}


def coalesced(given: list[Output]) -> None:
    coalescer = Coalescer(10_000_000)
    for number, output in enumerate(given):
        coalescer.add(output, 100)
        if number % 50 == 0:
            coalescer.take(number)


def received(given: bytes) -> None:
    receiver = Receiver(10_000_000)
    receiver.feed(b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32) + b"\x04\x06\x05READY")
    for at in range(0, len(given), 65_536):
        receiver.feed(given[at : at + 65_536])
        with suppress(ValueError):
            while receiver.receive() is not None:
                pass


def message(kind: str) -> Reader:
    return refusing(lambda content: to_output(Message(kind, "", b"{}", content)))


def said(text: str) -> e.InputMessage:
    return e.InputMessage(id="msg_1", role="user", content=[{"type": "input_text", "text": text}])


def stored(text: str) -> StoredResponse:
    call = e.CodeInterpreterCall(id="ci_1", container_id="", code=text, outputs=[e.LogsOutput(text)])
    call.notebook_outputs = [Stream("stdout", text), display(text)]
    response = e.Response(id="resp_1", created_at=0, model="m")
    response.output = [e.Message(id="msg_1", content=[e.OutputText(text)]), call]
    return StoredResponse(response, [said(text)])


def no_blob(sha256: str) -> None:
    return None


def parsed(given: list[str]) -> None:
    parser = Parser()
    for piece in given:
        parser.feed(piece)
        assert len(parser.held) < 10_000


def replayed(given: list[str]) -> None:
    call = e.CodeInterpreterCall(id="ci_1", container_id="")
    replay = Replay()
    replay.feed([e.encode(e.OutputItemAdded(output_index=0, item=call)).decode()])
    replay.feed(e.encode(e.CodeDelta(item_id="ci_1", output_index=0, delta=piece)).decode() for piece in given)


def archive(before: str, after: str) -> Inputs:
    head = '{"object":"codeact:conversation","version":1,"conversation":{"created_at":0},"responses":'
    return contents(head + before, after + "}")


def schemas(n: int) -> list[dict[str, Any]]:
    """Types that contain each other."""
    kinds: dict[str, Any] = {"type": ["array"] * 30}
    for _ in range(3):
        kinds = {"type": ["array"] * 30, "items": kinds}
    properties = {f"a{number}": kinds for number in range(min(n, 100))}
    return [{"type": "function", "name": "f", "parameters": {"properties": properties}}]


def signatures(given: list[dict[str, Any]]) -> None:
    toolbox = Toolbox(functions_of(given))
    assert toolbox.source
    assert toolbox.described()


def objects(n: int, **field: Any) -> list[dict[str, Any]]:
    """Many functions with objects of many fields, or with one object that refers to all the others."""
    kinds = {f"K{number}": {"type": "object", "properties": {f"x{number}": field}} for number in range(40)}
    whole = {"type": "object", "properties": {f"a{n}": {"$ref": f"#/$defs/K{n}"} for n in range(40)}, "$defs": kinds}
    tools = [{"type": "function", "name": f"f{number}", "parameters": whole} for number in range(min(n, 256))]
    return [{**tool, "output_schema": kinds["K1"], "description": "x" * 100} for tool in tools]


SCHEMA = {"items": {"properties": {"a": {"type": "integer"}}, "additionalProperties": {"type": "integer"}}}
SCHEMA |= {"uniqueItems": True}

OBJECTS: Inputs = {
    "fields": lambda n: objects(n // 20, type="string", default="x" * 60),
    "references": lambda n: objects(n // 20, anyOf=[{"$ref": f"#/$defs/K{number}"} for number in range(30)]),
}


NAMED: Inputs = {
    name: lambda n, make=make: [  # type: ignore[misc]
        {"type": "function", "name": "f", "description": make(n), "parameters": {"properties": {make(n): {}}}}
    ]
    for name, make in TEXTS.items()
}

WIDE = "\ufdfa" * 100
"""A name with 18 times as many characters in NFKC."""


def listed(functions: list[Function]) -> None:
    found: dict[str, Function] = {}
    for function in functions:
        with suppress(InvalidRequest):
            add_function(found, function)


def many(name: Callable[[int], str]) -> Callable[[int], list[Function]]:
    return lambda n: [Function(name(at), "", {}, server="s") for at in range(n)]


def arguments(n: int) -> list[dict[str, Any]]:
    parameters = {"properties": {f"{at}{WIDE}": {} for at in range(min(n, 100))}}
    return [{"type": "function", "name": f"f{at}", "parameters": parameters} for at in range(n // 100)]


SPECIAL: Inputs = {
    f"special: {piece.strip()[:20]}": pieces(lambda n, piece=piece: piece * n)  # type: ignore[misc]
    for piece in (
        *(
            "<|channel|>analysis<|message|>x",
            "<|channel|>commentary to=python <|message|>",
            "<|channel|>x",
            "<|start|>",
        ),
        *("<s>", "</s>", "<|python_tag|>", "to=python ", "<tool_call>", '{"name":"python","arguments":{"code":"x"}}'),
        *("<execute>\n%ls \\", "<execute>\n!ls\n", "<execute>\nx\n</execute>\n", "[TOOL_CALLS]", "<|im_end|>"),
    )
}
"""Tokens of chat templates, calls as text, and lines of IPython: each is where a reader decides."""

SHARE = Share("token", "owner", "conv_1", "resp_1", None, 0.0)
TRACEBACKS: Inputs = {
    "own frames": lambda n: "".join(f"Cell In[1], line {number}, in f(x)\n----> 1 f(x)\n" for number in range(n)),
    "frames of libraries": lambda n: "File /usr/lib/python3/site-packages/a.py:1, in f(x)\n----> 1 f(x)\n" * n,
    "chains": lambda n: "Cell In[1], line 1\nThe above exception was the direct cause of the following exception\n" * n,
}

TABLE: dict[str, tuple[Reader, Inputs]] = {
    "sandbox_pool.outputs.fold": (fold, OUTPUTS),
    "sandbox_pool.outputs.without_overdrawn": (without_overdrawn, TEXTS),
    "sandbox_pool.sandbox.coalesce.Coalescer": (coalesced, OUTPUTS),
    "sandbox_pool.kernel.zmtp.Receiver": (
        received,
        {"tiny parts": lambda n: b"\x01\x00" * n, "commands": lambda n: b"\x04\x01x" * n, "parts": lambda n: bytes(n)},
    ),
    "sandbox_pool.kernel.messages.to_output": (
        lambda content: [message(kind)(content) for kind in ("stream", "display_data", "error", "clear_output")],
        {
            **{f"text, {k}": v for k, v in contents('{"name":"stdout","text":', "}").items()},
            **{f"data, {k}": v for k, v in contents('{"metadata":{},"data":{"application/json":', "}}").items()},
            **{f"metadata, {k}": v for k, v in contents('{"data":{},"metadata":{"a":', "}}").items()},
            **{f"error, {k}": v for k, v in contents('{"ename":"E","evalue":"","traceback":', "}").items()},
            "escapes": lambda n: b'{"name":"stdout","text":"\\ud800' + b"\\n" * n + b'"}',
            "halves of characters": lambda n: b'{"name":"stdout","text":"' + b"\\ud800" * n + b'"}',
            "escaped backslashes": lambda n: b'{"name":"stdout","text":"\\ud800\\\\u' + b"\\\\" * n + b'"}',
            "types": lambda n: b'{"data":{' + b",".join(b'"%d":""' % number for number in range(n)) + b"}}",
        },
    ),
    "sandbox_pool.kernel.messages.to_reply": (
        refusing(lambda content: to_reply(Message("execute_reply", "", b"{}", content))),
        contents('{"status":"error","traceback":', "}"),
    ),
    "sandbox_pool.json_size.check": (
        refusing(lambda data: nodes.check(data, most=10**9, depth=64)),
        {**BYTES, **contents("", "")},
    ),
    "sandbox_pool.json_size.fields": (
        lambda data: nodes.fields(data, 10**9),
        {**BYTES, **contents('{"a":', "}")},
    ),
    "sandbox_pool.calls.to_call": (
        refusing(to_call),
        contents('{"call_id":"a","name":"b","arguments":', "}"),
    ),
    "codeact.observations.plaintext.as_terminal": (as_terminal, TEXTS),
    "codeact.observations.plaintext.excerpt": (lambda text: excerpt(text, 20_000), TEXTS),
    "codeact.observations.plaintext.visible_text": (visible_text, TEXTS),
    "codeact.observations.plaintext.unescaped": (unescaped, TEXTS),
    "codeact.observations.screen.climbed": (lambda text: climbed(text + "\x1b[A"), TEXTS),
    "codeact.observations.observation.observation": (lambda given: observation(given, OK, limit_chars=10_000), OUTPUTS),
    "codeact.events.standard.standard_outputs": (standard_outputs, OUTPUTS),
    "codeact.observations.tracebacks.condensed": (condensed, {**TEXTS, **TRACEBACKS}),
    "codeact.observations.tracebacks.failing_line": (failing_line, {**TEXTS, **TRACEBACKS}),
    "codeact.cli.controls.TerminalText": (fed(lambda: TerminalText(colours=True)), PIECES),
    "codeact.dialect.string_literals.Strings": (fed(Strings), PIECES),
    "codeact.dialect.statements.Statements": (
        fed(Statements),
        {**PIECES, "magics": pieces(lambda n: "%ls x \\\n" * n)},
    ),
    "codeact.dialect.parser.Parser": (parsed, {**PIECES, **SPECIAL}),
    "codeact.runs.replay.Replay": (replayed, PIECES),
    "codeact.store.search.search_terms.words_of": (lambda text: words_of([text, text]), TEXTS),
    "codeact.store.search.search_terms.query_words": (query_words, TEXTS),
    "codeact.store.search.search_terms.place_of": (lambda text: place_of(text, ["aa", "zz"]), TEXTS),
    "codeact.store.search.query.beginnings": (beginnings, TEXTS),
    "codeact.store.search.search_fields.title_of": (lambda text: title_of([said(text)]), TEXTS),
    "codeact.store.search.search_fields.blobs_in": (lambda text: blobs_in([said(text)]), TEXTS),
    "codeact.store.repositories.failure_stats.shape_of": (shape_of, TEXTS),
    "codeact.tools.toolbox.value_of": (refusing(value_of), TEXTS),
    "codeact.tools.function.Function": (
        refusing(lambda text: Function("f", "", {}).arguments(str(text, "utf-8"))),
        contents('{"a":', "}"),
    ),
    "codeact.json_schemas.check_schema": (
        refusing(check_schema),
        {
            "fields": lambda n: {"properties": {f"a{number}": {"type": "string"} for number in range(n)}},
            "texts": lambda n: {"enum": [f"{number}" for number in range(n)], "description": "x" * 50 * n},
        },
    ),
    "codeact.json_schemas.problem": (
        refusing(lambda value: problem(SCHEMA, value)),
        {
            "items": lambda n: [{"a": number} for number in range(n)],
            "wrong items": lambda n: [str(number) for number in range(n)],
            "unknown names": lambda n: [{f"{number}": number for number in range(n)}],
        },
    ),
    "codeact.tools.toolbox.functions_of": (
        refusing(signatures),
        {**NAMED, "types in types": schemas, "arguments with wide names": arguments},
    ),
    "codeact.tools.mcp.add_function": (
        listed,
        {
            "names": many(lambda at: f"f{at}"),
            "wide names": many(lambda at: f"{WIDE}!{at}"),
            "wide names that differ at once": many(lambda at: f"{at}{WIDE}"),
        },
    ),
    "codeact.tools.toolbox.Toolbox": (refusing(signatures), OBJECTS),
    "codeact.models.shared.sse.Events": (
        refusing(fed(Events)),
        {
            "lines": lambda n: [b"data: x\n" * 10] * n,
            "no end of line": lambda n: [b"data: xxxxxxxxxxxxxxxxxxxxxxxxxxx"] * n,
        },
    ),
    "codeact.exports.markdown.markdown": (lambda text: markdown("t", [stored(text)], no_blob), TEXTS),
    "codeact.exports.notebook.notebook": (lambda text: notebook("t", [stored(text)] * 50, no_blob), TEXTS),
    "codeact.exports.archive.read_archive": (refusing(read_archive), archive("", "")),
    "codeact.server.requests.parameters.decoded": (
        refusing(lambda text: decoded(text, "")),
        {**TEXTS, **contents("", "")},
    ),
    "codeact.server.requests.create.parse_create": (
        refusing(lambda text: parse_create(decoded(text, ""))),
        {
            **contents('{"input":', "}"),
            **{f"unknown, {k}": v for k, v in contents('{"input":"x","what":', "}").items()},
            "messages": lambda n: b'{"input":[' + b",".join([b'{"role":"user","content":"x"}'] * n) + b"]}",
        },
    ),
    "codeact.server.public_view.shared_conversation": (
        lambda text: asyncio.run(shared_conversation([stored(text)], SHARE, title=text, created_at=0)),
        TEXTS,
    ),
    "codeact.runs.media.decode": (refusing(decode), TEXTS),
    "codeact.runs.input_items.file_name": (refusing(lambda text: file_name(text, "")), TEXTS),
    "codeact.server.requests.downloads.download_headers": (download_headers, TEXTS),
    "codeact.dashboard.drawing.markup.visible": (visible, TEXTS),
    "codeact.dashboard.drawing.markup.plain": (plain, TEXTS),
    "codeact.dashboard.drawing.markup.prose": (prose, TEXTS),
    "codeact.dashboard.drawing.markup.revealed": (revealed, TEXTS),
    "codeact.dashboard.drawing.tables.read_table": (read_table, TEXTS),
    "codeact.dashboard.drawing.tables.lines_of": (lines_of, TEXTS),
    **growth_of_requests.TABLE,
    **growth_of_documents.TABLE,
    **growth_of_dialects.TABLE,
    **growth_of_peers.TABLE,
    **growth_of_verification.TABLE,
    **growth_of_messages.TABLE,
    **growth_of_answers.TABLE,
}


@pytest.mark.parametrize("name", TABLE)
def test_twice_the_input_costs_at_most_two_and_a_half_times_the_time(name: str) -> None:
    run, inputs = TABLE[name]
    grown = dict(inputs)
    for _ in range(ATTEMPTS):
        grown = {what: make for what, make in grown.items() if growth(run, make) > MOST}
    assert not list(grown)


def test_a_function_that_is_quadratic_is_found() -> None:
    def quadratic(text: str) -> object:
        return re.findall("<script.*?</script>", text, re.DOTALL)

    assert growth(quadratic, TEXTS["scripts without an end"], again=False) > MOST


def test_the_list_in_the_documentation_names_the_same_functions() -> None:
    in_browsers = "".join(PAGES.joinpath(name).read_text("utf-8") for name in ("growth.test.ts", "drawing.ts"))
    assert set(ROW.findall(PAGE.read_text("utf-8"))) == {*TABLE, *DRAWN, *SCRIPT.findall(in_browsers)}


def test_every_function_that_takes_text_apart_is_measured_or_says_why_not() -> None:
    """Mend a failure with a row that reaches the new function, or with a reason in `tests/growth_exempt.py`."""
    reached = called_by(TABLE)
    missing = [name for name, place in parsing_functions().items() if place not in reached]
    exempt = {name: [each for each in EXEMPT if name == each or name.startswith(f"{each}.")] for name in missing}
    assert [name for name, reasons in exempt.items() if not reasons] == []
    assert EXEMPT.keys() - {each for reasons in exempt.values() for each in reasons} == set()


def test_each_function_of_the_list_is_there() -> None:
    assert [name for name in TABLE if pkgutil.resolve_name(name) is None] == []
