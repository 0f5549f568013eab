"""Which conversations retain their sandboxes and which release them; with real sandboxes and a pool of one."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import anyio
import pytest

from codeact.workspaces.options import ContainerOptions
from codeact.workspaces.registry import Workspaces
from codeact.workspaces.shared_quota import SharedQuota
from sandbox_pool import AtCapacity, QuotaExceeded, SandboxPool, SandboxSpec
from sandbox_pool.backends.process.backend import ProcessBackend

pytestmark = pytest.mark.anyio

SPEC = SandboxSpec(preload=())


@asynccontextmanager
async def workspaces_over(
    tmp_path: Path, *, max_size: int = 1, max_per_owner: int | None = None, acquire_timeout_s: float = 30.0
) -> AsyncIterator[Workspaces]:
    backend = ProcessBackend(tmp_path)
    await backend.prepare(SPEC, lambda line: None)
    async with SandboxPool(
        SPEC,
        backend=backend,
        min_size=1,
        max_size=max_size,
        max_per_owner=max_per_owner,
        acquire_timeout_s=acquire_timeout_s,
    ) as pool:
        await pool.ready()

        async def get_pool() -> SandboxPool:
            return pool

        async with Workspaces.open(get_pool, idle_timeout_s=600) as workspaces:
            yield workspaces


async def test_a_conversation_keeps_its_sandbox_between_requests(tmp_path: Path) -> None:
    async with workspaces_over(tmp_path) as workspaces:
        workspace = workspaces.get("conv_a", owner="local")
        first = await workspace.sandbox()
        assert await workspaces.get("conv_a", owner="local").sandbox() is first


async def test_a_new_question_takes_the_sandbox_of_an_idle_conversation(tmp_path: Path) -> None:
    async with workspaces_over(tmp_path) as workspaces:
        idle, asking = workspaces.get("conv_a", owner="local"), workspaces.get("conv_b", owner="local")
        await idle.sandbox()
        assert (await asking.sandbox()).alive
        assert idle.container_id is None
        assert "another conversation needed one" in idle.lost


async def test_a_busy_conversation_keeps_its_sandbox_and_the_other_is_told_of_capacity(tmp_path: Path) -> None:
    async with workspaces_over(tmp_path, acquire_timeout_s=0.2) as workspaces:
        busy = workspaces.get("conv_a", owner="local")
        with busy.in_use():
            await busy.sandbox()
            with pytest.raises(AtCapacity):
                await workspaces.get("conv_b", owner="local").sandbox()
            assert busy.container_id is not None


async def test_who_waits_gets_the_sandbox_of_the_first_conversation_that_falls_idle(tmp_path: Path) -> None:
    async with workspaces_over(tmp_path) as workspaces:
        busy, waiting = workspaces.get("conv_a", owner="local"), workspaces.get("conv_b", owner="local")
        async with anyio.create_task_group() as tasks:
            with busy.in_use():
                await busy.sandbox()
                tasks.start_soon(waiting.sandbox)
                await (await workspaces._get_pool()).until(lambda stats: stats.waiting == 1)
        assert waiting.container_id is not None
        assert busy.container_id is None


async def test_at_the_quota_an_owner_gives_up_idle_conversations_and_never_busy_ones(tmp_path: Path) -> None:
    async with workspaces_over(tmp_path, max_size=3, max_per_owner=1) as workspaces:
        pool = await workspaces._get_pool()
        idle, asking = workspaces.get("conv_a", owner="alice"), workspaces.get("conv_b", owner="alice")
        other = workspaces.get("conv_c", owner="bob")
        await other.sandbox()
        await idle.sandbox()
        workspaces.check_quota(pool, "conv_b", owner="alice")
        with asking.in_use():
            await asking.sandbox()
            assert "another conversation of yours needed one" in idle.lost
            assert other.container_id is not None
            workspaces.check_quota(pool, "conv_b", owner="alice")  # its own does not count
            with pytest.raises(QuotaExceeded):
                workspaces.check_quota(pool, None, owner="alice")
            with pytest.raises(QuotaExceeded):
                await idle.sandbox()


async def test_a_dead_sandbox_of_an_idle_conversation_goes_first(tmp_path: Path) -> None:
    async with workspaces_over(tmp_path, max_size=2) as workspaces:
        older, dead = workspaces.get("conv_a", owner="local"), workspaces.get("conv_b", owner="local")
        await older.sandbox()
        await (await dead.sandbox()).close()
        assert (await workspaces.get("conv_c", owner="local").sandbox()).alive
        assert older.container_id is not None


async def test_a_page_may_warm_up_one_sandbox_of_an_owner_and_a_quarter_of_the_pool(tmp_path: Path) -> None:
    async with workspaces_over(tmp_path, max_size=8) as workspaces:
        pool = await workspaces._get_pool()

        async def warms(conversation_id: str, owner: str) -> bool:
            workspace = workspaces.get(conversation_id, owner=owner)
            if may := workspaces.may_warm(pool, workspace):
                workspace.warm_up()
                await workspace.sandbox()
            return may

        assert await warms("conv_a", "ann")
        assert not await warms("conv_b", "ann")
        assert await warms("conv_c", "ben")
        assert not await warms("conv_d", "cid")
        workspaces.get("conv_a", owner="ann").question_came()
        assert await warms("conv_d", "cid")
        await workspaces.release("conv_d", "it is gone")
        assert await warms("conv_e", "dan")


async def test_to_warm_up_takes_no_sandbox_from_a_conversation(tmp_path: Path) -> None:
    async with workspaces_over(tmp_path) as workspaces:
        idle, hovering = workspaces.get("conv_a", owner="ann"), workspaces.get("conv_b", owner="ben")
        await idle.sandbox()
        assert not workspaces.may_warm(await workspaces._get_pool(), hovering)


async def test_warm_ups_that_begin_at_once_are_counted_before_they_have_a_sandbox(tmp_path: Path) -> None:
    async with workspaces_over(tmp_path, max_size=8) as workspaces:
        pool = await workspaces._get_pool()
        many = [workspaces.get(f"conv_{number}", owner=f"owner {number}") for number in range(5)]
        with ExitStack() as stack:
            for workspace in many:
                stack.enter_context(workspace.in_use())
                if workspaces.may_warm(pool, workspace):
                    workspace.warm_up()
            assert [workspace.only_warmed for workspace in many] == [True, True, False, False, False]
        assert not any(workspace.only_warmed for workspace in many)  # none of them has got one


async def test_a_sandbox_that_was_only_warmed_up_goes_before_one_with_variables(tmp_path: Path) -> None:
    async with workspaces_over(tmp_path, max_size=2) as workspaces:
        used, warmed, asking = (workspaces.get(f"conv_{name}", owner=name) for name in ("ann", "ben", "cid"))
        await used.sandbox()
        warmed.warm_up()
        await warmed.sandbox()
        assert (await asking.sandbox()).alive
        assert (used.container_id is None, warmed.container_id is None) == (False, True)


async def test_claims_at_once_of_one_conversation_get_one_sandbox(tmp_path: Path) -> None:
    async with workspaces_over(tmp_path, max_size=4) as workspaces:
        pool, claimed = await workspaces._get_pool(), set()
        workspace = workspaces.get("conv_a", owner="local")

        async def claim() -> None:
            claimed.add(await workspace.sandbox())

        async with pool.acquire(), anyio.create_task_group() as tasks:  # None is warm any more: a claim takes a while.
            for _ in range(3):
                tasks.start_soon(claim)
        assert (len(claimed), pool.stats().leased) == (1, 1)


async def test_a_claim_that_is_cancelled_leaves_the_sandbox_to_the_next_one(tmp_path: Path) -> None:
    async with workspaces_over(tmp_path) as workspaces:
        pool, workspace = await workspaces._get_pool(), workspaces.get("conv_a", owner="local")
        async with pool.acquire() as sandbox, anyio.create_task_group() as tasks:
            first = anyio.CancelScope()

            async def claim(scope: anyio.CancelScope) -> None:
                with scope:
                    await workspace.sandbox()

            tasks.start_soon(claim, first)
            await pool.until(lambda stats: stats.waiting == 1)
            tasks.start_soon(claim, anyio.CancelScope())
            await anyio.wait_all_tasks_blocked()
            first.cancel()
            await pool.release(sandbox)
        assert (workspace.container_id is not None, pool.stats().leased) == (True, 1)


async def test_a_workspace_does_not_expire_while_it_claims_or_is_held(tmp_path: Path) -> None:
    async with workspaces_over(tmp_path) as workspaces:
        pool = await workspaces._get_pool()
        with workspaces.use("conv_a", owner="local") as workspace:
            await workspaces.expire(unused_since=float("inf"))
            assert workspaces.get("conv_a", owner="local") is workspace
        with workspaces.keep("conv_a", owner="local"):
            await workspaces.expire(unused_since=float("inf"))
            assert workspaces.get("conv_a", owner="local") is workspace
        async with pool.acquire() as sandbox, anyio.create_task_group() as tasks:
            tasks.start_soon(workspace.sandbox)
            await pool.until(lambda stats: stats.waiting == 1)
            await workspaces.expire(unused_since=float("inf"))
            await pool.release(sandbox)
        assert workspaces.container_ids == {workspace.container_id}
        await workspaces.expire(unused_since=float("inf"))
        assert (workspaces.container_ids, pool.stats().leased) == (set(), 0)


async def test_a_release_that_is_cancelled_gives_the_sandbox_back_all_the_same(tmp_path: Path) -> None:
    async with workspaces_over(tmp_path) as workspaces:
        workspace = workspaces.get("conv_a", owner="local")
        await workspace.sandbox()
        with anyio.CancelScope() as scope:
            scope.cancel()
            await workspace.release("it is over")
        assert (await workspaces._get_pool()).stats().leased == 0


async def test_a_conversation_that_comes_back_while_others_are_given_up_keeps_its_sandbox(tmp_path: Path) -> None:
    async with workspaces_over(tmp_path, max_size=3) as workspaces:
        pool = await workspaces._get_pool()
        first, second, third = (workspaces.get(f"conv_{name}", owner=name) for name in ("ann", "ben", "cid"))
        for workspace in (first, second, third):
            await workspace.sandbox()
        release = first.release

        async def slow(reason: str) -> None:
            await release(reason)
            stack.enter_context(second.in_use())

        first.release = slow  # type: ignore[method-assign]
        with ExitStack() as stack:
            await workspaces._release_idle(workspaces._of("ann") + workspaces._of("ben"), 2, "another needs one")
            assert (first.container_id, second.container_id is not None) == (None, True)
        assert pool.stats().leased == 2


async def test_a_workspace_may_have_an_idle_time_of_its_own(tmp_path: Path) -> None:
    async with workspaces_over(tmp_path) as workspaces:
        workspace = workspaces.get("conv_a", owner="local")
        workspace.want(ContainerOptions(idle_timeout_s=3600))
        await workspace.sandbox()
        await workspaces.expire(unused_since=workspace.last_used + 2900)
        assert workspace.container_id is not None
        await workspaces.expire(unused_since=workspace.last_used + 3100)
        assert workspace.container_id is None


async def test_a_sandbox_is_given_up_after_its_checkpoint_instead_of_refusing_its_owner(tmp_path: Path) -> None:
    async with workspaces_over(tmp_path, max_size=2, max_per_owner=1) as workspaces:
        saved, asking = (workspaces.get(name, owner="local") for name in ("conv_a", "conv_b"))
        await saved.sandbox()
        saving, done = anyio.Event(), anyio.Event()

        async def save() -> None:
            with saved.saving():
                saving.set()
                await done.wait()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(save)
            await saving.wait()
            workspaces.check_quota(await workspaces._get_pool(), "conv_b", owner="local")
            tasks.start_soon(asking.sandbox)
            done.set()
        assert asking.container_id is not None
        assert saved.container_id is None


async def test_a_long_checkpoint_keeps_nobody_waiting_for_another_sandbox(tmp_path: Path) -> None:
    async with workspaces_over(tmp_path, max_size=2) as workspaces:
        pool = await workspaces._get_pool()
        saved, busy, first, second = (workspaces.get(name, owner=name) for name in ("a", "b", "c", "d"))
        async with anyio.create_task_group() as tasks:
            with saved.saving(), anyio.fail_after(60):
                await saved.sandbox()
                with busy.in_use():
                    await busy.sandbox()
                    tasks.start_soon(first.sandbox)
                    tasks.start_soon(second.sandbox)
                    await pool.until(lambda stats: stats.waiting == 2)
                await pool.until(lambda stats: stats.waiting == 1)
                assert saved.container_id is not None


async def test_who_begins_to_wait_after_another_conversation_fell_idle_gets_its_sandbox(tmp_path: Path) -> None:
    """Between making room and waiting, places are counted in the database."""
    async with workspaces_over(tmp_path) as workspaces:
        idle, asking = workspaces.get("conv_a", owner="local"), workspaces.get("conv_b", owner="local")
        counting, counted = anyio.Event(), anyio.Event()

        class Quota(SharedQuota):
            async def take(self, owner: str, release_idle: Callable[[], Awaitable[bool]]) -> str:
                counting.set()
                await counted.wait()
                return "slot"

        await idle.sandbox()
        async with anyio.create_task_group() as tasks:
            with idle.in_use():
                asking._lender._quota = Quota(9, None, alive=None)  # type: ignore[arg-type]
                tasks.start_soon(asking.sandbox)
                await counting.wait()
            await anyio.wait_all_tasks_blocked()
            counted.set()
        assert asking.container_id is not None
        assert idle.container_id is None


async def test_who_waits_for_a_sandbox_of_another_size_gets_the_place_of_one_that_falls_idle(tmp_path: Path) -> None:
    async with workspaces_over(tmp_path) as workspaces:
        pool = await workspaces._get_pool()
        busy, waiting = workspaces.get("conv_a", owner="local"), workspaces.get("conv_b", owner="local")
        waiting.want(ContainerOptions(memory_mb=300))
        async with anyio.create_task_group() as tasks:
            with busy.in_use():
                await busy.sandbox()
                tasks.start_soon(waiting.sandbox)
                await pool.until(lambda stats: stats.waiting == 1)
        assert waiting.container_id is not None
        assert busy.container_id is None
