"""When checkpoints of many conversations are taken."""

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, cast

import anyio
import pytest

from codeact.workspaces import checkpoints
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
