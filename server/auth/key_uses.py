"""Remembers when each key and session was used last, and stores that once a minute."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import anyio
import structlog

from codeact.errors import CodeActError
from codeact.store import Credential, Store
from sandbox_pool.supervision import Supervisor

__all__ = ["KeyUses"]

log = structlog.get_logger(__name__)

EVERY_S = 60.0
LAST_FLUSH_S = 2.0
MOST = 10_000
"""How many credentials are remembered until the next write; the use of others in that minute is not noted."""


class KeyUses:
    """Notes uses without any I/O; a task writes them. What the last minute before a crash had is lost."""

    def __init__(self, store: Callable[[], Awaitable[Store]]) -> None:
        self._store = store
        self._times: dict[str, datetime] = {}

    @classmethod
    @asynccontextmanager
    async def open(cls, store: Callable[[], Awaitable[Store]], *, supervisor: Supervisor) -> AsyncIterator["KeyUses"]:
        """Starts the task that writes; on exit, writes what is left, within 2 s."""
        uses = cls(store)
        try:
            async with supervisor.tasks() as start:
                start("last uses of keys", uses.keep_writing, essential=False)
                yield uses
        finally:
            with anyio.move_on_after(LAST_FLUSH_S, shield=True):
                await uses.flush()

    def note(self, credential: Credential) -> None:
        """Notes that the credential is used now. Embed sessions are short-lived and are not noted."""
        if credential.kind != "embed" and (credential.id in self._times or len(self._times) < MOST):
            self._times[credential.id] = datetime.now(UTC)

    async def keep_writing(self) -> None:
        """Writes once a minute until cancelled. It may be restarted after an error and then continues."""
        while True:
            await anyio.sleep(EVERY_S)
            await self.flush()

    async def flush(self) -> None:
        """Writes what was noted since the last write. Without a database, it is noted until the next one."""
        if not self._times:
            return
        times, self._times = self._times, {}
        try:
            await (await self._store()).access.used(times)
        except CodeActError as error:
            self._times = times | self._times
            log.warning("last uses of keys wait for the database", reason=error.message)
