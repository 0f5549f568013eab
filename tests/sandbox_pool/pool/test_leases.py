"""Owners share a pool: quotas, fair turns, and who is turned away."""

import anyio
import pytest

from sandbox_pool import AtCapacity, QuotaExceeded, SandboxPool
from tests.sandbox_pool.pools import SPEC, Observed

pytestmark = pytest.mark.anyio


async def test_an_owner_at_the_quota_is_turned_away_at_once_and_others_are_served(observed: Observed) -> None:
    async with SandboxPool(SPEC, backend=observed, min_size=0, max_size=3, max_per_owner=1) as pool:
        async with pool.acquire(owner="flood"):
            with pytest.raises(QuotaExceeded, match="1 sandboxes are in use for you already, and 1 is") as caught:
                await pool.acquire(owner="flood")
            assert caught.value.code == "sandbox_quota_exceeded"
            assert caught.value.retry_after_s >= 1
            async with pool.acquire(owner="other") as sandbox:
                assert sandbox.alive
        async with pool.acquire(owner="flood") as sandbox:
            assert sandbox.alive


async def test_who_waits_counts_for_the_quota(observed: Observed) -> None:
    observed.gate = anyio.Event()
    async with (
        SandboxPool(SPEC, backend=observed, min_size=0, max_size=3, max_per_owner=1) as pool,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(pool.acquire(owner="flood").__aenter__)
        await pool.until(lambda stats: stats.waiting == 1)
        with pytest.raises(QuotaExceeded):
            await pool.acquire(owner="flood")
        assert (pool.held_by("flood"), pool.held_by("other")) == (1, 0)
        observed.gate.set()


async def test_one_owners_flood_lets_others_go_first_and_keeps_its_own_order(observed: Observed) -> None:
    served: list[str] = []

    async def use(owner: str, name: str) -> None:
        async with pool.acquire(owner=owner):
            served.append(name)

    async with SandboxPool(SPEC, backend=observed, min_size=0, max_size=2) as pool:
        held = [await pool.acquire(owner="flood"), await pool.acquire(owner="flood")]
        async with anyio.create_task_group() as tasks:
            for number in range(4):
                tasks.start_soon(use, "flood", f"flood {number}")
                await pool.until(lambda stats, number=number: stats.waiting == number + 1)  # type: ignore[misc]
            tasks.start_soon(use, "other", "other")
            await pool.until(lambda stats: stats.waiting == 5)
            await pool.release(held[0])
    assert served[0] == "other"
    assert served[1:] == [f"flood {number}" for number in range(4)]


async def test_where_the_queue_is_full_the_owner_with_the_most_waiting_makes_place(observed: Observed) -> None:
    turned_away: list[int] = []

    async def use(number: int) -> None:
        try:
            async with pool.acquire(owner="flood"):
                pass
        except AtCapacity:
            turned_away.append(number)

    async with SandboxPool(SPEC, backend=observed, min_size=0, max_size=1, max_waiting=3) as pool:
        first = await pool.acquire(owner="flood")
        async with anyio.create_task_group() as tasks:
            for number in range(3):
                tasks.start_soon(use, number)
                await pool.until(lambda stats, number=number: stats.waiting == number + 1)  # type: ignore[misc]
            with pytest.raises(AtCapacity, match="3 requests wait"):
                await pool.acquire(owner="flood")
            tasks.start_soon(pool.acquire(owner="other").__aenter__)
            await pool.until(lambda stats: stats.turned_away == 2 and stats.waiting == 3)
            assert pool.held_by("other") == 1
            assert pool.held_by("flood") == 3
            tasks.cancel_scope.cancel()
    assert not first.alive
    assert turned_away == [2]
