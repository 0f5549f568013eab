"""Files that code wrote: a sandbox enters after each block, what is new in it leaves when the answer ends.

Looking takes a moment in some sandboxes, so it happens while the model reads on and writes.
"""

from collections.abc import Awaitable, Callable

import anyio
import structlog
from anyio.abc import TaskGroup

from codeact.errors import StoreError
from sandbox_pool.errors import SandboxError
from sandbox_pool.sandbox import Sandbox

__all__ = ["Collect", "WrittenFiles"]

log = structlog.get_logger(__name__)

Collect = Callable[[Sandbox], Awaitable[list[tuple[str, str]]]]
"""Keeps the files that are new or changed since the last call, and returns their ids and paths."""


class WrittenFiles:
    """What the code of one answer wrote. One that cannot be had is no reason for the answer to fail."""

    def __init__(self, collect: Collect | None, tasks: TaskGroup) -> None:
        self._collect = collect
        self._tasks = tasks
        self._scopes: list[anyio.CancelScope] = []
        self._looked = anyio.Event()
        self._looked.set()
        self._found: dict[str, str] = {}

    def look(self, sandbox: Sandbox) -> None:
        """To be called when a block has ended; returns at once."""
        if self._collect is not None and sandbox.alive:
            before, self._looked = self._looked, anyio.Event()
            self._scopes.append(anyio.CancelScope())
            self._tasks.start_soon(self._look, self._collect, sandbox, before, self._looked, self._scopes[-1])

    async def found(self) -> list[tuple[str, str]]:
        """Ids and paths, once the last look has ended; of a file that was written twice, the later id."""
        await self._looked.wait()
        return [(file_id, path) for path, file_id in self._found.items()]

    def stop(self) -> None:
        """Ends looks under way; what they would have found is noticed by the next one in this sandbox."""
        for scope in self._scopes:
            scope.cancel()

    async def _look(
        self,
        collect: Collect,
        sandbox: Sandbox,
        before: anyio.Event,
        looked: anyio.Event,
        scope: anyio.CancelScope,
    ) -> None:
        try:
            with scope:
                await before.wait()
                self._found.update((path, file_id) for file_id, path in await collect(sandbox))
        except (SandboxError, StoreError) as error:
            log.warning("files not collected", sandbox=sandbox.id, reason=error.message)
        finally:
            looked.set()
