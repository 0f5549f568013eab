"""Concurrent calls: results in the order of the calls, the first error in that order, a limit, and cancellation."""

from collections.abc import Awaitable, Callable
from functools import partial

import anyio
import pytest

from codeact.concurrency.concurrently import concurrently, gathered

pytestmark = pytest.mark.anyio


async def test_results_come_in_the_order_of_the_calls_whichever_ends_first() -> None:
    second_ended = anyio.Event()

    async def first() -> int:
        await second_ended.wait()
        return 1

    async def second() -> int:
        second_ended.set()
        return 2

    assert await concurrently(first, second) == (1, 2)


async def test_all_run_to_their_end_before_the_first_error_is_raised() -> None:
    ended: list[int] = []

    async def call(number: int) -> None:
        await anyio.lowlevel.checkpoint()
        ended.append(number)
        if number:
            raise ValueError(number)

    with pytest.raises(ValueError, match="2"):
        await concurrently(partial(call, 0), partial(call, 2), partial(call, 1))
    assert sorted(ended) == [0, 1, 2]


@pytest.mark.parametrize("at_once", [0, 1, 2, 5, 50])
async def test_no_more_than_so_many_run_at_once(at_once: int) -> None:
    running, most = 0, 0

    async def call(number: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await anyio.wait_all_tasks_blocked()
        running -= 1
        return number

    calls: list[Callable[[], Awaitable[int]]] = [partial(call, number) for number in range(5)]
    assert await gathered(calls, at_once=at_once) == list(range(5))
    assert most == min(max(at_once, 1), 5)


async def test_cancelling_cancels_all_of_them() -> None:
    cancelled: list[int] = []

    async def call(number: int) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.append(number)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(concurrently, partial(call, 1), partial(call, 2))
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert sorted(cancelled) == [1, 2]
