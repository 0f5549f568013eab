"""Collects the files that code wrote, after each block, so that the answer can cite them at its end.

In some sandboxes this takes a moment, so it runs while the model continues.
"""

from collections.abc import Awaitable, Callable

import anyio
from anyio.abc import TaskGroup

from codeact.errors import StoreError
from sandbox_pool.errors import SandboxError
from sandbox_pool.logs import Logger
from sandbox_pool.sandbox.sandbox import Sandbox

__all__ = ["Collect", "OutputFiles"]

log = Logger(__name__)

Collect = Callable[[Sandbox], Awaitable[list[tuple[str, str]]]]
"""Stores the files that are new or changed since the last call, and returns their ids and paths."""


class OutputFiles:
    """The files that the code of one answer wrote. A file that cannot be read does not fail the answer."""

    def __init__(self, collect: Collect | None, tasks: TaskGroup) -> None:
        self._collect = collect
        self._tasks = tasks
        self._scopes: list[anyio.CancelScope] = []
        self._looked = anyio.Event()
        self._looked.set()
        self._found: dict[str, str] = {}

    def look(self, sandbox: Sandbox) -> None:
        """Starts to collect new files after a block has ended. Returns at once."""
        if self._collect is not None and sandbox.alive:
            before, self._looked = self._looked, anyio.Event()
            self._scopes.append(anyio.CancelScope())
            self._tasks.start_soon(self._look, self._collect, sandbox, before, self._looked, self._scopes[-1])

    async def found(self) -> list[tuple[str, str]]:
        """Waits for all collections; returns ids and paths, for a file that was written twice only the later id."""
        await self._looked.wait()
        return [(file_id, path) for path, file_id in self._found.items()]

    def stop(self) -> None:
        """Cancels running collections. The next one in this sandbox finds the same files."""
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
