"""Runs several calls at the same time, and returns their results in the calls' order."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar, overload

import anyio

__all__ = ["concurrently", "gathered"]

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
T = TypeVar("T")

AT_ONCE = 16


@overload
async def concurrently(first: Callable[[], Awaitable[A]], second: Callable[[], Awaitable[B]], /) -> tuple[A, B]: ...


@overload
async def concurrently(
    first: Callable[[], Awaitable[A]], second: Callable[[], Awaitable[B]], third: Callable[[], Awaitable[C]], /
) -> tuple[A, B, C]: ...


async def concurrently(*calls: Callable[[], Awaitable[Any]]) -> tuple[Any, ...]:
    """Calls all of them at once and waits until all have ended; returns their results in the calls' order.

    If calls failed, it raises the error of the first one in that order. Cancelling cancels all calls.
    """
    return tuple(await gathered(calls, at_once=len(calls)))


async def gathered(calls: Sequence[Callable[[], Awaitable[T]]], *, at_once: int = AT_ONCE) -> list[T]:
    """Does the same as `concurrently` for any number of calls, of which at most `at_once` run at a time."""
    if len(calls) <= 1:  # A task would cost more than most calls.
        return [await call() for call in calls]
    results: dict[int, T] = {}
    errors: dict[int, Exception] = {}
    waiting = iter(enumerate(calls))

    async def run() -> None:
        for number, call in waiting:
            try:
                results[number] = await call()
            except Exception as error:  # Raised below, after the other calls have ended.
                errors[number] = error

    async with anyio.create_task_group() as tasks:
        for _ in range(min(max(1, at_once), len(calls)) - 1):
            tasks.start_soon(run)
        await run()  # This task makes calls, too.
    if errors:
        raise errors[min(errors)]
    return [results[number] for number in range(len(calls))]
