"""The outputs of running code, as nbformat defines them, and the function that merges them.

Shapes follow nbformat 4.5 ("Code cell outputs") and the Jupyter messaging spec 5.5 ("Messages on the
IOPub channel"). `Stream`, `DisplayData`, `ExecuteResult` and `Error` encode to exactly the JSON of a notebook
file. `UpdateDisplayData` and `ClearOutput` exist only while code runs and change earlier outputs; `fold` applies
them.
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
"""ASCII, Latin letters, arrows and the characters of progress bars: each takes one column of a terminal."""

if TYPE_CHECKING:
    MimeBundle = dict[str, Any]
else:
    MimeBundle = dict[str, msgspec.Raw]
"""MIME type to content: text as `str`, PNG and JPEG as base64 `str`. Values of JSON types stay undecoded
(`msgspec.Raw`): this package does not read them, and as Python objects they would take twenty times the memory.
"""


# `gc=False`: outputs hold no references to each other. A block can make hundreds of thousands of them, and the garbage
# collector would stop the event loop to look at each.


class Stream(msgspec.Struct, frozen=True, tag="stream", tag_field="output_type", omit_defaults=True, gc=False):
    """Text written to stdout or stderr, with its ANSI codes and carriage returns.

    `execution_count` is set only on live text that a thread of an earlier execution wrote; it names that execution.
    """

    name: Literal["stdout", "stderr"]
    text: str
    execution_count: int | None = None


class DisplayData(
    msgspec.Struct, frozen=True, tag="display_data", tag_field="output_type", omit_defaults=True, gc=False
):
    """A rich value shown by `display()`; `display_id` names it for later updates."""

    data: MimeBundle
    metadata: dict[str, Any] = {}
    display_id: str | None = None

    def __post_init__(self) -> None:
        _read_texts(self.data)


class ExecuteResult(
    msgspec.Struct, frozen=True, tag="execute_result", tag_field="output_type", omit_defaults=True, gc=False
):
    """The value of the last expression, in each MIME type that the value's class can render."""

    data: MimeBundle
    metadata: dict[str, Any] = {}
    execution_count: int | None = None

    def __post_init__(self) -> None:
        _read_texts(self.data)


class Error(msgspec.Struct, frozen=True, tag="error", tag_field="output_type", gc=False):
    """An exception that the code raised. It is data; this package does not raise it."""

    ename: str
    evalue: str
    traceback: list[str]


class UpdateDisplayData(
    msgspec.Struct, frozen=True, tag="update_display_data", tag_field="output_type", omit_defaults=True, gc=False
):
    """Replaces the content of the earlier `DisplayData` with the same `display_id`."""

    data: MimeBundle
    display_id: str
    metadata: dict[str, Any] = {}

    def __post_init__(self) -> None:
        _read_texts(self.data)


class ClearOutput(msgspec.Struct, frozen=True, tag="clear_output", tag_field="output_type", gc=False):
    """Removes all earlier outputs; with `wait`, only when the next output arrives."""

    wait: bool = False


Output = Stream | DisplayData | ExecuteResult | Error | UpdateDisplayData | ClearOutput


class ExecutionResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How an execution ended. It is complete once the kernel has sent both the reply and the status `idle`.

    `status`: `ok`; `error` (the code raised); `interrupted` (a caller stopped the code); `timeout`
    (the code exceeded its time limit); `died` (the kernel ended, and all variables with it).
    `error_kind` distinguishes a syntax error (no line ran) from a runtime error (the lines before it ran).
    `limit` is the name of the `Limits` field that was hit, also when the status is `ok` but output was cut.
    `detail` is an explanation for the user and the model; it may be empty.
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
    """Merges live outputs, oldest first, into the outputs that a notebook would store.

    Consecutive `Stream`s of one name become one, without the lines that a progress bar has overwritten. An
    `UpdateDisplayData` replaces the content of earlier displays with its id. A `ClearOutput` removes all
    outputs before it; with `wait`, only if another output follows.
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
"""An update with its position: it changes only the displays before it."""


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
    """Decodes those values of a bundle that are JSON strings. Other JSON stays encoded, without line breaks."""
    for mime, value in data.items():
        if not isinstance(value, msgspec.Raw):
            continue
        raw = bytes(value)
        if raw[:1] == b'"':
            data[mime] = msgspec.json.decode(raw, type=str)
        else:
            data[mime] = msgspec.Raw(msgspec.json.format(raw, indent=-1) if b"\n" in raw or b"\r" in raw else raw)


class _Text(StringIO):
    """The text of one stream while more is appended to it."""

    def __init__(self, name: Literal["stdout", "stderr"], late: int | None) -> None:
        super().__init__()
        self.name = name
        self.late = late


def without_overdrawn(text: str) -> str:
    """Removes text that a carriage return and at least as much later text have overwritten, as progress bars do.

    A terminal shows the result exactly as it shows the input. Text with characters that may not take exactly one
    column is not removed.
    """
    parts: list[str] = []
    at = 0
    # One line at a time, so that other threads can run between lines.
    while (drawn_at := text.find("\r", at)) >= 0:
        start = text.rfind("\n", at, drawn_at) + 1 or at
        end = text.find("\n", drawn_at)
        end = len(text) if end < 0 else end
        parts += (text[at:start], _last_drawn(text[start:end]))
        at = end
    return "".join([*parts, text[at:]]) if parts else text


def _last_drawn(line: str) -> str:
    """Removes the overwritten parts of one line. Linear: it goes from the end and matches each part once."""
    start = line.rfind("\r") + 1
    lines = [line[start:]]
    covers = _COLUMNS.fullmatch(lines[0]) is not None
    while start > 0:
        end, start = start - 1, line.rfind("\r", 0, start - 1) + 1
        if end == start:
            continue  # This part is empty.
        piece = line[start:end]
        is_plain = _COLUMNS.fullmatch(piece) is not None
        if not (covers and is_plain and len(piece) <= len(lines[-1])):
            lines.append(piece)
            covers = is_plain
    return "\r".join(reversed(lines))
