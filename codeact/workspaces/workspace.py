"""One conversation's workspace: gets a sandbox when code needs one, and replaces a dead one.

A `Workspace` claims a sandbox when code first needs one, keeps it between requests, replaces it when it
died, and remembers why, so that the user and the model can be told that the variables are gone.
"""

import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import anyio

from codeact.workspaces.suspended import Suspended
from sandbox_pool.pool.pool import SandboxPool
from sandbox_pool.sandbox.sandbox import Sandbox

__all__ = ["GetPool", "MakeRoom", "StagedFile", "Workspace"]

GetPool = Callable[[], Awaitable[SandboxPool]]
"""Returns the pool, waiting while it starts; raises what kept it from starting."""

MakeRoom = Callable[[SandboxPool, str], Awaitable[None]]
"""Releases what an owner needs for one more sandbox."""


@dataclass(frozen=True, slots=True)
class StagedFile:
    """A file of the user's: its name, the SHA-256 of its content, and how to have that."""

    name: str
    sha256: str
    load: Callable[[], Awaitable[bytes]] = field(compare=False)


class Workspace:
    """One conversation's hold on a sandbox. One execution at a time, as its conversation has one run."""

    def __init__(
        self,
        get_pool: GetPool,
        *,
        owner: str,
        make_room: MakeRoom | None = None,
        on_idle: Callable[[], None] = lambda: None,
        progress: Callable[[], str] = lambda: "",
    ) -> None:
        self.owner = owner
        self.progress = progress
        self._make_room = make_room
        self._on_idle = on_idle
        self.last_used = time.monotonic()
        self._get_pool = get_pool
        self._pool: SandboxPool | None = None
        self._sandbox: Sandbox | None = None
        self._claiming = anyio.Lock()
        self._users = 0
        self.keepers = 0
        self._lost: str | None = None
        self._defined: tuple[str, str] | None = None
        self._placed: set[tuple[str, StagedFile]] = set()
        self.suspended: Suspended | None = None
        self._only_warmed = False

    @property
    def container_id(self) -> str | None:
        """The living sandbox's id; None when there is none."""
        sandbox = self.living
        return sandbox.id if sandbox is not None else None

    @property
    def living(self) -> Sandbox | None:
        """The sandbox, if there is one and it lives; nothing is claimed."""
        sandbox = self._sandbox
        return sandbox if sandbox is not None and sandbox.alive else None

    @property
    def spare(self) -> bool:
        """Whether it has a sandbox, alive or not, that is not in use."""
        return self._users == 0 and self._sandbox is not None

    @property
    def idle(self) -> bool:
        return self._users == 0

    @property
    def only_warmed(self) -> bool:
        """Whether it has a sandbox, or is about to, that nothing has been asked of yet."""
        return self._only_warmed and (not self.idle or self.container_id is not None)

    def warm_up(self) -> None:
        """Says that its next sandbox is claimed ahead of a question; `question_came` says that one has come."""
        self._only_warmed = True

    def question_came(self) -> None:
        self._only_warmed = False

    @property
    def lost(self) -> str:
        """Why an earlier sandbox of this conversation is gone."""
        if self._sandbox and (death := self._sandbox.death):
            return death.detail
        return self._lost or "the server was restarted, another one answers now, or the sandbox was idle for too long"

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keeps the sandbox from expiring while a run may use it."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            self.last_used = time.monotonic()
            if self.idle:
                self._on_idle()

    async def sandbox(self) -> Sandbox:
        """The living sandbox, claimed from the pool if need be. Raises `SandboxError`.

        Concurrent calls get the same sandbox: one of them claims it, and the next one tries where that fails or is
        cancelled. A workspace is in use while it claims, so that it does not expire meanwhile.
        """
        if self.living is not None:
            return self.living
        with self.in_use():
            async with self._claiming:
                if self.living is not None:
                    return self.living
                self._pool = await self._get_pool()
                if self._sandbox is not None:
                    await self.release(self.lost)
                if self._make_room is not None:
                    await self._make_room(self._pool, self.owner)
                self._sandbox = await self._pool.acquire(owner=self.owner)
                return self._sandbox

    async def define(self, source: str) -> None:
        """Makes functions known to the kernel, unless it has just these. Raises `SandboxError`."""
        sandbox = await self.sandbox()
        if self._defined != (sandbox.id, source):
            await sandbox.define(source)
            self._defined = (sandbox.id, source)

    async def place(self, files: Iterable[StagedFile]) -> None:
        """Writes what the user gave into the working directory, each file once in a sandbox. Raises `SandboxError`."""
        sandbox = await self.sandbox()
        for file in files:
            if (sandbox.id, file) not in self._placed:
                await sandbox.write_file(file.name, await file.load())
                self._placed.add((sandbox.id, file))

    def take_suspended(self) -> "Suspended | None":
        """The block that waits for a client in this conversation; it is the caller's from then on."""
        suspended, self.suspended = self.suspended, None
        return suspended

    async def release(self, reason: str) -> None:
        """Gives the sandbox up; the pool destroys it in the background. Idempotent; cancelling loses no sandbox."""
        sandbox, self._sandbox = self._sandbox, None
        if sandbox is not None and self._pool is not None:
            self._lost = reason
            with anyio.CancelScope(shield=True):
                await self._pool.release(sandbox)
