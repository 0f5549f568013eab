"""Who waits for a sandbox, on a virtual clock and with stand-ins; and which places are counted meanwhile."""

import asyncio
import time
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from benchmarks.stand_ins import NoBackend, stand_ins
from codeact.errors import StoreUnavailable
from codeact.workspaces.registry import Workspaces
from codeact.workspaces.shared_quota import SharedQuota
from codeact.workspaces.workspace import Workspace
from sandbox_pool import SandboxPool, SandboxSpec
from tests.sandbox_pool.pool.test_scaling_model import _loop, _Skipping

CONVERSATIONS, SANDBOXES = 50, 20
START_S, RUN_S, CHECKPOINT_S = 3.0, 0.2, 5.0


async def served() -> list[int]:
    """Each conversation runs code twice, and two checkpoints are taken at a time; returns who got a sandbox when."""
    order: list[int] = []
    places = anyio.Semaphore(2)
    pool = SandboxPool(
        SandboxSpec(preload=()),
        backend=NoBackend(),
        min_size=0,
        max_size=SANDBOXES,
        concurrent_starts=2,
        acquire_timeout_s=120.0,
    )

    async def get_pool() -> SandboxPool:
        return pool

    async def save(workspace: Workspace, point: str) -> None:
        with workspace.saving():
            async with places:
                if workspace.point == point:
                    await anyio.sleep(CHECKPOINT_S)

    async def ask(workspaces: Workspaces, number: int) -> None:
        await anyio.sleep(number / 100)
        for point in ("first", "second"):
            with workspaces.use(f"conv_{number}", owner="local") as workspace:
                await workspace.sandbox()
                order.extend([number] if point == "first" else [])
                workspace.ran(point)
                await anyio.sleep(RUN_S)
                saving.start_soon(save, workspace, point)
                await anyio.lowlevel.checkpoint()

    async with (
        pool,
        Workspaces.open(get_pool, idle_timeout_s=1e6) as workspaces,
        anyio.create_task_group() as saving,
        anyio.create_task_group() as asking,
    ):
        for number in range(CONVERSATIONS):
            asking.start_soon(ask, workspaces, number)
    return order


def test_conversations_over_fewer_sandboxes_are_served_in_order_while_checkpoints_are_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    selector = _Skipping()
    with (
        stand_ins(START_S),
        monkeypatch.context() as patched,
        asyncio.Runner(loop_factory=lambda: _loop(selector)) as runner,
    ):
        patched.setattr(time, "monotonic", lambda: selector.now)
        assert runner.run(served()) == list(range(CONVERSATIONS))


@pytest.mark.anyio
@pytest.mark.parametrize("how", ["cancelled", "the connection broke"])
async def test_a_place_whose_taking_did_not_end_well_is_given_back(how: str) -> None:
    taken, told = set[str](), anyio.Event()

    class Slots:
        async def take(self, account: str, place: str, *, most: int) -> bool:
            taken.add(place)
            told.set()
            if how == "cancelled":
                await anyio.sleep_forever()
            raise StoreUnavailable("The connection broke.")

        async def give_back(self, account: str, place: str) -> None:
            taken.discard(place)

    store: Any = SimpleNamespace(slots=Slots())

    async def get_store() -> Any:
        return store

    async def alive(store: Any) -> list[str]:
        return []

    async def release_idle() -> bool:
        return False

    quota = SharedQuota(1, get_store, alive=alive)

    async def take() -> None:
        with suppress(StoreUnavailable):
            await quota.take("ann", release_idle)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(take)
        await told.wait()
        tasks.cancel_scope.cancel()
    assert taken == set()
