"""The outputs of running code, as nbformat defines them, and how they are merged.

Shapes follow nbformat 4.5 ("Code cell outputs") and the Jupyter messaging spec 5.5 ("Messages on the
IOPub channel"). `Stream`, `DisplayData`, `ExecuteResult` and `Error` encode to exactly what a notebook
file holds; `UpdateDisplayData` and `ClearOutput` exist only while code runs and act on earlier outputs
(`fold` applies them).
"""

import re
from collections.abc import Iterable
from io import StringIO
from typing import TYPE_CHECKING, Any, Literal

import msgspec

__all__ = [
    "ClearOutput",
    "DisplayData",
    "Error",
    "ExecuteResult",
    "ExecutionResult",
    "Output",
    "Stream",
    "UpdateDisplayData",
    "fold",
    "without_overdrawn",
]

_COLUMNS = re.compile("[ -~\u00a1-\u00ac\u00ae-\u02ff\u2190-\u21ff\u2500-\u25a1]*")
"""ASCII, Latin, arrows, and what bars are made of: each takes one column of a terminal."""

if TYPE_CHECKING:
    MimeBundle = dict[str, Any]
else:
    MimeBundle = dict[str, msgspec.Raw]
"""MIME type to content: text as `str`, PNG and JPEG as base64 `str`. What is decoded keeps the values of JSON types as
`msgspec.Raw`: nobody here looks into them, and as Python objects they would take twenty times their bytes.
"""


class Stream(msgspec.Struct, frozen=True, tag="stream", tag_field="output_type", omit_defaults=True):
    """Text written to stdout or stderr; ANSI codes and carriage returns kept.

    `execution_count` is set on live text alone, and only where a thread of an earlier execution wrote it.
    """

    name: Literal["stdout", "stderr"]
    text: str
    execution_count: int | None = None


class DisplayData(msgspec.Struct, frozen=True, tag="display_data", tag_field="output_type", omit_defaults=True):
    """A rich value shown by `display()`; `display_id` names it for later updates."""

    data: MimeBundle
    metadata: dict[str, Any] = {}
    display_id: str | None = None

    def __post_init__(self) -> None:
        _read_texts(self.data)


class ExecuteResult(msgspec.Struct, frozen=True, tag="execute_result", tag_field="output_type", omit_defaults=True):
    """The value of the last expression, in every MIME type its type can render."""

    data: MimeBundle
    metadata: dict[str, Any] = {}
    execution_count: int | None = None

    def __post_init__(self) -> None:
        _read_texts(self.data)


class Error(msgspec.Struct, frozen=True, tag="error", tag_field="output_type"):
    """An exception raised by the code: data, never a Python exception on our side."""

    ename: str
    evalue: str
    traceback: list[str]


class UpdateDisplayData(
    msgspec.Struct, frozen=True, tag="update_display_data", tag_field="output_type", omit_defaults=True
):
    """Replaces the content of the earlier `DisplayData` with the same `display_id`."""

    data: MimeBundle
    display_id: str
    metadata: dict[str, Any] = {}

    def __post_init__(self) -> None:
        _read_texts(self.data)


class ClearOutput(msgspec.Struct, frozen=True, tag="clear_output", tag_field="output_type"):
    """Removes what was shown so far; with `wait`, only when the next output comes."""

    wait: bool = False


Output = Stream | DisplayData | ExecuteResult | Error | UpdateDisplayData | ClearOutput


class ExecutionResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How an execution ended, once its reply and its idle have both come.

    `status`: `ok`; `error` (the code raised); `interrupted` (somebody asked for the stop); `timeout`
    (the time limit); `died` (the kernel went away: every variable is gone).
    `error_kind` tells a syntax error (nothing ran) from a runtime error (the lines before it ran).
    `limit` is the name of the `Limits` field that was hit, also when the status is `ok` but output was cut.
    `detail` is a sentence for the user and the model; empty when there is nothing to say.
    """

    status: Literal["ok", "error", "interrupted", "timeout", "died"]
    duration_s: float
    execution_count: int | None = None
    error: Error | None = None
    error_kind: Literal["syntax", "runtime"] | None = None
    limit: str | None = None
    detail: str = ""
    kernel_alive: bool = True
    omitted_bytes: int = 0


def fold(outputs: Iterable[Output]) -> list[Stream | DisplayData | ExecuteResult | Error]:
    """The outputs as a notebook would hold them after these live ones, oldest first.

    Neighbouring stream outputs of one name become one, less the lines that a progress bar has drawn over;
    updates replace the content of the display they name; a clear removes everything before it (with `wait`,
    once something follows).
    """
    folded: list[_Text | _Shown | ExecuteResult | Error] = []
    updates: dict[str, _Update] = {}
    clear_next = False
    for number, output in enumerate(outputs):
        if isinstance(output, ClearOutput):
            clear_next = output.wait
            if not output.wait:
                folded.clear()
            continue
        if clear_next:
            folded.clear()
            clear_next = False
        match output:
            case UpdateDisplayData():
                updates[output.display_id] = (number, output)
            case Stream():
                last = folded[-1] if folded else None
                if not isinstance(last, _Text) or (last.name, last.late) != (output.name, output.execution_count):
                    folded.append(last := _Text(output.name, output.execution_count))
                last.write(output.text)
            case DisplayData():
                folded.append((number, output))
            case _:
                folded.append(output)
    return [_final(output, updates) for output in folded]


_Shown = tuple[int, DisplayData]
_Update = tuple[int, UpdateDisplayData]
"""With the place where it came: an update reaches only the displays before it."""


def _final(
    output: "_Text | _Shown | ExecuteResult | Error", updates: dict[str, _Update]
) -> Stream | DisplayData | ExecuteResult | Error:
    match output:
        case _Text():
            return Stream(output.name, without_overdrawn(output.getvalue()))
        case (shown_at, display):
            found = updates.get(display.display_id) if display.display_id is not None else None
            if found is None or found[0] < shown_at:
                return display
            return DisplayData(found[1].data, found[1].metadata, display.display_id)
        case _:
            return output


def _read_texts(data: MimeBundle) -> None:
    """Decodes the values of a bundle that are texts; other JSON stays as it came, on one line."""
    for mime, value in data.items():
        if not isinstance(value, msgspec.Raw):
            continue
        raw = bytes(value)
        if raw[:1] == b'"':
            data[mime] = msgspec.json.decode(raw, type=str)
        else:
            data[mime] = msgspec.Raw(msgspec.json.format(raw, indent=-1) if b"\n" in raw or b"\r" in raw else raw)


class _Text(StringIO):
    """Text of one stream that still grows."""

    def __init__(self, name: Literal["stdout", "stderr"], late: int | None) -> None:
        super().__init__()
        self.name = name
        self.late = late


def without_overdrawn(text: str) -> str:
    """The text less what was drawn over from the start of its line by something at least as long.

    What is left looks the same in a terminal. Text that is not surely one column a character stays.
    """
    parts: list[str] = []
    at = 0
    # Line by line, so that a thread that does this lets others run in between.
    while (drawn_at := text.find("\r", at)) >= 0:
        start = text.rfind("\n", at, drawn_at) + 1 or at
        end = text.find("\n", drawn_at)
        end = len(text) if end < 0 else end
        parts += (text[at:start], _last_drawn(text[start:end]))
        at = end
    return "".join([*parts, text[at:]]) if parts else text


def _last_drawn(line: str) -> str:
    """Reads from the end; each piece is matched once, however many stand before it."""
    start = line.rfind("\r") + 1
    lines = [line[start:]]
    covers = _COLUMNS.fullmatch(lines[0]) is not None
    while start > 0:
        end, start = start - 1, line.rfind("\r", 0, start - 1) + 1
        if end == start:
            continue  # Nothing was drawn.
        piece = line[start:end]
        is_plain = _COLUMNS.fullmatch(piece) is not None
        if not (covers and is_plain and len(piece) <= len(lines[-1])):
            lines.append(piece)
            covers = is_plain
    return "\r".join(reversed(lines))
