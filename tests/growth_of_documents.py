"""The functions that read files, forms, tools' values and stored documents, with inputs for `tests/test_growth.py`."""

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Any, cast
from urllib.parse import quote_plus

import msgspec
from anyio import EndOfStream
from anyio.abc import ByteStream
from mcp.types import CallToolResult, TextContent
from starlette.requests import Request

from codeact import events as e
from codeact.agent.response_builder import ResponseBuilder
from codeact.environment import Environment
from codeact.exports import archive_pieces
from codeact.exports.inline import whole_output
from codeact.model import ReasoningDelta, TextDelta
from codeact.models.shared.chunks import Call, Called, Chunk
from codeact.models.shared.reading import Reading, finish
from codeact.observations.hints import earlier_errors, hints
from codeact.origins import exact_origin
from codeact.owners import check_owner
from codeact.packages import worth_telling
from codeact.runs.code_of_history import with_code
from codeact.runs.input_items import as_messages, as_text, from_item, mark_items
from codeact.runs.media import input_files
from codeact.runs.sent_calls import SearchOutputItem
from codeact.server.blob_urls import with_urls
from codeact.server.documents import document_pieces
from codeact.server.public_view import images_of
from codeact.server.requests.create import parse_steer
from codeact.server.requests.parameters import read_parameters
from codeact.server.requests.ranges import wanted_range
from codeact.server.requests.uploads import uploaded_file
from codeact.store.blobs import TEXT_CHARS, offload
from codeact.store.documents.reading import read_input, read_item
from codeact.store.records import Blob, Conversation, StoredResponse
from codeact.store.repositories.event_batches import EventBatch
from codeact.store.repositories.events import batches
from codeact.store.search.query import HistoryQuery
from codeact.store.search.search_fields import SearchFields, begun, ended
from codeact.tools.client_search import loaded_functions, with_loaded
from codeact.tools.mcp import value_of_result
from codeact.tools.toolbox import Toolbox
from codeact.verification.comparing import compare
from sandbox_pool.backends.base import Backend
from sandbox_pool.checkpoint import encode_manifest, to_manifest
from sandbox_pool.clues import Clue
from sandbox_pool.outputs import DisplayData, Error, ExecutionResult, Stream
from sandbox_pool.sandbox.files import HEAD, PIECE_BYTES, Files
from sandbox_pool.spec import Limits
from tests.growth import BYTES, PIECES, TEXTS, Inputs, Reader, contents, refusing

__all__ = ["TABLE"]

LIMITS = Limits()
ENVIRONMENT = Environment()
FORM = {"type": "http", "method": "POST", "headers": [(b"content-type", b"multipart/form-data; boundary=b")]}
PART = b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n'
number = count()
EMPTY: dict[str, Any] = {"size_bytes": 0, "parts": []}
SAVED: dict[str, Any] = {"path": "a", "mode": 0, "modified_ns": 0, "content": EMPTY}
GROUP: dict[str, Any] = {"names": [], "pickle_bytes": 0}
UNIT: dict[str, Any] = {"kind": "values", "groups": [], "stream": EMPTY}
FILE_END = b"\r\n--b--\r\n"


def awaited(work: Callable[[Any], Coroutine[Any, Any, object]]) -> Reader:
    return refusing(lambda given: asyncio.run(work(given)))


async def sent(document: Any) -> None:
    async for _ in document_pieces({"a": document, "b": [document]}):
        pass


# ---- sandboxes -------------------------------------------------------------------------------------------


class Answers(ByteStream):
    """A connection that receives a sandbox's answers about its files."""

    def __init__(self, said: bytes) -> None:
        self._said = io.BytesIO(said)

    async def receive(self, max_bytes: int = PIECE_BYTES) -> bytes:
        if not (piece := self._said.read(max_bytes)):
            raise EndOfStream
        return piece

    async def send(self, item: bytes) -> None: ...
    async def send_eof(self) -> None: ...
    async def aclose(self) -> None: ...


class Liar:
    """A backend whose sandbox gives these answers."""

    def __init__(self, said: bytes) -> None:
        self._said = said

    @asynccontextmanager
    async def files(self, sandbox_id: str, request: object) -> AsyncIterator[ByteStream]:
        yield Answers(self._said)


def files_of(said: bytes) -> Files:
    return Files(cast("Backend", Liar(said)), "", LIMITS)


async def listed(said: bytes) -> None:
    await files_of(said).list()


async def read_whole(said: bytes) -> None:
    async with files_of(said).read("a.txt") as file:
        async for _ in file:
            pass


def answer(kind: bytes, payload: bytes) -> bytes:
    return HEAD.pack(kind, len(payload)) + payload


def entries(n: int) -> bytes:
    said = (b'{"path":"%d","size_bytes":1,"modified_at":0}' % at for at in range(min(n, LIMITS.listed_files)))
    return b"".join(answer(b"D", each) for each in said) + answer(b"Z", b'{"complete":true}')


def file_of(size_bytes: int, piece: bytes) -> bytes:
    pieces = size_bytes // len(piece)
    described = b'{"size_bytes":%d,"modified_at":0}' % (pieces * len(piece))
    return answer(b"R", described) + answer(b"D", piece) * pieces + answer(b"Z", b"")


async def asked_for(path: str) -> None:
    async with files_of(b"").read(path):
        pass


# ---- clients ---------------------------------------------------------------------------------------------


async def received(body: bytes) -> None:
    pieces = iter(range(0, len(body), 65_536))

    async def receive() -> dict[str, Any]:
        at = next(pieces, None)
        if at is None:
            return {"type": "http.request", "body": b"", "more_body": False}
        return {"type": "http.request", "body": body[at : at + 65_536], "more_body": True}

    async with uploaded_file(Request(FORM, receive), limit=100_000_000) as file:
        await file.read()


def asked(query: bytes) -> object:
    return read_parameters(Request({"type": "http", "query_string": query, "headers": []}), HistoryQuery)


def said(text: str) -> e.InputMessage:
    return e.InputMessage(id="msg_1", role="user", content=[{"type": "input_text", "text": text}])


def origin(text: str) -> str:
    return exact_origin(f"{text}{next(number)}")  # Each one differs, since `urlsplit` caches its results.


def messages(text: str) -> object:
    found = as_messages(text)
    return [as_text(e.FunctionCallOutput(id="", call_id="", output=text), {}), found]


def steering(text: str) -> object:
    return parse_steer({"previous_response_id": "", "input": [{"role": "user", "content": text}] * 20})


# ---- code, tools and models ------------------------------------------------------------------------------


def replied(text: str) -> e.InputMessage:
    return e.InputMessage(id="msg_1", role="assistant", content=[{"type": "output_text", "text": text}])


def searched(tools: list[Any]) -> e.ToolSearchOutput:
    return SearchOutputItem(tools, "call_1", "client").loaded("input[0]")


SEARCHED: Inputs = {
    "functions": lambda n: [{"type": "function", "name": f"f{at}"} for at in range(n)],
    "arguments": lambda n: [
        {"type": "function", "name": "f", "parameters": {"properties": {f"a{at}": {} for at in range(n)}}}
    ],
    "a namespace": lambda n: [
        {"type": "namespace", "name": "a", "tools": [{"type": "custom", "name": f"f{at}"} for at in range(n)]}
    ],
    "namespaces": lambda n: [{"type": "namespace", "name": f"a{at}", "tools": []} for at in range(n)],
}


def call_of(text: str) -> e.CodeInterpreterCall:
    call = e.CodeInterpreterCall(id="ci_1", container_id="", code=text, outputs=[e.LogsOutput(text)])
    call.outputs = [e.LogsOutput(text), e.ImageOutput(f"data:image/png;base64,{text}")]
    shown = {"text/html": text, "image/png": text, "image/svg+xml": text, "application/json": text}
    call.notebook_outputs = [Stream("stdout", text), DisplayData(shown, {}), Error("E", text, [text])]
    call.result = ExecutionResult(status="error", duration_s=0.0, error=Error(text, text, [text]))
    return call


async def put(data: bytes, media_type: str) -> str:
    return "0" * 64


async def offloaded(text: str) -> None:
    text = "x" * TEXT_CHARS + text  # Make it long enough to be moved into a blob.
    await offload(call_of(text), put)
    await offload(e.Message(id="msg_1", content=[e.OutputText(text)]), put)


async def offloaded_outputs(count: int) -> None:
    call = call_of("")
    call.notebook_outputs = [Stream("stdout", "x" * 1_000)] * count
    await offload(call, put)


def hinted(text: str) -> object:
    failed = ExecutionResult(status="error", duration_s=0.0, error=Error("E", "v", []), error_kind="syntax")
    clue = Clue.bounded(Clue("column", text, [text], 0, text))
    return hints(failed, clue, [call_of(text)] * 5, environment=ENVIRONMENT)


def compared(text: str) -> object:
    return earlier_errors([call_of(text)] * 10, Error(text, text, [text]))


def replayed(text: str) -> object:
    return compare([Stream("stdout", text)], [Stream("stdout", text + "x")], 1e-9)


def manifest_of(**fields: Any) -> bytes:
    return msgspec.json.encode({"version": 1, "python": "3", "execution_count": 0, **fields})


def read_manifest(data: bytes) -> object:
    with suppress(ValueError):
        manifest = to_manifest(data)
        return manifest.parts(), manifest.names(), encode_manifest(manifest)
    return None


def value(text: str) -> object:
    return value_of_result(CallToolResult(content=[TextContent(type="text", text=text)]))


def values(n: int) -> list[str]:
    return ["x"] * n


def structured(data: bytes) -> object:
    return value_of_result(CallToolResult(content=[], structured_content={"a": msgspec.json.decode(data)}))


def blocks(given: list[str]) -> object:
    return value_of_result(CallToolResult(content=[TextContent(type="text", text=text) for text in given]))


def heard(given: list[Chunk]) -> None:
    reading = Reading()
    for chunk in given:
        reading.read(chunk)
    reading.end()


def text_of(pieces: Callable[[int], Any]) -> Callable[[int], list[Chunk]]:
    return lambda n: [Chunk(deltas=[TextDelta(piece), ReasoningDelta(piece)]) for piece in pieces(n)]


def arguments(n: int, index: Callable[[int], int | None]) -> list[Chunk]:
    return [Chunk(calls=[Call(index(at), Called("python", "x" * 20))]) for at in range(n)]


async def ignored(event: object) -> None: ...


async def built(pieces: list[str]) -> None:
    response = e.Response(id="resp_1", created_at=0, model="m")
    builder = ResponseBuilder(response, ignored, started=0.0)
    for piece in pieces:
        await builder.text(piece)
        await builder.cite("cntr_1", [])
    await builder.close_item()
    for piece in pieces:
        await builder.reasoning(piece)
    await builder.code_start("cntr_1", tagged=True)
    for piece in pieces:
        await builder.code.delta(piece)
    await builder.code.written("")
    for piece in pieces:
        await builder.code.output(Stream("stdout", piece))
    await builder.code.executed(ExecutionResult(status="ok", duration_s=0.0), "")


async def cited(name: str) -> None:
    builder = ResponseBuilder(e.Response(id="resp_1", created_at=0, model="m"), ignored, started=0.0)
    await builder.text("x" + "a" * len(name))
    await builder.cite("cntr_1", [("cfile_1", "b" + "a" * 200)] * 10)


# ---- what is stored --------------------------------------------------------------------------------------


def stored(text: str) -> StoredResponse:
    response = e.Response(id="resp_1", created_at=0, model=text[:200])
    response.output = [e.Message(id="msg_1", content=[e.OutputText(text)]), call_of(text)]
    return StoredResponse(response, [said(text)])


def folded(text: str) -> object:
    found = stored(text)
    words = begun(SearchFields(), [], found.response, [said(text)])
    return ended(SearchFields(), words, found.response)


async def archived(text: str) -> None:
    async def responses() -> AsyncIterator[StoredResponse]:
        yield stored(text)

    async def get_blob(sha256: str) -> Blob | None:
        return Blob(text.encode(), "text/plain")

    facets = SearchFields(blobs=["0" * 64])
    conversation = Conversation("conv_1", "", 0.0, 0.0, {}, None, title=text[:200], facets=facets)
    async for _ in archive_pieces(conversation, responses(), get_blob):
        pass


def whole(text: str) -> object:
    shown = DisplayData({}, {"codeact:url": {"text/html": f"blob:{'0' * 64}", "application/json": text}})
    return whole_output(shown, lambda sha256: Blob(text.encode(), "text/html"))


def whole_json(data: bytes) -> object:
    shown = DisplayData({}, {"codeact:url": {"application/json": f"blob:{'0' * 64}"}})
    return whole_output(shown, lambda sha256: Blob(data, "application/json"))


def read_again(text: str) -> object:
    item = msgspec.to_builtins(call_of(text))
    return [read_item(item), read_item({"type": text, "id": text}), read_input([msgspec.to_builtins(said(text))])]


def cut(frames: list[str]) -> object:
    return list(batches(EventBatch("resp_1", 0, frames)))


TABLE: dict[str, tuple[Reader, Inputs]] = {
    "sandbox_pool.sandbox.files.Files.list": (
        awaited(listed),
        {
            "entries": entries,
            **{
                f"path, {k}": lambda n, make=v: answer(b"D", make(n)[:PIECE_BYTES]) for k, v in contents("", "").items()
            },  # type: ignore[misc]
        },
    ),
    "sandbox_pool.sandbox.files.Files.read": (
        awaited(read_whole),
        {
            "tiny pieces": lambda n: file_of(n, b"x"),
            "pieces": lambda n: file_of(50 * n, b"x" * 5_000),
            **{f"an error, {k}": lambda n, make=v: answer(b"E", make(n)[:PIECE_BYTES]) for k, v in BYTES.items()},  # type: ignore[misc]
        },
    ),
    "sandbox_pool.sandbox.files.Files": (awaited(asked_for), {**TEXTS, "parts": lambda n: "a/" * n}),
    "codeact.server.requests.uploads.uploaded_file": (
        awaited(received),
        {
            "content": lambda n: PART + bytes(n) + FILE_END,
            "almost boundaries": lambda n: PART + b"\r\n--" * n + FILE_END,
            "boundaries that go on": lambda n: PART + b"\r\n--a" * n + FILE_END,
            "returns": lambda n: PART + b"\r" * n + FILE_END,
            "headers": lambda n: b"--b\r\n" + b"a: b\r\n" * n + b"\r\n" + FILE_END,
            "a header without an end": lambda n: b"--b\r\ncontent-disposition: " + b";a=b" * n,
            "escapes in a name": lambda n: b'--b\r\ncontent-disposition: form-data; name="' + b'\\"' * n + b'"\r\n\r\n',
            "parts": lambda n: b'--b\r\ncontent-disposition: form-data; name="a"\r\n\r\nx\r\n' * n + b"--b--\r\n",
            "lines before the first part": lambda n: b"\r\n" * n + PART,
            **{f"a field, {k}": lambda n, make=v: PART.replace(b"a", make(n)) + FILE_END for k, v in BYTES.items()},  # type: ignore[misc]
        },
    ),
    "codeact.server.requests.parameters.read_parameters": (
        refusing(asked),
        {
            **{k: lambda n, make=v: f"query={quote_plus(make(n))}".encode() for k, v in TEXTS.items()},  # type: ignore[misc]
            "parameters": lambda n: b"&".join(b"a%d=b" % at for at in range(n)),
            "one parameter": lambda n: b"query=a&" * n,
            "a list": lambda n: b"tag=a&tag[]=b&" * n,
            "ampersands": lambda n: b"&" * n,
            "escapes": lambda n: b"query=" + b"%" * n,
        },
    ),
    "codeact.runs.input_items.as_messages": (refusing(messages), TEXTS),
    "codeact.runs.sent_calls.SearchOutputItem.loaded": (refusing(searched), SEARCHED),
    "codeact.tools.client_search.with_loaded": (
        lambda tools: with_loaded(Toolbox(), loaded_functions([e.ToolSearchOutput(id="", call_id="", tools=tools)])),
        {**SEARCHED, "no functions": lambda n: [{"type": "function", "name": f"no {at}"} for at in range(n)]},
    ),
    "codeact.runs.input_items.mark_items": (
        mark_items,
        {"items": lambda n: {"items": [{"role": "user", "content": "x"}] * n}},
    ),
    "codeact.runs.input_items.from_item": (lambda text: from_item(call_of(text)), TEXTS),
    "codeact.runs.code_of_history.with_code": (
        lambda given: with_code(*given),
        {
            "the same words": lambda n: ([replied("x")] * n, [call_of("1"), replied("x")] * n),
            "other words": lambda n: ([replied("x")] * n, [call_of("1"), replied("y")] * n),
            "fences": lambda n: ([replied("````python\nx\n````\n" * n)], [call_of("1"), replied("y")] * n),
            "open fences": lambda n: ([replied("````python\n" * n)], [call_of("1"), replied("y")] * n),
        },
    ),
    "codeact.runs.media.input_files": (
        lambda given: input_files(given, get=cast("Any", None)),
        {
            "files": lambda n: [
                e.InputMessage(
                    id="",
                    role="user",
                    content=[{"type": "input_file", "filename": f"a{at}", "file_id": "0"} for at in range(n)],
                )
            ]
        },
    ),
    "codeact.server.requests.create.parse_steer": (refusing(steering), TEXTS),
    "codeact.server.requests.ranges.wanted_range": (refusing(lambda text: wanted_range(f"bytes={text}", 10)), TEXTS),
    "codeact.server.public_view.images_of": (awaited(lambda text: images_of([stored(text)])), TEXTS),
    "codeact.server.documents.document_pieces": (
        awaited(sent),
        {
            **TEXTS,
            "a long text": lambda n: "x;" * 2_000 * n,
            "entries": lambda n: [["x"]] * n,
            "names": lambda n: {f"a{at}": ["x"] for at in range(n)},
        },
    ),
    "codeact.server.blob_urls.with_urls": (
        with_urls,
        {**BYTES, "names": lambda n: b'"blob:' * n, "cut": lambda n: f"; all of them: blob:{'0' * 64}]".encode() * n},
    ),
    "codeact.origins.exact_origin": (
        refusing(origin),
        {
            **TEXTS,
            **{f"host, {k}": lambda n, make=v: f"https://a{make(n)}" for k, v in TEXTS.items()},  # type: ignore[misc]
        },
    ),
    "codeact.owners.check_owner": (refusing(check_owner), TEXTS),
    "codeact.packages.worth_telling": (worth_telling, {"names": lambda n: [f"a_{at}" for at in range(n)]}),
    "codeact.observations.hints.hints": (hinted, TEXTS),
    "codeact.observations.hints.earlier_errors": (compared, TEXTS),
    "codeact.verification.comparing.compare": (replayed, TEXTS),
    "sandbox_pool.checkpoint.to_manifest": (
        read_manifest,
        {
            "parts": lambda n: manifest_of(
                files=[{**SAVED, "content": {"size_bytes": n * 262_144, "parts": ["0" * 64] * n}}]
            ),
            "files": lambda n: manifest_of(files=[SAVED] * n),
            "folders": lambda n: manifest_of(files=[{**SAVED, "path": "a/" * n + ".."}]),
            "groups": lambda n: manifest_of(units=[{**UNIT, "groups": [GROUP] * n}]),
            "units": lambda n: manifest_of(units=[UNIT] * n),
            "buffers": lambda n: manifest_of(units=[{**UNIT, "groups": [GROUP], "buffers": [EMPTY] * n}]),
            "names": lambda n: manifest_of(
                units=[
                    {
                        **UNIT,
                        "groups": [{"names": [{"name": "a", "type": "b", "size_bytes": 0}] * n, "pickle_bytes": 0}],
                    }
                ]
            ),
            "environment": lambda n: manifest_of(environment={str(at): "x" for at in range(n)}),
            "sources": lambda n: manifest_of(sources=[{"name": "f", "kind": "function", "source": "x"}] * n),
            "nested lists": lambda n: b"[" * n,
        },
    ),
    "codeact.tools.mcp.value_of_result": (
        refusing(
            lambda given: (
                value(given)
                if isinstance(given, str)
                else blocks(given)
                if isinstance(given, list)
                else structured(given)
            )
        ),
        {**TEXTS, "blocks": values, **{f"structured, {k}": v for k, v in contents("", "").items()}},
    ),
    "codeact.models.shared.reading.Reading": (
        heard,
        {
            **{name: text_of(make) for name, make in PIECES.items()},
            "halves of characters": text_of(lambda n: ["\ud83d"] * n),
            "halves in turns": text_of(lambda n: ["\ud83d", "\ude00"] * n),
            "one call": lambda n: arguments(n, lambda at: 0),
            "many calls": lambda n: arguments(n, lambda at: at),
            "calls without a number": lambda n: arguments(n, lambda at: None),
        },
    ),
    "codeact.models.shared.reading.finish": (finish, TEXTS),
    "codeact.agent.response_builder.ResponseBuilder": (awaited(built), PIECES),
    "codeact.agent.response_builder.ResponseBuilder.cite": (awaited(cited), TEXTS),
    "codeact.store.blobs.offload": (
        awaited(lambda given: offloaded(given) if isinstance(given, str) else offloaded_outputs(len(given))),
        {**TEXTS, "outputs": lambda n: [""] * (n // 10), "base64": lambda n: "QUJD" * n},
    ),
    "codeact.store.repositories.events.batches": (cut, PIECES),
    "codeact.store.search.search_fields.begun": (folded, TEXTS),
    "codeact.store.documents.reading.read_item": (read_again, TEXTS),
    "codeact.exports.inline.whole_output": (
        refusing(lambda given: whole(given) if isinstance(given, str) else whole_json(given)),
        {**TEXTS, **{f"json, {k}": v for k, v in contents("", "").items()}},
    ),
    "codeact.exports.archive.archive_pieces": (awaited(archived), TEXTS),
}
