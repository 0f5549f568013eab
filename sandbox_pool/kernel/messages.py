"""Decodes the contents of verified Jupyter messages, and checks and bounds them: the kernel is not trusted.

Source: the Jupyter messaging spec 5.5, "Messages on the IOPub channel". For an invalid message, each function raises
`ValueError`, `msgspec.MsgspecError`, `RecursionError` or `OverflowError`.
"""

import re
from itertools import zip_longest
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

__all__ = ["Progress", "Reply", "to_output", "to_packages", "to_progress", "to_reply", "to_size", "to_state"]

ERROR_CHARS = 200_000
JSON_DEPTH = 64
CONTAINERS = 100_000
"""The maximum number of lists and objects in a JSON value. Numbers and texts are not counted: plots have many."""
METADATA_BYTES, METADATA_NODES = 65_536, 1_000
MOST_TYPES = 100
"""The maximum number of MIME types of one display."""
MOST_HALVES = 200_000
"""The maximum number of surrogate halves in the escapes of a JSON value; examining that many takes 30 ms."""
NODES = 10_000
"""The maximum number of values in any other content. A traceback has a few hundred lines."""
MENDED_BYTES = 2_000_000
"""Longer messages with surrogate halves are rejected: replacing these takes several times the memory, and our kernel
sends none.
"""
LARGEST_INT = 2**63 - 1

Count = Annotated[int, msgspec.Meta(ge=0, le=LARGEST_INT)]
T = TypeVar("T")


class Reply(msgspec.Struct, frozen=True):
    """An `execute_reply`. The fields after `traceback` come from its metadata, which our own kernel fills."""

    status: str
    execution_count: Count | None = None
    ename: str = ""
    evalue: str = ""
    traceback: list[str] = []
    syntax_error: bool = False
    limit: str | None = None
    clue: Clue | None = None

    @property
    def error(self) -> Error | None:
        return _error(self.ename, self.evalue, self.traceback) if self.status == "error" else None


class Progress(msgspec.Struct, frozen=True):
    """How far the kernel is in an open block: `ran` statements have run, of the `got` that it has.

    The next one `runs`; otherwise the kernel waits for more of them.
    """

    ran: Count
    runs: bool
    got: Count


class _Stream(msgspec.Struct):
    name: Literal["stdout", "stderr"]
    text: str


class _Transient(msgspec.Struct):
    display_id: str | None = None


class _Display(msgspec.Struct):
    data: msgspec.Raw
    metadata: msgspec.Raw = msgspec.Raw(b"{}")
    transient: _Transient | None = None
    execution_count: Count | None = None


class _Plain(msgspec.Struct):
    """The text of a MIME bundle, without decoding the rest of it."""

    text: str = msgspec.field(name="text/plain", default="")


class _Error(msgspec.Struct):
    ename: str
    evalue: str
    traceback: list[str]


class _ClearOutput(msgspec.Struct):
    wait: bool = False


class _Status(msgspec.Struct):
    execution_state: str


class _Omitted(msgspec.Struct):
    size_bytes: Count


_Names = Annotated[list[Annotated[str, msgspec.Meta(max_length=100)]], msgspec.Meta(max_length=1_000)]


class _Info(msgspec.Struct):
    packages: _Names = []
    versions: _Names = []


class _Metadata(msgspec.Struct):
    syntax_error: bool = False
    limit: str | None = None
    clue: Clue | None = None


_stream = msgspec.json.Decoder(_Stream)
_display = msgspec.json.Decoder(_Display)
_bundle = msgspec.json.Decoder(dict[str, msgspec.Raw])
_plain = msgspec.json.Decoder(_Plain)
_error_content = msgspec.json.Decoder(_Error)
_clear_output = msgspec.json.Decoder(_ClearOutput)
_omitted = msgspec.json.Decoder(_Omitted)
_progress = msgspec.json.Decoder(Progress)
_status = msgspec.json.Decoder(_Status)
_reply = msgspec.json.Decoder(Reply)
_info = msgspec.json.Decoder(_Info)
_metadata = msgspec.json.Decoder(_Metadata)


def to_output(message: Message, *, late: int | None = None) -> Output | None:
    """Returns the output in this IOPub message, or None for a type of message that has none.

    `late` is the execution count of its execution if that has already ended. A late `clear_output` is ignored, since
    it would clear the output of other code.
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
    """Decodes an `execute_reply`."""
    reply = _decode(_reply, message.content)
    metadata = _decode(_metadata, message.metadata)
    clue = metadata.clue.bounded() if metadata.clue is not None else None
    return msgspec.structs.replace(reply, syntax_error=metadata.syntax_error, limit=metadata.limit, clue=clue)


def to_packages(message: Message) -> dict[str, str]:
    """Returns the installed distributions, which our kernel adds to its `kernel_info_reply`: versions by name.

    The version is empty if the kernel does not say it: an image may be older than this server.
    """
    info = _info.decode(message.content)
    return dict(zip_longest(info.packages, info.versions[: len(info.packages)], fillvalue=""))


def to_size(message: Message) -> int:
    """Returns the size in bytes of an output that the kernel did not send."""
    return _omitted.decode(message.content).size_bytes


def to_progress(message: Message) -> Progress:
    """Decodes a `codeact_progress` message."""
    return _progress.decode(message.content)


def to_state(message: Message) -> str:
    """Returns the kernel's state from a `status` message: busy, idle or starting."""
    return _status.decode(message.content).execution_state


def _to_display(kind: str, display: _Display) -> Output:
    data = _data_of(memoryview(display.data))
    metadata = _metadata_of(display.metadata)
    display_id = display.transient.display_id if display.transient else None
    if kind == "execute_result":
        return ExecuteResult(data, metadata, display.execution_count)
    if kind == "display_data":
        return DisplayData(data, metadata, display_id)
    if display_id is None:
        raise ValueError("an update names no display")
    return UpdateDisplayData(data, display_id, metadata)


def _data_of(raw: memoryview) -> dict[str, str | msgspec.Raw]:
    """Decodes a MIME bundle. Of one with too many objects to count its types quickly, it keeps only the text."""
    if (
        json_size.nodes(raw, CONTAINERS, of=b"[{") > CONTAINERS
        and json_size.nodes(raw, MOST_TYPES, of=b":") > MOST_TYPES
    ):
        text = _decode_whole(_plain, raw).text
        return {"text/plain": f"{text}\n[a display of more than {CONTAINERS:,} lists and objects: its text is kept]"}
    if json_size.fields(raw, MOST_TYPES) > MOST_TYPES:
        raise json_size.TooComplex(f"a display of more than {MOST_TYPES} MIME types")
    values = {mime.replace("\0", ""): _content(mime, value) for mime, value in _decode_whole(_bundle, raw).items()}
    return {mime: value for mime, value in values.items() if value is not None}


def _content(mime: str, value: msgspec.Raw) -> str | msgspec.Raw | None:
    """Returns a string decoded, JSON of a JSON MIME type undecoded, and None for anything else."""
    raw = memoryview(value)
    if bytes(raw[:1]) == b'"':
        return msgspec.json.decode(value, type=str)
    if not mime.endswith("json") or bytes(raw[:4]) == b"null":
        return None
    if json_size.nodes(raw, CONTAINERS, of=b"[{") > CONTAINERS:
        return f'"[{mime} of more than {CONTAINERS:,} lists and objects: not kept]"'
    json_size.check_depth(raw, JSON_DEPTH)
    text = str(raw, "utf-8", "replace")
    if _halves(text) > MOST_HALVES:
        return f'"[{mime} with more than {MOST_HALVES:,} escaped surrogates: not kept]"'
    return msgspec.Raw(_without_lone_halves(text))


def _metadata_of(raw: msgspec.Raw) -> dict[str, Any]:
    """Decodes metadata; returns {} if it is too large."""
    data = memoryview(raw)
    if len(data) > METADATA_BYTES or json_size.nodes(data, METADATA_NODES) > METADATA_NODES:
        return {}
    return _clean(msgspec.json.decode(raw, type=dict[str, Any]))  # type: ignore[no-any-return]


def _decode(decoder: "msgspec.json.Decoder[T]", content: bytes, most: int = NODES) -> T:
    if json_size.nodes(content, most) > most:
        raise json_size.TooComplex(f"it has more than {most:,} values")
    return _decode_whole(decoder, content)


def _decode_whole(decoder: "msgspec.json.Decoder[T]", content: bytes | memoryview) -> T:
    try:
        return decoder.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        if len(content) > MENDED_BYTES:
            raise
        # Python writes lone surrogates, which other JSON decoders reject. Replace them with U+FFFD.
        try:
            text = str(content, "utf-8")
        except UnicodeDecodeError:
            text = str(content, "utf-8", "surrogatepass")
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        if _halves(text) > MOST_HALVES:
            raise json_size.TooComplex(f"it has more than {MOST_HALVES:,} escaped surrogates") from None
        return decoder.decode(_without_lone_halves(text))


_HALF = r"[0-9a-fA-F]{2}"
_LONE_HALF = re.compile(
    rf"\\u[dD](?:[89abAB]{_HALF}(?!\\u[dD][c-fC-F]{_HALF})"
    rf"|[c-fC-F]{_HALF}(?<!\\u[dD][89abAB]{_HALF}\\u[dD][c-fC-F]{_HALF}))"
)
"""Matches the escape of a surrogate half without its other half, in JSON without escaped backslashes."""


def _halves(text: str) -> int:
    return text.count("\\ud") + text.count("\\uD")


def _without_lone_halves(text: str) -> str:
    """Returns JSON text with U+FFFD for each escaped surrogate half without its other half."""
    if not _halves(text):
        return text
    # JSON contains no zero bytes, so two of them can stand for an escaped backslash.
    escaped = "\\\\u" in text
    text = _LONE_HALF.sub("\ufffd", text.replace("\\\\", "\0\0") if escaped else text)
    return text.replace("\0\0", "\\\\") if escaped else text


def _clean(value: Any, depth: int = JSON_DEPTH) -> Any:
    """Returns the JSON value without zero bytes in keys and too large integers, which MongoDB and encoders reject.

    Raises `ValueError` when the value is nested too deeply.
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
    """Builds an error of bounded size. Keeps the last lines of a traceback that is too long."""
    lines: list[str] = []
    room = ERROR_CHARS
    for line in reversed(traceback):
        room -= len(line) + 1
        if room < 0:
            break
        lines.append(line)
    return Error(ename[:1000], evalue[:ERROR_CHARS], lines[::-1])
