"""Waiting in line: order, deadlines, and what happens to a value whose taker was cancelled."""

import asyncio
from collections.abc import Callable

import anyio
import pytest
from anyio import wait_all_tasks_blocked

from sandbox_pool.errors import PoolClosed
from sandbox_pool.pool.wait_queue import Changes, Line

pytestmark = pytest.mark.anyio

LONG_S = 30.0


@pytest.fixture
def changes() -> Changes:
    return Changes()


@pytest.fixture
def line(changes: Changes) -> Line[int]:
    return Line(changes)


def back(line: Line[int]) -> Callable[[int], None]:
    def give_back(value: int) -> None:
        line.serve(value, rank=len)

    return give_back


async def take(line: Line[int], taken: list[int]) -> None:
    taken.append(await line.wait("a", LONG_S, give_back=back(line)))


async def test_values_go_to_those_in_line_in_order(changes: Changes, line: Line[int]) -> None:
    taken: list[list[int]] = [[], [], []]
    async with anyio.create_task_group() as tasks:
        for mine in taken:
            tasks.start_soon(take, line, mine)
        await changes.until(lambda: len(line) == 3)
        for value in range(3):
            line.serve(value, rank=len)
    assert taken == [[0], [1], [2]]


async def test_a_deadline_ends_the_wait_and_leaves_the_line(line: Line[int]) -> None:
    with pytest.raises(TimeoutError):
        await line.wait("a", 0, give_back=back(line))
    assert len(line) == 0


async def test_whoever_is_cancelled_leaves_the_line(changes: Changes, line: Line[int]) -> None:
    first: list[int] = []
    second: list[int] = []
    async with anyio.create_task_group() as tasks:
        async with anyio.create_task_group() as cancelled:
            cancelled.start_soon(take, line, first)
            await changes.until(lambda: len(line) == 1)
            tasks.start_soon(take, line, second)
            await changes.until(lambda: len(line) == 2)
            cancelled.cancel_scope.cancel()
        line.serve(7, rank=len)
    assert (first, second) == ([], [7])


async def test_a_value_served_to_a_cancelled_one_goes_to_the_next(changes: Changes, line: Line[int]) -> None:
    first: list[int] = []
    second: list[int] = []
    # anyio lets a wait that is over return before it cancels; asyncio does not.
    async with asyncio.TaskGroup() as tasks:
        cancelled = tasks.create_task(take(line, first))
        await changes.until(lambda: len(line) == 1)
        tasks.create_task(take(line, second))
        await changes.until(lambda: len(line) == 2)
        line.serve(7, rank=len)
        cancelled.cancel()
    assert (first, second) == ([], [7])


async def test_failing_sends_everybody_away_with_an_error_of_their_own(changes: Changes, line: Line[int]) -> None:
    errors: list[PoolClosed] = []

    async def fail() -> None:
        with pytest.raises(PoolClosed, match="closing") as caught:
            await line.wait("a", LONG_S, give_back=back(line))
        errors.append(caught.value)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(fail)
        tasks.start_soon(fail)
        await changes.until(lambda: len(line) == 2)
        line.fail(PoolClosed("closing", sandbox_id="cntr_1"))
    assert errors[0] is not errors[1]
    assert [error.sandbox_id for error in errors] == ["cntr_1", "cntr_1"]
    assert len(line) == 0


async def test_a_change_wakes_those_whose_condition_then_holds(changes: Changes) -> None:
    reached: list[int] = []
    done: set[int] = set()

    async def wait_for(wanted: int) -> None:
        await changes.until(lambda: wanted in done)
        reached.append(wanted)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait_for, 2)
        tasks.start_soon(wait_for, 1)
        for value in (1, 2):
            await wait_all_tasks_blocked()
            done.add(value)
            changes.notify()
            await wait_all_tasks_blocked()
            assert value in reached
    assert reached == [1, 2]
