"""Sandboxes of other sizes that are kept warm, with real sandboxes."""

from dataclasses import replace

import anyio
import pytest

from benchmarks.stand_ins import NoBackend, stand_ins
from sandbox_pool import QuotaExceeded, SandboxPool, SandboxSpec
from tests.sandbox_pool.pools import Observed

pytestmark = pytest.mark.anyio

SPEC = SandboxSpec(preload=())
LARGE = replace(SPEC, limits=replace(SPEC.limits, memory_mb=2048))


async def test_a_size_is_kept_warm_lent_at_once_and_refilled_and_makes_room_for_those_who_wait(
    observed: Observed,
) -> None:
    async with SandboxPool(SPEC, backend=observed, min_size=1, max_size=3, warm_memory_mb={2048: 1}) as pool:
        sizes = pool._open_warm_pool.sizes
        await pool._changes.until(lambda: len(sizes) == 1)
        assert not pool.is_cold(LARGE)
        assert pool.is_cold(replace(LARGE, limits=replace(LARGE.limits, memory_mb=4096)))
        [warm] = sizes.sandboxes
        lent = await pool.acquire(spec=LARGE)
        assert lent is warm
        await pool._changes.until(lambda: len(sizes) == 1)
        await pool.release(lent)
        usual = [await pool.acquire() for _ in range(3)]
        assert len(sizes) == 0
        for sandbox in usual:
            await pool.release(sandbox)


async def test_a_size_that_died_is_replaced(observed: Observed) -> None:
    async with SandboxPool(SPEC, backend=observed, min_size=0, max_size=2, warm_memory_mb={2048: 1}) as pool:
        sizes = pool._open_warm_pool.sizes
        await pool._changes.until(lambda: len(sizes) == 1)
        [warm] = sizes.sandboxes
        await observed.destroy(warm.id)
        await warm.died()
        pool._changes.notify()
        await pool._changes.until(lambda: sizes.has(LARGE))
        assert warm not in sizes.sandboxes


async def test_sandboxes_of_another_size_that_an_owner_waits_for_count_for_the_limit() -> None:
    with stand_ins(3600.0):
        async with (
            SandboxPool(SPEC, backend=NoBackend(), min_size=0, max_size=4, max_per_owner=1) as pool,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(_acquire, pool)
            await pool.until(lambda stats: stats.other_starting == 1)
            assert pool.held_by("ann") == 1
            with anyio.fail_after(60), pytest.raises(QuotaExceeded):
                await pool.acquire(owner="ann", spec=LARGE)
            tasks.cancel_scope.cancel()
        assert pool.held_by("ann") == 0


async def _acquire(pool: SandboxPool) -> None:
    await pool.acquire(owner="ann", spec=LARGE)
