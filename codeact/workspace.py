"""A conversation's sandbox: a pool enters, one living sandbox per conversation leaves, for as long as it is used.

A `Workspace` claims a sandbox when code first needs one, keeps it between requests, replaces it when it
died, and remembers why, so that the user and the model can be told that the variables are gone.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import anyio
import structlog

from codeact.block import Suspended
from sandbox_pool.pool import SandboxPool
from sandbox_pool.sandbox import Sandbox

__all__ = ["GivenFile", "Workspace", "Workspaces"]

log = structlog.get_logger(__name__)

GetPool = Callable[[], Awaitable[SandboxPool]]
"""Returns the pool, waiting while it starts; raises what kept it from starting."""

WARMED_SHARE = 4
"""One of so many sandboxes may be claimed by strangers' pages ahead of a question."""

MakeRoom = Callable[[SandboxPool, str], Awaitable[None]]
"""Releases what an owner needs for one more sandbox."""


@dataclass(frozen=True, slots=True)
class GivenFile:
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
        self._sandbox: Sandbox | None = None
        self._users = 0
        self._lost: str | None = None
        self._defined: tuple[str, str] | None = None
        self._placed: set[tuple[str, GivenFile]] = set()
        self.suspended: Suspended | None = None
        self._only_warmed = False

    @property
    def container_id(self) -> str | None:
        """The living sandbox's id; None when there is none."""
        return self._sandbox.id if self._sandbox and self._sandbox.alive else None

    @property
    def spare(self) -> bool:
        """Whether it holds a sandbox, alive or not, that nobody uses."""
        return self._users == 0 and self._sandbox is not None

    @property
    def idle(self) -> bool:
        return self._users == 0

    @property
    def only_warmed(self) -> bool:
        """Whether it has a sandbox, or is about to, that nothing has been asked of yet."""
        return self._only_warmed and (not self.idle or self.container_id is not None)

    def warm_up(self) -> None:
        """Says that its next sandbox is claimed ahead of a question; `asked` says that one has come."""
        self._only_warmed = True

    def asked(self) -> None:
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
        """The living sandbox, claimed from the pool if need be. Raises `SandboxError`."""
        if self._sandbox is not None and self._sandbox.alive:
            return self._sandbox
        pool = await self._get_pool()
        if self._sandbox is not None:
            await self.release(self.lost)
        if self._make_room is not None:
            await self._make_room(pool, self.owner)
        self._sandbox = await pool.acquire(owner=self.owner)
        return self._sandbox

    async def define(self, source: str) -> None:
        """Makes functions known to the kernel, unless it has just these. Raises `SandboxError`."""
        sandbox = await self.sandbox()
        if self._defined != (sandbox.id, source):
            await sandbox.define(source)
            self._defined = (sandbox.id, source)

    async def place(self, files: Iterable[GivenFile]) -> None:
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
        """Gives the sandbox up; the pool destroys it in the background. Idempotent."""
        sandbox, self._sandbox = self._sandbox, None
        if sandbox is not None:
            self._lost = reason
            await (await self._get_pool()).release(sandbox)


class Workspaces:
    """The workspaces of all conversations.

    Those that nobody used for `idle_timeout_s` are released; sooner, the longest unused first, where every
    sandbox is lent, or as many as one owner may have, and another conversation needs one: a new question
    comes before an old variable.
    """

    def __init__(self, get_pool: GetPool, *, idle_timeout_s: float, progress: Callable[[], str]) -> None:
        self._get_pool = get_pool
        self._progress = progress
        self._idle_timeout_s = idle_timeout_s
        self._workspaces: dict[str, Workspace] = {}
        self._fell_idle = anyio.Event()

    @classmethod
    @asynccontextmanager
    async def open(
        cls, get_pool: GetPool, *, idle_timeout_s: float, progress: Callable[[], str] = lambda: ""
    ) -> AsyncIterator["Workspaces"]:
        """Expires idle workspaces until it is left. What is still held then is the pool's to destroy.

        `progress` is a sentence for those who wait for a sandbox, where there is more to say than that one is started.
        """
        workspaces = cls(get_pool, idle_timeout_s=idle_timeout_s, progress=progress)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(workspaces._expire)
            tasks.start_soon(workspaces._serve_waiting)
            yield workspaces
            tasks.cancel_scope.cancel()

    def get(self, conversation_id: str, *, owner: str) -> Workspace:
        """This conversation's workspace, made on first use; makes no call to anything."""
        workspace = self._workspaces.get(conversation_id)
        if workspace is None:
            workspace = self._workspaces[conversation_id] = Workspace(
                self._get_pool,
                owner=owner,
                make_room=self._make_room,
                on_idle=lambda: self._fell_idle.set(),
                progress=self._progress,
            )
        return workspace

    @property
    def container_ids(self) -> set[str]:
        """Of the living sandboxes."""
        return {workspace.container_id for workspace in self._workspaces.values() if workspace.container_id is not None}

    async def release(self, conversation_id: str, reason: str) -> None:
        """Gives up a workspace that nobody will ask for again; one that is in use stays. Idempotent."""
        workspace = self._workspaces.get(conversation_id)
        if workspace is not None and workspace.idle:
            del self._workspaces[conversation_id]
            await workspace.release(reason)

    def check_quota(self, pool: SandboxPool, conversation_id: str | None, *, owner: str) -> None:
        """Raises `QuotaExceeded` where code of this conversation could get no sandbox, since others of its owner
        are all in use. One that it has itself, and idle ones, which would be given up, do not count.
        """
        workspace = self._workspaces.get(conversation_id or "")
        if workspace is not None and workspace.container_id is not None:
            return
        spare = sum(workspace.spare for workspace in self._of(owner))
        if pool.max_per_owner is not None and pool.held_by(owner) - spare >= pool.max_per_owner:
            pool.check_quota(owner)

    def may_warm(self, pool: SandboxPool, workspace: Workspace) -> bool:
        """Whether a stranger's page may claim a sandbox before anybody asks: it takes none from a conversation, an
        owner has one at most, and a quarter of the pool is all that lies unused in this way.
        """
        warmed = [each for each in self._workspaces.values() if each.only_warmed and each is not workspace]
        stats = pool.stats()
        return (
            stats.leased + stats.waiting < pool.max_size
            and len(warmed) < max(1, pool.max_size // WARMED_SHARE)
            and all(each.owner != workspace.owner for each in warmed)
        )

    def _of(self, owner: str) -> list[Workspace]:
        return [workspace for workspace in self._workspaces.values() if workspace.owner == owner]

    async def _make_room(self, pool: SandboxPool, owner: str) -> None:
        """Releases idle workspaces: those of the owner who has too many for another one, then anybody's."""
        if pool.max_per_owner is not None:
            missing = pool.held_by(owner) + 1 - pool.max_per_owner
            await self._release_idle(
                self._of(owner), missing, "its sandbox was idle and another conversation of yours needed one"
            )
        await self._serve(pool, coming=1)

    async def _serve(self, pool: SandboxPool, *, coming: int) -> None:
        """Releases as many idle workspaces as those who wait, and `coming` more, need."""
        stats = pool.stats()
        missing = stats.leased + stats.waiting + coming - pool.max_size
        reason = "its sandbox was idle and another conversation needed one"
        await self._release_idle(self._workspaces.values(), missing, reason)

    async def _release_idle(self, workspaces: Iterable[Workspace], number: int, reason: str) -> None:
        """So many of these, as far as there are: dead ones first, then those without variables, the longest unused."""
        spare = [workspace for workspace in workspaces if workspace.spare]
        spare.sort(key=lambda each: (each.container_id is not None, not each.only_warmed, each.last_used))
        for workspace in spare[: max(0, number)]:
            log.warning("sandbox taken from an idle conversation", sandbox=workspace.container_id, reason=reason)
            await workspace.release(reason)

    async def _serve_waiting(self) -> None:
        """When a conversation falls idle while another one waits, its sandbox goes."""
        while True:
            await self._fell_idle.wait()
            self._fell_idle = anyio.Event()
            await self._serve(await self._get_pool(), coming=0)

    async def _expire(self) -> None:
        while True:
            await anyio.sleep(max(1.0, self._idle_timeout_s / 20))
            deadline = time.monotonic() - self._idle_timeout_s
            for conversation_id, workspace in list(self._workspaces.items()):
                if workspace.idle and workspace.last_used < deadline:
                    del self._workspaces[conversation_id]
                    log.info("sandbox expired", conversation=conversation_id, sandbox=workspace.container_id)
                    await workspace.release("the sandbox was idle for too long")
