"""Live outputs enter one by one, the same outputs leave in fewer pieces and within a limit. No I/O, no clock.

The first output leaves at once; then neighbouring text of one stream waits to be merged for at most
`window_s`. Everything else leaves at once and takes along what was held before it: order is kept.
"""

from io import StringIO
from typing import Literal

from sandbox_pool.outputs import Error, Output, Stream

__all__ = ["Coalescer"]

WINDOW_S = 0.020
OVERHEAD_BYTES = 64
"""Charged for each piece beside its content, so that the limit also bounds the number of pieces."""


class Coalescer:
    """The outputs of one execution on their way to its reader. `now` is any monotonic time in seconds.

    Memory is bounded by `limit_bytes`, whether or not anybody takes. The first output past it is cut (text)
    or dropped, and all later ones are dropped; `omitted_bytes` counts them. One `Error` is always kept.
    """

    def __init__(self, limit_bytes: int, *, window_s: float = WINDOW_S) -> None:
        self.omitted_bytes = 0
        self._room = limit_bytes
        self._window_s = window_s
        self._held: list[_Text | Output] = []
        self._urgent = False
        self._error_kept = False
        self._taken_at = float("-inf")

    @property
    def due(self) -> float | None:
        """When to `take`: a time, perhaps past; None while nothing is held."""
        if not self._held:
            return None
        return float("-inf") if self._urgent else self._taken_at + self._window_s

    def add(self, output: Output, size_bytes: int) -> None:
        """Holds this output; `size_bytes` is the size of its content as it was received."""
        if isinstance(output, Stream):
            self._add_text(output)
        elif isinstance(output, Error) and not self._error_kept:
            self._error_kept = self._urgent = True
            self._held.append(output)
        elif size_bytes + OVERHEAD_BYTES <= self._room:
            self._room -= size_bytes + OVERHEAD_BYTES
            self._urgent = True
            self._held.append(output)
        else:
            self.omit(size_bytes)

    def omit(self, size_bytes: int) -> None:
        """Counts an output as dropped; every later one is dropped as well."""
        self._room = 0
        self.omitted_bytes += size_bytes

    def take(self, now: float) -> list[Output]:
        """Everything held, oldest first."""
        taken = [held.stream() if isinstance(held, _Text) else held for held in self._held]
        self._held = []
        self._urgent = False
        self._taken_at = now
        return taken

    def _add_text(self, stream: Stream) -> None:
        last = self._held[-1] if self._held else None
        target = last if isinstance(last, _Text) and last.name == stream.name else None
        room = self._room if target else max(self._room - OVERHEAD_BYTES, 0)
        text, size_bytes = stream.text, len(stream.text.encode())
        if size_bytes > room:
            text = text.encode()[:room].decode(errors="ignore")
        kept_bytes = len(text.encode())
        if kept_bytes:
            self._room = room - kept_bytes
            if target is None:
                self._held.append(target := _Text(stream.name))
            target.write(text)
        if kept_bytes < size_bytes:
            self.omit(size_bytes - kept_bytes)


class _Text(StringIO):
    """Text of one stream that still grows."""

    def __init__(self, name: Literal["stdout", "stderr"]) -> None:
        super().__init__()
        self.name = name

    def stream(self) -> Stream:
        return Stream(self.name, self.getvalue())
