"""A verified Jupyter message enters, a checked value leaves. Nothing here trusts what it reads.

Contents: the Jupyter messaging spec 5.5, "Messages on the IOPub channel". Reading raises `ValueError`,
`msgspec.MsgspecError`, `RecursionError` or `OverflowError`, which a reader counts.
"""

import json
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from sandbox_pool.outputs import (
    ClearOutput,
    DisplayData,
    Error,
    ExecuteResult,
    Output,
    Stream,
    UpdateDisplayData,
)
from sandbox_pool.session import Message

__all__ = ["Reply", "to_output", "to_reply", "to_size", "to_state"]

ERROR_CHARS = 200_000
JSON_DEPTH = 64
LARGEST_INT = 2**63 - 1

T = TypeVar("T")


class Reply(msgspec.Struct, frozen=True):
    """The content of an `execute_reply`; `syntax_error` and `limit` are from its metadata, put there by our kernel."""

    status: str
    execution_count: int | None = None
    ename: str = ""
    evalue: str = ""
    traceback: list[str] = []
    syntax_error: bool = False
    limit: str | None = None

    @property
    def error(self) -> Error | None:
        return _error(self.ename, self.evalue, self.traceback) if self.status == "error" else None


class _Stream(msgspec.Struct):
    name: Literal["stdout", "stderr"]
    text: str


class _Transient(msgspec.Struct):
    display_id: str | None = None


class _Display(msgspec.Struct):
    data: dict[str, Any]
    metadata: dict[str, Any] = {}
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


class _Metadata(msgspec.Struct):
    syntax_error: bool = False
    limit: str | None = None


_stream = msgspec.json.Decoder(_Stream)
_display = msgspec.json.Decoder(_Display)
_error_content = msgspec.json.Decoder(_Error)
_clear_output = msgspec.json.Decoder(_ClearOutput)
_omitted = msgspec.json.Decoder(_Omitted)
_status = msgspec.json.Decoder(_Status)
_reply = msgspec.json.Decoder(Reply)
_metadata = msgspec.json.Decoder(_Metadata)


def to_output(message: Message, *, late: int | None = None) -> Output | None:
    """What this iopub message shows; None for a type that shows nothing.

    `late` is the number of its execution if that has ended: then it clears nothing, since it was not its output.
    """
    match message.type:
        case "stream":
            stream = _decode(_stream, message.content)
            return Stream(stream.name, stream.text, late)
        case "display_data" | "update_display_data" | "execute_result":
            return _to_display(message.type, _decode(_display, message.content))
        case "error":
            error = _decode(_error_content, message.content)
            return _error(error.ename, error.evalue, error.traceback)
        case "clear_output" if late is None:
            return ClearOutput(_clear_output.decode(message.content).wait)
        case _:
            return None


def to_reply(message: Message) -> Reply:
    """The reply to an execution."""
    reply = _decode(_reply, message.content)
    metadata = _metadata.decode(message.metadata)
    return msgspec.structs.replace(reply, syntax_error=metadata.syntax_error, limit=metadata.limit)


def to_size(message: Message) -> int:
    """How large the output was that the kernel did not send."""
    return _omitted.decode(message.content).size_bytes


def to_state(message: Message) -> str:
    """The kernel's state in a `status` message: busy, idle or starting."""
    return _status.decode(message.content).execution_state


def _to_display(kind: str, display: _Display) -> Output:
    data = {mime: value for mime, value in _clean(display.data).items() if _is_content(mime, value)}
    metadata = _clean(display.metadata)
    display_id = display.transient.display_id if display.transient else None
    if kind == "execute_result":
        return ExecuteResult(data, metadata, display.execution_count)
    if kind == "display_data":
        return DisplayData(data, metadata, display_id)
    if display_id is None:
        raise ValueError("an update names no display")
    return UpdateDisplayData(data, display_id, metadata)


def _is_content(mime: str, value: Any) -> bool:
    return isinstance(value, str) or (mime.endswith("json") and value is not None)


def _decode(decoder: "msgspec.json.Decoder[T]", content: bytes) -> T:
    try:
        return decoder.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Python prints lone surrogates, which no other JSON reader takes; they become U+FFFD.
        text = json.dumps(json.loads(content), ensure_ascii=False)
        return decoder.decode(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


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
    kept: list[str] = []
    room = ERROR_CHARS
    for line in reversed(traceback):
        room -= len(line) + 1
        if room < 0:
            break
        kept.append(line)
    return Error(ename[:1000], evalue[:ERROR_CHARS], kept[::-1])
