"""Runs work on untrusted input in two threads, so that it does not block the event loop.

Python switches from a computing thread to others every 5 ms, so the event loop continues meanwhile; it would slow down
with more than a few such threads.
"""

from collections.abc import Callable, Iterable
from typing import TypeVar

import anyio
import msgspec

from sandbox_pool.outputs import DisplayData, Error, ExecuteResult, Output, Stream, UpdateDisplayData

__all__ = ["off_loop", "size_of"]

T = TypeVar("T")

SMALL = 50_000
"""Roughly in characters: processing fewer takes less time than starting a call in a thread."""
_THREADS = anyio.CapacityLimiter(2)


async def off_loop(size: int, function: Callable[..., T], *args: object) -> T:
    """Returns `function(*args)`, called in a thread unless `size` is small. Cancelling waits until it has returned."""
    if size <= SMALL:
        return function(*args)
    return await anyio.to_thread.run_sync(function, *args, limiter=_THREADS)


def size_of(outputs: Iterable[Output]) -> int:
    """Returns roughly how many characters these outputs have, plus 100 for each output."""
    size = 0
    for output in outputs:
        size += 100
        match output:
            case Stream(text=text):
                size += len(text)
            case Error(evalue=evalue, traceback=traceback):
                size += len(evalue) + sum(map(len, traceback))
            case DisplayData(data=data) | ExecuteResult(data=data) | UpdateDisplayData(data=data):
                size += sum(map(_length, data.values()))
    return size


def _length(value: object) -> int:
    if isinstance(value, msgspec.Raw):
        return len(memoryview(value))
    return len(value) if isinstance(value, str) else 100
