"""The warm pool with real local kernels: who gets a sandbox when, the effect of failures, and complete clean-up."""

import asyncio
import signal
import sys

import anyio
import psutil
import pytest
from anyio.lowlevel import checkpoint

from sandbox_pool import AtCapacity, EngineUnavailable, PoolClosed, SandboxError, SandboxPool, SandboxStartFailed
from sandbox_pool.pool import sizing, warm_pool
from sandbox_pool.pool.starting import MAX_FAILURES
from tests.sandbox_pool.pools import SPEC, Observed, value_of

# First in its process, whose children it counts.
pytestmark = [pytest.mark.anyio, pytest.mark.xdist_group("own")]

KILL_KERNEL = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"


# ---- lending -------------------------------------------------------------------------------------------


async def test_an_acquired_sandbox_runs_code_and_is_destroyed_when_released(observed: Observed) -> None:
    async with SandboxPool(SPEC, backend=observed, min_size=1, max_size=2) as pool:
        async with pool.acquire(owner="alice") as sandbox:
            assert await value_of(sandbox, "print(6 * 7)") == "42\n"
            assert pool.stats().leased == 1
        await pool.until(lambda stats: stats.leased == stats.removing == 0)
        assert not sandbox.alive
        assert sandbox.id in observed.destroyed


async def test_a_warm_sandbox_is_lent_in_one_step_without_a_call_to_the_backend(observed: Observed) -> None:
    async with SandboxPool(SPEC, backend=observed, min_size=1, max_size=1) as pool:
        await pool.ready()
        calls = len(observed.created) + len(observed.destroyed)
        with pytest.raises(StopIteration) as returned:
            pool.acquire().__await__().send(None)
        assert returned.value.value.alive
        assert len(observed.created) + len(observed.destroyed) == calls
        stats = pool.stats()
        assert (stats.hits, stats.misses, stats.warm, stats.leased) == (1, 0, 0, 1)
        assert stats.acquire_p99_ms is not None


async def test_waiting_acquires_are_served_in_order_and_never_with_a_used_sandbox(observed: Observed) -> None:
    served: list[int] = []
    lent: set[str] = set()

    async def use(pool: SandboxPool, number: int) -> None:
        async with pool.acquire() as sandbox:
            served.append(number)
            lent.add(sandbox.id)
            assert await value_of(sandbox, "print('seen' in globals()); seen = True") == "False\n"
            assert len(pool._leases) + len(pool._warm_pool._warm) + pool.stats().starting <= 4

    async with SandboxPool(SPEC, backend=observed, min_size=2, max_size=4) as pool:
        await pool.ready()
        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(use, pool, number)
        stats = pool.stats()
    assert served == list(range(20))
    assert len(lent) == 20
    assert stats.hits + stats.misses == 20
    assert stats.hits >= 2


async def test_releasing_twice_or_after_the_end_is_harmless(observed: Observed) -> None:
    async with SandboxPool(SPEC, backend=observed, min_size=0, max_size=1) as pool:
        sandbox = await pool.acquire()
        await pool.release(sandbox)
        await pool.release(sandbox)
        assert pool.stats().removing == 1
        last = await pool.acquire()
    await pool.release(last)
    assert not last.alive


async def test_the_minimum_is_kept_warm_beside_those_on_loan(observed: Observed) -> None:
    async with SandboxPool(SPEC, backend=observed, min_size=2, max_size=4) as pool, pool.acquire(), pool.acquire():
        await pool.until(lambda stats: (stats.warm, stats.leased) == (2, 2))
        assert not pool._warm_pool._wants_start()


async def test_with_a_minimum_of_zero_nothing_starts_until_it_is_asked_for(observed: Observed) -> None:
    async with SandboxPool(SPEC, backend=observed, min_size=0, max_size=2) as pool:
        await pool.ready()
        assert observed.created == []
        async with pool.acquire() as sandbox:
            assert await value_of(sandbox, "print('on demand')") == "on demand\n"


# ---- capacity ------------------------------------------------------------------------------------------


async def test_at_capacity_an_acquire_fails_at_its_deadline_and_says_when_to_retry(observed: Observed) -> None:
    async with SandboxPool(SPEC, backend=observed, min_size=0, max_size=1) as pool, pool.acquire():
        with pytest.raises(AtCapacity, match="1 of 1 are in use") as caught:
            await pool.acquire(timeout_s=0)
        assert caught.value.retry_after_s >= 1
        assert pool.stats().waiting == 0


async def test_a_full_queue_turns_the_next_away_at_once(observed: Observed) -> None:
    async with SandboxPool(SPEC, backend=observed, min_size=0, max_size=1, max_waiting=1) as pool:
        first = await pool.acquire()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pool.acquire().__aenter__)
            await pool.until(lambda stats: stats.waiting == 1)
            with pytest.raises(AtCapacity, match="1 requests wait"):
                await pool.acquire()
            await pool.release(first)


async def test_a_start_that_nobody_waits_for_any_more_becomes_warm(observed: Observed) -> None:
    async with SandboxPool(SPEC, backend=observed, min_size=0, max_size=1) as pool:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pool.acquire().__aenter__)
            await observed.reached.wait()
            tasks.cancel_scope.cancel()
        assert pool.stats().waiting == 0
        await pool.until(lambda stats: stats.warm == 1)
        assert (await pool.acquire()).id == observed.created[0]


async def test_a_sandbox_assigned_to_a_cancelled_acquire_goes_to_the_next(observed: Observed) -> None:
    async with SandboxPool(SPEC, backend=observed, min_size=0, max_size=1) as pool:

        async def cancel_first_once_assigned() -> None:
            await pool.until(lambda stats: stats.leased == 1)
            first.cancel()

        async with asyncio.TaskGroup() as tasks:
            observed.gate = anyio.Event()
            canceller = tasks.create_task(cancel_first_once_assigned())
            first = tasks.create_task(pool._lend("local", 30, None))
            second = tasks.create_task(pool._lend("local", 30, None))
            await pool.until(lambda stats: stats.waiting == 2)
            observed.gate.set()
        assert canceller.done()
        assert first.cancelled()
        assert second.result().alive
        assert len(observed.created) == 1
        assert pool.stats().leased == 1


async def test_a_pool_shrinks_when_demand_is_over(observed: Observed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm_pool, "SHRINK_INTERVAL_S", 0.01)
    monkeypatch.setattr(sizing, "WINDOWS_S", (1.0,))
    async with SandboxPool(SPEC, backend=observed, min_size=0, max_size=2) as pool:
        async with pool.acquire():
            await pool.until(lambda stats: stats.warm == 1)
        await pool.until(lambda stats: stats.warm == stats.starting == stats.removing == stats.target == 0)
        assert set(observed.destroyed) == set(observed.created)


# ---- failures ------------------------------------------------------------------------------------------


async def test_a_failing_backend_gives_its_error_to_those_who_wait_and_recovers(observed: Observed) -> None:
    observed.fault = EngineUnavailable("The engine went away.")
    async with SandboxPool(SPEC, backend=observed, min_size=1, max_size=1) as pool:
        with pytest.raises(EngineUnavailable, match="went away"):
            await pool.ready()
        with pytest.raises(EngineUnavailable, match="went away"):
            await pool.acquire()
        assert pool.stats().last_error == "The engine went away."
        observed.fault = None
        async with pool.acquire() as sandbox:
            assert sandbox.alive
        await pool.ready()


async def test_starts_that_keep_failing_fail_those_who_wait_with_the_reason(observed: Observed) -> None:
    observed.fault = SandboxStartFailed("The kernel did not answer.")
    async with SandboxPool(SPEC, backend=observed, min_size=0, max_size=1, concurrent_starts=1) as pool:
        with pytest.raises(SandboxStartFailed, match="did not answer"):
            await pool.acquire()
        assert len(observed.created) == MAX_FAILURES


async def test_one_failed_start_delays_an_acquire_and_does_not_fail_it(observed: Observed) -> None:
    observed.refusals = 1
    async with SandboxPool(SPEC, backend=observed, min_size=0, max_size=1) as pool:
        assert (await pool.acquire()).alive
        assert pool.stats().failures == 1


async def test_at_the_deadline_the_reason_is_told_where_starts_fail(observed: Observed) -> None:
    observed.fault = SandboxStartFailed("The kernel did not answer.")
    async with SandboxPool(SPEC, backend=observed, min_size=1, max_size=1, concurrent_starts=1) as pool:
        await pool.until(lambda stats: stats.failures == 1)
        with pytest.raises(SandboxStartFailed, match="did not answer"):
            await pool.acquire(timeout_s=0)


async def test_a_warm_sandbox_that_dies_is_replaced_and_never_lent(observed: Observed) -> None:
    async with SandboxPool(SPEC, backend=observed, min_size=1, max_size=1) as pool:
        await pool.ready()
        (victim,) = pool._warm_pool._warm
        execution = victim.execute(KILL_KERNEL)
        await victim.died()
        async with pool.acquire() as sandbox:
            assert sandbox is not victim
            assert await value_of(sandbox, "print('alive')") == "alive\n"
        await execution.aclose()
        assert pool.stats().failures == 1
        await pool.until(lambda stats: stats.removing == 0)
        assert victim.id in observed.destroyed


async def test_an_old_sandbox_is_replaced(observed: Observed) -> None:
    async with SandboxPool(SPEC, backend=observed, min_size=1, max_size=1, max_idle_s=0.01) as pool:
        await pool.until(lambda stats: len(observed.created) >= 3)
    assert set(observed.destroyed) == set(observed.created)


# ---- the end -------------------------------------------------------------------------------------------


async def test_closing_fails_those_who_wait_and_destroys_everything(observed: Observed) -> None:
    errors: list[SandboxError] = []

    async def wait(pool: SandboxPool) -> None:
        with pytest.raises(PoolClosed, match="closing") as caught:
            await pool.acquire()
        errors.append(caught.value)

    async with anyio.create_task_group() as tasks, SandboxPool(SPEC, backend=observed, min_size=0, max_size=2) as pool:
        sandboxes = [await pool.acquire(), await pool.acquire()]
        tasks.start_soon(wait, pool)
        await pool.until(lambda stats: stats.waiting == 1)
    assert len(errors) == 1
    assert not any(sandbox.alive for sandbox in sandboxes)
    assert observed.directories == []
    with pytest.raises(PoolClosed):
        await pool.acquire()
    with pytest.raises(PoolClosed):
        await pool.until(lambda stats: False)


@pytest.mark.parametrize("steps", range(12))
async def test_closing_while_sandboxes_start_leaves_nothing(observed: Observed, steps: int) -> None:
    async with SandboxPool(SPEC, backend=observed, min_size=2, max_size=2):
        await observed.reached.wait()
        for _ in range(steps):
            await checkpoint()
    assert observed.directories == []
    assert psutil.Process().children(recursive=True) == []


async def test_an_error_in_the_body_leaves_the_pool_as_it_is(observed: Observed) -> None:
    with pytest.raises(ZeroDivisionError):
        async with SandboxPool(SPEC, backend=observed, min_size=1, max_size=1):
            raise ZeroDivisionError
    assert observed.directories == []


async def test_cancelling_the_body_destroys_everything_first(observed: Observed) -> None:
    with anyio.CancelScope() as scope:
        async with SandboxPool(SPEC, backend=observed, min_size=1, max_size=1) as pool:
            await pool.ready()
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert set(observed.destroyed) >= set(observed.created)
    assert observed.directories == []


# ---- leftovers ---------------------------------------------------------------------------------------------

ABANDON = """
import anyio, os, signal, sys
from pathlib import Path
from sandbox_pool import SandboxPool, SandboxSpec
from sandbox_pool.backends.process.backend import ProcessBackend

async def main():
    backend = ProcessBackend(Path(sys.argv[1]))
    spec = SandboxSpec(preload=())
    await backend.prepare(spec, lambda line: None)
    async with SandboxPool(spec, backend=backend, min_size=1, max_size=1) as pool:
        await pool.ready()
        os.kill(os.getpid(), signal.SIGKILL)

anyio.run(main)
"""


async def test_what_a_killed_server_left_is_removed_by_the_next(observed: Observed) -> None:
    child = await anyio.run_process([sys.executable, "-c", ABANDON, str(observed.state_dir)], check=False)
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()
    left = set(observed.directories)
    (sandbox_id,) = await observed.list()
    async with SandboxPool(SPEC, backend=observed, min_size=0, max_size=1):
        await observed.gone(sandbox_id)
    assert left
    assert not left & set(observed.directories)
