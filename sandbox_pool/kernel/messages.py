"""Turns verified Jupyter messages into checked values. Trusts nothing that it reads.

Contents: the Jupyter messaging spec 5.5, "Messages on the IOPub channel". Reading raises `ValueError`,
`msgspec.MsgspecError`, `RecursionError` or `OverflowError`, which a reader counts.
"""

import re
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from sandbox_pool import json_size
from sandbox_pool.clues import Clue
from sandbox_pool.kernel.session import Message
from sandbox_pool.outputs import (
    ClearOutput,
    DisplayData,
    Error,
    ExecuteResult,
    Output,
    Stream,
    UpdateDisplayData,
)

__all__ = ["Reply", "to_output", "to_packages", "to_reply", "to_size", "to_state"]

ERROR_CHARS = 200_000
JSON_DEPTH = 64
CONTAINERS = 100_000
"""Lists and objects in a value that is kept as JSON. Numbers and texts in them are free: plots have many."""
METADATA_BYTES, METADATA_NODES = 65_536, 1_000
NODES = 10_000
"""Values in any other content: a traceback has some hundred lines."""
LARGEST_INT = 2**63 - 1

T = TypeVar("T")


class Reply(msgspec.Struct, frozen=True):
    """The content of an `execute_reply`; those after `traceback` are from its metadata, put there by our kernel."""

    status: str
    execution_count: int | None = None
    ename: str = ""
    evalue: str = ""
    traceback: list[str] = []
    syntax_error: bool = False
    limit: str | None = None
    clue: Clue | None = None

    @property
    def error(self) -> Error | None:
        return _error(self.ename, self.evalue, self.traceback) if self.status == "error" else None


class _Stream(msgspec.Struct):
    name: Literal["stdout", "stderr"]
    text: str


class _Transient(msgspec.Struct):
    display_id: str | None = None


class _Display(msgspec.Struct):
    data: dict[str, msgspec.Raw]
    metadata: msgspec.Raw = msgspec.Raw(b"{}")
    transient: _Transient | None = None
    execution_count: int | None = None


class _Error(msgspec.Struct):
    ename: str
    evalue: str
    traceback: list[str]


class _ClearOutput(msgspec.Struct):
    wait: bool = False


class _Status(msgspec.Struct):
    execution_state: str


class _Omitted(msgspec.Struct):
    size_bytes: Annotated[int, msgspec.Meta(ge=0, le=LARGEST_INT)]


class _Info(msgspec.Struct):
    packages: Annotated[list[Annotated[str, msgspec.Meta(max_length=100)]], msgspec.Meta(max_length=1_000)] = []


class _Metadata(msgspec.Struct):
    syntax_error: bool = False
    limit: str | None = None
    clue: Clue | None = None


_stream = msgspec.json.Decoder(_Stream)
_display = msgspec.json.Decoder(_Display)
_error_content = msgspec.json.Decoder(_Error)
_clear_output = msgspec.json.Decoder(_ClearOutput)
_omitted = msgspec.json.Decoder(_Omitted)
_status = msgspec.json.Decoder(_Status)
_reply = msgspec.json.Decoder(Reply)
_info = msgspec.json.Decoder(_Info)
_metadata = msgspec.json.Decoder(_Metadata)


def to_output(message: Message, *, late: int | None = None) -> Output | None:
    """What this iopub message shows; None for a type that shows nothing.

    `late` is the number of its execution if that has ended: then it clears nothing, since it was not its output.
    """
    match message.type:
        case "stream":
            stream = _decode_whole(_stream, message.content)
            return Stream(stream.name, stream.text, late)
        case "display_data" | "update_display_data" | "execute_result":
            return _to_display(message.type, _decode_whole(_display, message.content))
        case "error":
            error = _decode(_error_content, message.content)
            return _error(error.ename, error.evalue, error.traceback)
        case "clear_output" if late is None:
            return ClearOutput(_decode(_clear_output, message.content).wait)
        case _:
            return None


def to_reply(message: Message) -> Reply:
    """The reply to an execution."""
    reply = _decode(_reply, message.content)
    metadata = _decode(_metadata, message.metadata)
    clue = metadata.clue.bounded() if metadata.clue is not None else None
    return msgspec.structs.replace(reply, syntax_error=metadata.syntax_error, limit=metadata.limit, clue=clue)


def to_packages(message: Message) -> tuple[str, ...]:
    """The names of the installed distributions, from the `kernel_info_reply` of our kernel."""
    return tuple(_info.decode(message.content).packages)


def to_size(message: Message) -> int:
    """How large the output was that the kernel did not send."""
    return _omitted.decode(message.content).size_bytes


def to_state(message: Message) -> str:
    """The kernel's state in a `status` message: busy, idle or starting."""
    return _status.decode(message.content).execution_state


def _to_display(kind: str, display: _Display) -> Output:
    data = {mime.replace("\0", ""): _content(mime, value) for mime, value in display.data.items()}
    data = {mime: value for mime, value in data.items() if value is not None}
    metadata = _metadata_of(display.metadata)
    display_id = display.transient.display_id if display.transient else None
    if kind == "execute_result":
        return ExecuteResult(data, metadata, display.execution_count)
    if kind == "display_data":
        return DisplayData(data, metadata, display_id)
    if display_id is None:
        raise ValueError("an update names no display")
    return UpdateDisplayData(data, display_id, metadata)


def _content(mime: str, value: msgspec.Raw) -> str | msgspec.Raw | None:
    """A text; JSON as it came, where its type says that it is JSON; None for what cannot be shown."""
    raw = memoryview(value)
    if bytes(raw[:1]) == b'"':
        return msgspec.json.decode(value, type=str)
    if not mime.endswith("json") or bytes(raw[:4]) == b"null":
        return None
    if json_size.nodes(raw, CONTAINERS, of=b"[{") > CONTAINERS:
        return f'"[{mime} of more than {CONTAINERS:,} lists and objects: not kept]"'
    json_size.check_depth(raw, JSON_DEPTH)
    text = str(raw, "utf-8", "replace")
    return msgspec.Raw(_ESCAPES.sub(_whole_escape, text) if "\\u" in text else text)


def _metadata_of(raw: msgspec.Raw) -> dict[str, Any]:
    """Nothing where it is more than anybody reads."""
    data = memoryview(raw)
    if len(data) > METADATA_BYTES or json_size.nodes(data, METADATA_NODES) > METADATA_NODES:
        return {}
    return _clean(msgspec.json.decode(raw, type=dict[str, Any]))  # type: ignore[no-any-return]


def _decode(decoder: "msgspec.json.Decoder[T]", content: bytes, most: int = NODES) -> T:
    if json_size.nodes(content, most) > most:
        raise json_size.TooComplex(f"it has more than {most:,} values")
    return _decode_whole(decoder, content)


def _decode_whole(decoder: "msgspec.json.Decoder[T]", content: bytes) -> T:
    try:
        return decoder.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Python prints lone surrogates, which no other JSON reader takes; they become U+FFFD.
        text = content.decode("utf-8", "surrogatepass").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return decoder.decode(_ESCAPES.sub(_whole_escape, text))


# A pair of surrogates and a lone one, as JSON writes them; last, any other escape, so that none begins in its middle.
_ESCAPES = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<lone>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)"
)


def _whole_escape(escape: re.Match[str]) -> str:
    return "\ufffd" if escape["lone"] else escape[0]


def _clean(value: Any, depth: int = JSON_DEPTH) -> Any:
    """The same JSON value, such that every encoder and database downstream takes it.

    Raises `ValueError` when it is nested too deeply.
    """
    if depth == 0:
        raise ValueError("a value is nested too deeply")
    match value:
        case dict():
            return {key.replace("\0", ""): _clean(item, depth - 1) for key, item in value.items()}
        case list():
            return [_clean(item, depth - 1) for item in value]
        case int() if abs(value) > LARGEST_INT:
            return float(value)
        case _:
            return value


def _error(ename: str, evalue: str, traceback: list[str]) -> Error:
    """An error of bounded size: of a traceback too long, the end is kept."""
    lines: list[str] = []
    room = ERROR_CHARS
    for line in reversed(traceback):
        room -= len(line) + 1
        if room < 0:
            break
        lines.append(line)
    return Error(ename[:1000], evalue[:ERROR_CHARS], lines[::-1])
