"""Destroys released sandboxes, and the sandboxes that crashed servers left, in the background."""

import time
from collections import deque
from collections.abc import Callable

import anyio

from sandbox_pool.backends.base import Backend
from sandbox_pool.logs import Logger
from sandbox_pool.pool.stats import Measurements
from sandbox_pool.pool.wait_queue import Changes
from sandbox_pool.sandbox.sandbox import Sandbox

__all__ = ["Removals"]

log = Logger(__name__)

REMOVAL_DELAY_S = 5.0
"""How long a removal may be postponed in favour of starts for which requests wait."""
REAP_INTERVAL_S = 120.0


class Removals:
    """Destroys sandboxes. Run `work` once per concurrent removal, and `reap` once. `len()` counts pending removals.

    While `blocks_a_start` returns True, a removal waits, at most `REMOVAL_DELAY_S`.
    """

    def __init__(
        self, backend: Backend, changes: Changes, measured: Measurements, *, blocks_a_start: Callable[[], bool]
    ) -> None:
        self._backend = backend
        self._changes = changes
        self._measured = measured
        self._blocks_a_start = blocks_a_start
        self._queue: deque[tuple[Sandbox, float]] = deque()
        self._current: set[Sandbox] = set()
        self._doubtful: set[str] = set()
        self._reap_soon = anyio.Event()

    def __len__(self) -> int:
        return len(self._queue) + len(self._current)

    @property
    def sandboxes(self) -> set[Sandbox]:
        return {sandbox for sandbox, _ in self._queue} | self._current

    def add(self, sandbox: Sandbox) -> None:
        self._queue.append((sandbox, time.monotonic() + REMOVAL_DELAY_S))
        self._changes.notify()

    def doubt(self, sandbox_id: str) -> None:
        """Notes that the backend may have failed to destroy this sandbox; `reap` tries again later."""
        self._doubtful.add(sandbox_id)

    async def work(self) -> None:
        while True:
            await self._changes.until(lambda: bool(self._queue))
            sandbox, latest = self._queue.popleft()
            self._current.add(sandbox)
            try:
                with anyio.move_on_after(latest - time.monotonic()):
                    await self._changes.until(lambda: not self._blocks_a_start())
                await self.destroy(sandbox)
            except Exception:
                self.doubt(sandbox.id)
                raise
            finally:
                self._current.discard(sandbox)
                self._changes.notify()

    async def destroy(self, sandbox: Sandbox) -> None:
        """Destroys a sandbox now. Does not raise: on failure it logs the error, and `reap` tries again later."""
        try:
            await sandbox.close()
            # `close` only logs a failure to destroy the sandbox. Destroying it again raises the error.
            await self._backend.destroy(sandbox.id)
            log.info("sandbox removed", sandbox=sandbox.id)
        except Exception as error:
            log.warning("sandbox not removed", sandbox=sandbox.id, reason=str(error))
            self._measured.failed(str(error))
            self.doubt(sandbox.id)

    async def reap(self) -> None:
        """Destroys the sandboxes of crashed servers, and those that the backend failed to destroy.

        Looks for them periodically, and at once after `reap_soon`.
        """
        while True:
            await self._reap()
            with anyio.move_on_after(REAP_INTERVAL_S):
                await self._reap_soon.wait()
            self._reap_soon = anyio.Event()

    def reap_soon(self) -> None:
        """Makes `reap` look at once."""
        self._reap_soon.set()

    async def _reap(self) -> None:
        try:
            leftovers = await self._backend.list()
        except Exception as error:
            log.warning("leftovers not listed", reason=str(error))
            return
        for sandbox_id in {*leftovers, *self._doubtful}:
            try:
                await self._backend.destroy(sandbox_id)
                self._doubtful.discard(sandbox_id)
                log.info("leftover removed", sandbox=sandbox_id)
            except Exception as error:
                log.warning("leftover not removed", sandbox=sandbox_id, reason=str(error))
