"""The supervisor restarts a failed task without the others, and names one that cannot be repaired."""

from collections.abc import Callable

import anyio
import pytest

from sandbox_pool.supervision import Supervisor

pytestmark = pytest.mark.anyio


def quick(most_failures: int = 10) -> Supervisor:
    return Supervisor(first_pause_s=0.01, longest_pause_s=0.02, most_failures=most_failures)


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(60):
        while not condition():  # noqa: ASYNC110 - the supervisor has no event for it
            await anyio.sleep(0.002)


async def test_a_task_that_raises_is_started_again_and_its_siblings_run_on() -> None:
    supervisor, starts, sibling_ended = quick(), 0, False
    steady = anyio.Event()

    async def unlucky() -> None:
        nonlocal starts
        starts += 1
        if starts <= 2:
            raise RuntimeError("bad luck")
        steady.set()
        await anyio.sleep_forever()

    async def sibling() -> None:
        nonlocal sibling_ended
        try:
            await anyio.sleep_forever()
        finally:
            sibling_ended = True

    async with supervisor.tasks() as start:
        start("unlucky", unlucky)
        start("sibling", sibling)
        await until(lambda: "unlucky" in supervisor.failing)
        assert supervisor.failing == {"unlucky": "RuntimeError: bad luck"}
        with anyio.fail_after(60):
            await steady.wait()
        await until(lambda: "unlucky" not in supervisor.failing)
        assert starts == 3
        assert not sibling_ended
    assert supervisor.names == set()
    assert supervisor.given_up is None


async def test_work_that_ends_although_it_should_go_on_has_failed() -> None:
    supervisor = quick()

    async def returns() -> None:
        await anyio.lowlevel.checkpoint()

    async with supervisor.tasks() as start:
        start("forever", returns)
        start("once", returns, ends=True)
        await until(lambda: "forever" in supervisor.failing)
        assert supervisor.failing == {"forever": "it ended"}
        assert supervisor.names == {"forever"}


async def test_a_cancellation_that_nobody_asked_for_ends_no_task_silently() -> None:
    supervisor, starts = quick(), 0

    async def cancelled_from_inside() -> None:
        nonlocal starts
        starts += 1
        await anyio.lowlevel.checkpoint()
        raise anyio.get_cancelled_exc_class()

    async with supervisor.tasks() as start:
        start("driver", cancelled_from_inside)
        await until(lambda: starts >= 3)


async def test_an_essential_task_that_fails_again_and_again_is_given_up_and_another_is_not() -> None:
    supervisor = quick(most_failures=3)

    async def broken() -> None:
        raise RuntimeError("broken")

    async with supervisor.tasks() as start:
        start("decoration", broken, essential=False)
        start("heart", broken)
        await until(lambda: supervisor.given_up is not None)
        assert supervisor.given_up == "heart"
        assert set(supervisor.degraded) == {"decoration"}


async def test_an_exception_of_the_body_leaves_as_it_is() -> None:
    async def forever() -> None:
        await anyio.sleep_forever()

    with pytest.raises(ValueError, match=r"^mine$"):  # noqa: PT012
        async with quick().tasks() as start:
            start("task", forever)
            raise ValueError("mine")
