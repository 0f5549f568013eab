"""Sandboxes that are nothing, for measuring and simulating the pool itself."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from unittest.mock import patch

from sandbox_pool import SandboxSpec
from sandbox_pool.backends.base import Death, Isolation, Notice, Started
from sandbox_pool.pool import starting
from sandbox_pool.spec import Limits

__all__ = ["NoBackend", "stand_ins"]


class _StandIn:
    """As much of a sandbox as the pool needs."""

    def __init__(self, sandbox_id: str, spec: SandboxSpec) -> None:
        self.id, self.spec = sandbox_id, spec
        self.alive, self.packages, self.death = True, (), None

    async def died(self) -> None:
        await asyncio.Event().wait()

    async def close(self) -> None:
        self.alive = False

    def begin_lifetime(self) -> None:
        pass


@contextmanager
def stand_ins(start_s: float) -> Iterator[None]:
    """Inside the block, pools start stand-ins instead of sandboxes; each start takes this time on the loop's clock."""

    async def start(cls: Any, backend: Any, sandbox_id: str, spec: SandboxSpec, *, deadline_s: float) -> _StandIn:
        await asyncio.sleep(start_s)
        return _StandIn(sandbox_id, spec)

    with patch.object(starting.Sandbox, "start", classmethod(start)):
        yield


class NoBackend:
    """The backend of stand-ins: it has nothing to do."""

    name = "none"
    isolation = Isolation(isolated=True, summary="nothing runs")

    async def prepare(self, spec: SandboxSpec, progress: Callable[[str], None]) -> None:
        pass

    async def create(self, sandbox_id: str, spec: SandboxSpec) -> Started:
        raise NotImplementedError

    @asynccontextmanager
    async def files(self, sandbox_id: str, request: Mapping[str, Any]) -> AsyncIterator[Any]:
        raise NotImplementedError
        yield

    async def add_readonly(self, sandbox_id: str, folder: str, files: Mapping[str, bytes]) -> None:
        raise NotImplementedError

    async def death(self, sandbox_id: str, limits: Limits) -> Death:
        raise NotImplementedError

    async def destroy(self, sandbox_id: str) -> None:
        pass

    async def watch(self, notice: Callable[[Notice], None]) -> None:
        await asyncio.Event().wait()

    async def list(self) -> list[str]:
        return []

    async def close(self) -> None:
        pass
