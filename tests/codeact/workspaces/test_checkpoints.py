"""When checkpoints of many conversations are taken."""

from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, cast

import anyio
import pytest

from codeact.errors import StoreUnavailable
from codeact.workspaces import checkpoint_parts, checkpoints
from codeact.workspaces.checkpoints import Checkpoints, Point
from codeact.workspaces.workspace import Workspace
from sandbox_pool.checkpoint import StateLimits

pytestmark = pytest.mark.anyio


class Endless(Checkpoints):
    """Checkpoints of `greedy` do not end; those of other owners end at once."""

    async def _take(self, workspace: Workspace, point: Point) -> None:
        if point.owner == "greedy":
            await anyio.sleep_forever()


async def test_endless_checkpoints_of_one_owner_leave_a_place_to_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "CLOSE_S", 0.0)
    workspace = SimpleNamespace(living=object(), point="resp_1", saving=nullcontext)
    async with Endless.open(cast(Any, None), keep=1, limits=StateLimits()) as taken:
        for number in range(5):
            taken.begin(cast(Any, workspace), Point("greedy", f"conv_{number}", "resp_1"))
        taken.begin(cast(Any, workspace), Point("other", "conv_other", "resp_1"))
        with anyio.fail_after(60):
            await taken.settled("conv_other")


class Silent:
    """A database that stores the beginning of a checkpoint, and does not answer then."""

    async def begin(self, record: object) -> None: ...

    async def put_parts(self, checkpoint_id: str, parts: object, *, owner: str) -> None:
        raise StoreUnavailable("silent")

    async def discard(self, checkpoint_id: str) -> None:
        await anyio.sleep_forever()


async def test_a_silent_database_does_not_hold_up_the_end_of_a_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "DISCARD_S", 0.1)

    async def checkpoint(put: Callable[[str, bytes], Awaitable[None]], **more: object) -> None:
        await put("0" * 64, bytes(checkpoint_parts.BATCH_BYTES))

    async def store() -> object:
        return SimpleNamespace(checkpoints=Silent())

    workspace = SimpleNamespace(
        living=SimpleNamespace(id="cntr_1", checkpoint=checkpoint),
        point="resp_1",
        suspended=None,
        saving=nullcontext,
        capturing=lambda state_id: nullcontext(lambda: None),
        since=lambda sandbox: None,
        placed_in=lambda sandbox: (),
    )
    opened = Checkpoints.open(cast(Any, SimpleNamespace(get=store)), keep=1, limits=StateLimits(), is_low=lambda: False)
    async with opened as taken:
        taken.begin(cast(Any, workspace), Point("owner", "conv_1", "resp_1"))
        with anyio.fail_after(60):
            await taken.settled("conv_1")
