"""Work that stays on the event loop, in slices: others have their turn after every few milliseconds of it.

A thread helps only where Python computes: one call into C, such as encoding JSON, keeps the interpreter to itself
until it returns. So what is large is cut, and each piece is a call of its own.
"""

import time
from collections.abc import AsyncIterator

import anyio.lowlevel
import msgspec

__all__ = ["Slices", "encoded_text", "text_pieces"]

SLICE_S = 0.005
PIECE_CHARS = 100_000


class Slices:
    """The slices of one task. Call `pause` between two pieces of work."""

    def __init__(self) -> None:
        self._began = time.thread_time()

    async def pause(self) -> None:
        """Lets others have their turn if the last one is 5 ms of this thread's time ago. Cancelling is safe."""
        if time.thread_time() - self._began >= SLICE_S:
            await anyio.lowlevel.checkpoint()
            self._began = time.thread_time()


async def text_pieces(text: str) -> AsyncIterator[bytes]:
    """The text as JSON, in pieces of which each took a millisecond or so."""
    slices = Slices()
    yield b'"'
    for at in range(0, len(text), PIECE_CHARS):
        yield msgspec.json.encode(text[at : at + PIECE_CHARS])[1:-1]
        await slices.pause()
    yield b'"'


async def encoded_text(text: str) -> msgspec.Raw:
    """The text as JSON that an encoder takes over as it is."""
    return msgspec.Raw(b"".join([piece async for piece in text_pieces(text)]))
