"""A signal wakes its waiters each time, and a cancelled waiter leaves nothing behind."""

import anyio
import pytest

from codeact.concurrency.signal import Signal

pytestmark = pytest.mark.anyio


async def test_each_send_wakes_all_who_wait_and_nobody_who_comes_later() -> None:
    signal, woken = Signal(), list[str]()

    async def wait(name: str) -> None:
        assert await signal.wait()
        woken.append(name)

    async with anyio.create_task_group() as tasks:
        for name in "ab":
            tasks.start_soon(wait, name)
        await anyio.wait_all_tasks_blocked()
        signal.send()
        await anyio.wait_all_tasks_blocked()
        assert woken == ["a", "b"]
        tasks.start_soon(wait, "c")
        await anyio.wait_all_tasks_blocked()
        assert woken == ["a", "b"]
        signal.send()
    assert woken == ["a", "b", "c"]


async def test_who_waits_for_a_time_is_told_whether_it_came() -> None:
    signal = Signal()
    assert not await signal.wait(0.01)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(signal.wait, 30)
        await anyio.wait_all_tasks_blocked()
        signal.send()


async def test_who_is_cancelled_is_forgotten() -> None:
    signal = Signal()
    async with anyio.create_task_group() as tasks:
        for within_s in (30, float("inf")):
            tasks.start_soon(signal.wait, within_s)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert not signal._waiting
