"""Divides work on the event loop into slices of a few milliseconds, between which other tasks run.

A thread would not help here: a single call into C, such as encoding JSON, holds the interpreter lock until it returns.
So large values are cut, and each piece is encoded by its own call.
"""

import time
from collections.abc import AsyncIterator

import anyio.lowlevel
import msgspec

__all__ = ["Slices", "encoded_text", "text_pieces"]

SLICE_S = 0.005
PIECE_CHARS = 100_000


class Slices:
    """Measures the slices of one task, which calls `pause` between two pieces of work."""

    def __init__(self) -> None:
        self._began = time.thread_time()

    async def pause(self) -> None:
        """Lets other tasks run if this thread has used 5 ms of CPU time since they last could. Safe to cancel."""
        if time.thread_time() - self._began >= SLICE_S:
            await anyio.lowlevel.checkpoint()
            self._began = time.thread_time()


async def text_pieces(text: str) -> AsyncIterator[bytes]:
    """Yields the text as a JSON string, in pieces that take about a millisecond each to encode."""
    slices = Slices()
    yield b'"'
    for at in range(0, len(text), PIECE_CHARS):
        yield msgspec.json.encode(text[at : at + PIECE_CHARS])[1:-1]
        await slices.pause()
    yield b'"'


async def encoded_text(text: str) -> msgspec.Raw:
    """Returns the text as a JSON string that an encoder copies without encoding it again."""
    return msgspec.Raw(b"".join([piece async for piece in text_pieces(text)]))
