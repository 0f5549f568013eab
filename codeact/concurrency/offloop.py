"""Runs work on strangers' input in a few threads, so that the shared event loop goes on.

Python gives a thread that computes the interpreter for 5 ms at a time: others go on meanwhile. Few do so at once.
"""

from collections.abc import Callable, Iterable
from typing import TypeVar

import anyio
import msgspec

from sandbox_pool.outputs import DisplayData, Error, ExecuteResult, Output, Stream, UpdateDisplayData

__all__ = ["off_loop", "size_of"]

T = TypeVar("T")

SMALL = 50_000
"""Characters, or so: reading so many takes less time than asking a thread to."""
_THREADS = anyio.CapacityLimiter(2)


async def off_loop(size: int, function: Callable[..., T], *args: object) -> T:
    """`function(*args)`, in a thread unless `size` is small. Cancelling the call waits for it."""
    if size <= SMALL:
        return function(*args)
    return await anyio.to_thread.run_sync(function, *args, limiter=_THREADS)


def size_of(outputs: Iterable[Output]) -> int:
    """About how many characters these outputs hold, and 100 for each of them."""
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
