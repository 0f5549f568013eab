"""Merges consecutive live outputs and bounds their total size, without delaying the first one. Does no I/O.

The first output is due at once. After it, text, updates and clears are buffered for at most `window_s`: consecutive
text is merged, an update replaces an earlier one of the same display, and cleared outputs are dropped. Any other
output is due at once, together with everything buffered before it, so that the order is preserved.
"""

import itertools
from dataclasses import dataclass
from io import StringIO
from typing import Literal

from sandbox_pool.outputs import (
    ClearOutput,
    DisplayData,
    Error,
    ExecuteResult,
    Output,
    Stream,
    UpdateDisplayData,
)

__all__ = ["Coalescer"]

WINDOW_S = 0.020
OVERHEAD_BYTES = 64
"""Counted for each output in addition to its content, so that the limit also bounds the number of outputs."""


class Coalescer:
    """Buffers the outputs of one execution until its reader takes them. `now` is any monotonic time in seconds.

    `limit_bytes` bounds all outputs of the execution, read or unread. The first output that exceeds it is cut (text)
    or dropped, and all later ones are dropped; `omitted_bytes` is the size of what was dropped. One `Error` is
    always kept. Outputs that were replaced or cleared before the reader took them do not count.
    """

    def __init__(self, limit_bytes: int, *, window_s: float = WINDOW_S) -> None:
        self.omitted_bytes = 0
        self._room = limit_bytes
        self._full = False
        self._window_s = window_s
        self._numbers = itertools.count()
        self._pending: dict[int, _Piece] = {}
        self._updates: dict[str, int] = {}
        self._urgent = False
        self._error_kept = False
        self._taken_at = float("-inf")

    @property
    def is_full(self) -> bool:
        """Whether every further output is dropped."""
        return self._full

    @property
    def due(self) -> float | None:
        """When to call `take`: a time on the clock of `now`, perhaps past; None while the buffer is empty."""
        if not self._pending:
            return None
        return float("-inf") if self._urgent else self._taken_at + self._window_s

    def add(self, output: Output, size_bytes: int) -> None:
        """Buffers an output. `size_bytes` is the encoded size of its content as received."""
        if isinstance(output, Error) and not self._error_kept:
            self._error_kept = self._urgent = True
            self._hold(output, 0)
        elif self._full:
            self.omit(len(output.text.encode()) if isinstance(output, Stream) else size_bytes)
        elif isinstance(output, ClearOutput):
            self._add_clear(output)
        else:
            if isinstance(last := self._last(), ClearOutput) and last.wait:
                self._drop_cleared(keep=last)
            if isinstance(output, Stream):
                self._add_text(output)
            else:
                self._add_whole(output, size_bytes)

    def omit(self, size_bytes: int) -> None:
        """Counts an output that was dropped before it got here."""
        self.omitted_bytes += size_bytes

    def take(self, now: float) -> list[Output]:
        """Empties the buffer and returns its outputs, oldest first."""
        pieces = (piece.output for piece in self._pending.values())
        taken = [piece.stream() if isinstance(piece, _Text) else piece for piece in pieces]
        self._pending.clear()
        self._updates.clear()
        self._urgent = False
        self._taken_at = now
        return taken

    def _last(self) -> "Output | _Text | None":
        return next(reversed(self._pending.values())).output if self._pending else None

    def _hold(self, output: "Output | _Text", charged_bytes: int) -> None:
        self._room -= charged_bytes
        number = next(self._numbers)
        self._pending[number] = _Piece(output, charged_bytes)
        if isinstance(output, UpdateDisplayData):
            self._updates[output.display_id] = number

    def _drop(self, number: int) -> None:
        self._room += self._pending.pop(number).charged_bytes

    def _drop_cleared(self, *, keep: ClearOutput | None = None) -> None:
        """Drops the buffered outputs that a clear removes, except for an error."""
        for number, piece in list(self._pending.items()):
            if not isinstance(piece.output, Error) and piece.output is not keep:
                self._drop(number)
        self._updates.clear()

    def _add_clear(self, clear: ClearOutput) -> None:
        if not clear.wait:
            self._drop_cleared()
        if clear != self._last():
            self._add_whole(clear, 0)

    def _add_whole(self, output: Output, size_bytes: int) -> None:
        charged_bytes = size_bytes + OVERHEAD_BYTES
        if isinstance(output, UpdateDisplayData) and output.display_id in self._updates:
            # An update replaces every display of this id, so the earlier update has no effect.
            self._drop(self._updates.pop(output.display_id))
        if charged_bytes > self._room:
            self._full = True
            self.omit(size_bytes)
            return
        self._urgent = self._urgent or isinstance(output, DisplayData | ExecuteResult | Error)
        self._hold(output, charged_bytes)

    def _add_text(self, stream: Stream) -> None:
        last = self._last()
        origin = (stream.name, stream.execution_count)
        target = last if isinstance(last, _Text) and last.origin == origin else None
        room = self._room if target else max(self._room - OVERHEAD_BYTES, 0)
        text, size_bytes = stream.text, len(stream.text.encode())
        if size_bytes > room:
            text = text.encode()[:room].decode(errors="ignore")
        kept_bytes = len(text.encode())
        if kept_bytes and target is None:
            self._hold(target := _Text(origin), OVERHEAD_BYTES)
        if kept_bytes and target is not None:
            target.write(text)
            self._room -= kept_bytes
            next(reversed(self._pending.values())).charged_bytes += kept_bytes
        if kept_bytes < size_bytes:
            self._full = True
            self.omit(size_bytes - kept_bytes)


class _Text(StringIO):
    """The text that one execution wrote to one stream, while more is appended to it."""

    def __init__(self, origin: tuple[Literal["stdout", "stderr"], int | None]) -> None:
        super().__init__()
        self.origin = origin

    def stream(self) -> Stream:
        name, execution_count = self.origin
        return Stream(name, self.getvalue(), execution_count)


@dataclass(slots=True)
class _Piece:
    output: Output | _Text
    charged_bytes: int
