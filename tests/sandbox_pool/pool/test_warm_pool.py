"""What happens to warm sandboxes: replaced with their spec, removed when the engine says so, ended in time."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import anyio
import psutil
import pytest

from sandbox_pool import ImageUnavailable, Limits, Notice, PoolClosed, SandboxPool, SandboxSpec, Started
from sandbox_pool.kernel import channel
from sandbox_pool.pool import teardown
from tests.sandbox_pool.pools import SPEC, Observed, value_of
from tests.standstill import stand_still

# First in its process, whose children it counts.
pytestmark = [pytest.mark.anyio, pytest.mark.xdist_group("own")]

OTHER = replace(SPEC, preload=("colorsys",))
IS_OTHER = "import sys; print('colorsys' in sys.modules)"


class Announcing(Observed):
    """An engine whose events the test controls."""

    def __init__(self, state_dir: Path) -> None:
        super().__init__(state_dir)
        self.say: Callable[[Notice], None] = lambda notice: None

    async def watch(self, notice: Callable[[Notice], None]) -> None:
        self.say = notice
        await anyio.sleep_forever()


class Claiming(Observed):
    """An engine that keeps warm sandboxes itself."""

    def __init__(self, state_dir: Path) -> None:
        super().__init__(state_dir)
        self.claimed: list[str] = []

    async def claim(self, sandbox_id: str, spec: SandboxSpec) -> Started:
        self.claimed.append(sandbox_id)
        return await self.create(sandbox_id, spec)


@pytest.fixture
def announcing(tmp_path: Path) -> Announcing:
    return Announcing(tmp_path)


async def test_a_new_spec_replaces_warm_sandboxes_and_leaves_those_on_loan(observed: Observed) -> None:
    async with SandboxPool(SPEC, backend=observed, min_size=2, max_size=4) as pool:
        await pool.until(lambda stats: stats.warm == 2)
        async with pool.acquire() as lent:
            await pool.until(lambda stats: stats.warm == 2)
            old = set(observed.created)
            await pool.replace(OTHER)
            assert pool.spec == OTHER
            await pool.until(lambda stats: stats.warm == 2 and len(observed.created) == len(old) + 2)
            for sandbox_id in old - {lent.id}:
                await observed.gone(sandbox_id)
            assert await value_of(lent, IS_OTHER) == "False\n"
            async with pool.acquire() as new:
                assert await value_of(new, IS_OTHER) == "True\n"


async def test_an_engine_that_keeps_sandboxes_warm_itself_is_asked_for_one_when_it_is_needed(tmp_path: Path) -> None:
    engine = Claiming(tmp_path)
    async with SandboxPool(SPEC, backend=engine, min_size=0, max_size=4, concurrent_starts=1) as pool:
        assert engine.claimed == []
        async with pool.acquire() as first, pool.acquire() as second:
            assert engine.claimed == [first.id, second.id] == engine.created
            assert await value_of(second, "print(1)") == "1\n"
        # However many are asked for, none is kept in reserve here.
        await pool.until(lambda stats: not stats.leased + stats.removing)
        assert (pool.stats().warm, pool.stats().target, pool.stats().starting) == (0, 0, 0)
    assert len(engine.claimed) == 2


async def test_until_a_new_one_has_come_an_old_one_is_lent(observed: Observed) -> None:
    async with SandboxPool(SPEC, backend=observed, min_size=2, max_size=4) as pool:
        await pool.until(lambda stats: stats.warm == 2)
        observed.gate = anyio.Event()
        await pool.replace(OTHER)
        async with pool.acquire() as sandbox:
            assert await value_of(sandbox, IS_OTHER) == "False\n"
        observed.gate.set()


async def test_old_ones_that_leave_no_room_for_new_ones_go_first(observed: Observed) -> None:
    async with SandboxPool(SPEC, backend=observed, min_size=1, max_size=1) as pool:
        await pool.ready()
        await pool.replace(OTHER)
        async with pool.acquire() as sandbox:
            assert await value_of(sandbox, IS_OTHER) == "True\n"


async def test_a_spec_that_cannot_be_had_changes_nothing(observed: Observed) -> None:
    async with SandboxPool(SPEC, backend=observed, min_size=1, max_size=1) as pool:
        await pool.ready()
        with pytest.raises(ImageUnavailable):
            await pool.replace(SandboxSpec(python="/nowhere/python"))
        assert (pool.spec, pool.stats().warm) == (SPEC, 1)


async def test_a_warm_sandbox_of_which_the_engine_says_that_it_is_frozen_is_replaced(announcing: Announcing) -> None:
    async with SandboxPool(SPEC, backend=announcing, min_size=1, max_size=2) as pool:
        await pool.ready()
        victim = announcing.created[-1]
        announcing.say(Notice(victim, "Its container was paused."))
        assert pool.stats().last_error == "A warm sandbox died: Its container was paused."
        await pool.until(lambda stats: stats.warm == 1)
        await announcing.gone(victim)
        async with pool.acquire() as sandbox:
            announcing.say(Notice(sandbox.id, "Its container was paused."))
            assert sandbox.alive


async def test_a_warm_kernel_that_is_frozen_is_found_by_its_heartbeat_and_replaced(
    observed: Observed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "HEARTBEAT_S", 0.2)
    monkeypatch.setattr(channel, "SILENCE_S", 2.0)
    async with SandboxPool(SPEC, backend=observed, min_size=1, max_size=2) as pool:
        await pool.ready()
        (victim,) = pool._open_warm_pool._warm
        for process in psutil.Process().children(recursive=True):
            if not process.children():
                stand_still(process.pid)
        await victim.died()
        monkeypatch.setattr(channel, "SILENCE_S", 60.0)  # The next one may be late on a busy machine.
        await observed.gone(victim.id)
        async with pool.acquire() as sandbox:
            assert await value_of(sandbox, "print('alive')") == "alive\n"


async def test_another_image_replaces_warm_sandboxes(announcing: Announcing) -> None:
    async with SandboxPool(SPEC, backend=announcing, min_size=1, max_size=2) as pool:
        await pool.ready()
        victim = announcing.created[-1]
        announcing.say(Notice(None, "The image is another one."))
        await announcing.gone(victim)
        await pool.ready()
        assert victim not in {sandbox.id for sandbox in pool._open_warm_pool._warm}


async def test_a_sandbox_ends_after_its_lifetime_which_is_reported_by_name(observed: Observed) -> None:
    spec = replace(SPEC, limits=Limits(lifetime_s=0.5))
    async with SandboxPool(spec, backend=observed, min_size=1, max_size=1) as pool, pool.acquire() as sandbox:
        _, result = await sandbox.run("while True: pass")
        assert (result.status, result.limit, result.kernel_alive) == ("died", "lifetime_s", False)
        assert "had lived for its 0.5 s" in result.detail


async def test_a_removal_waits_while_somebody_waits_for_a_start(
    observed: Observed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teardown, "REMOVAL_DELAY_S", 1000.0)
    async with SandboxPool(SPEC, backend=observed, min_size=0, max_size=2) as pool:
        used, _ = await pool.acquire(), await pool.acquire()
        observed.gate, observed.reached = anyio.Event(), anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pool.acquire().__aenter__)
            await pool.until(lambda stats: stats.waiting == 1)
            await pool.release(used)
            await observed.reached.wait()
            await anyio.wait_all_tasks_blocked()
            assert (pool.stats().removing, used.alive) == (1, True)
            observed.gate.set()
        await observed.gone(used.id)


async def test_draining_returns_when_the_last_one_is_given_back(observed: Observed) -> None:
    async with SandboxPool(SPEC, backend=observed, min_size=1, max_size=2) as pool:
        sandbox = await pool.acquire()
        assert not await pool.drain(timeout_s=0)
        with pytest.raises(PoolClosed):
            await pool.acquire()
        assert await value_of(sandbox, "print('goes on')") == "goes on\n"
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pool.release, sandbox)
            assert await pool.drain(timeout_s=30)
