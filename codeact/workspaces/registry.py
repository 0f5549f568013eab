"""The workspaces of all conversations; decides which idle conversation loses its sandbox, and when.

This module decides which idle conversation loses its sandbox, and when.
"""

import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager

import anyio

from codeact.errors import CodeActError
from codeact.workspaces.workspace import GetPool, Workspace
from sandbox_pool.errors import SandboxError
from sandbox_pool.logs import Logger
from sandbox_pool.pool.pool import SandboxPool
from sandbox_pool.supervision import Supervisor

__all__ = ["Workspaces"]

log = Logger(__name__)

WARMED_SHARE = 4
"""One of so many sandboxes may be claimed by strangers' pages ahead of a question."""


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
        cls,
        get_pool: GetPool,
        *,
        idle_timeout_s: float,
        progress: Callable[[], str] = lambda: "",
        supervisor: Supervisor | None = None,
    ) -> AsyncIterator["Workspaces"]:
        """Expires idle workspaces until it is left. What is still held then is the pool's to destroy.

        `progress` is a sentence for those who wait for a sandbox, where there is more to say than that one is started.
        """
        workspaces = cls(get_pool, idle_timeout_s=idle_timeout_s, progress=progress)
        async with (supervisor or Supervisor()).tasks() as start:
            start("expiry of idle sandboxes", workspaces._expire)
            start("idle sandboxes for those who wait", workspaces._serve_waiting)
            yield workspaces

    def get(self, conversation_id: str, *, owner: str) -> Workspace:
        """This conversation's workspace, made on first use; makes no call to anything.

        It is to look at: it may expire at any moment. Whoever claims its sandbox holds it by `keep` or `use`.
        """
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

    @contextmanager
    def keep(self, conversation_id: str, *, owner: str) -> Iterator[Workspace]:
        """This conversation's workspace, which stays its one until this is left; it may lose its sandbox meanwhile."""
        workspace = self.get(conversation_id, owner=owner)
        workspace.keepers += 1
        try:
            yield workspace
        finally:
            workspace.keepers -= 1

    @contextmanager
    def use(self, conversation_id: str, *, owner: str) -> Iterator[Workspace]:
        """This conversation's workspace, which neither expires nor loses its sandbox to others until it is left."""
        workspace = self.get(conversation_id, owner=owner)
        with workspace.in_use():
            yield workspace

    @property
    def container_ids(self) -> set[str]:
        """The ids of the living sandboxes."""
        return {workspace.container_id for workspace in self._workspaces.values() if workspace.container_id is not None}

    async def release(self, conversation_id: str, reason: str) -> None:
        """Releases a workspace that will not be used again; one that is in use stays. Idempotent."""
        workspace = self._workspaces.get(conversation_id)
        if workspace is not None and workspace.idle:
            if not workspace.keepers:
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

    async def release_idle_of(self, owner: str, number: int, reason: str) -> None:
        """Releases up to that many idle sandboxes of this owner."""
        await self._release_idle(self._of(owner), number, reason)

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
        """Releases up to `number` idle workspaces: dead ones, then those that ran no code, then the longest unused."""
        spare = [workspace for workspace in workspaces if workspace.spare]
        spare.sort(key=lambda each: (each.container_id is not None, not each.only_warmed, each.last_used))
        for workspace in spare:
            if number <= 0:
                return
            if not workspace.spare:  # Somebody has come back to it while another one was given up.
                continue
            number -= 1
            log.warning("sandbox taken from an idle conversation", sandbox=workspace.container_id, reason=reason)
            await workspace.release(reason)

    async def _serve_waiting(self) -> None:
        """When a conversation falls idle while another one waits, its sandbox goes."""
        while True:
            await self._fell_idle.wait()
            self._fell_idle = anyio.Event()
            try:
                pool = await self._get_pool()
            except (CodeActError, SandboxError):
                continue  # Nobody waits for a sandbox of a pool that is not there.
            await self._serve(pool, coming=0)

    async def _expire(self) -> None:
        while True:
            await anyio.sleep(max(1.0, self._idle_timeout_s / 20))
            await self.expire(unused_since=time.monotonic() - self._idle_timeout_s)

    async def expire(self, *, unused_since: float) -> None:
        """Releases the workspaces that nobody has used since then, by the monotonic clock."""
        for conversation_id, workspace in list(self._workspaces.items()):
            if (
                workspace.idle
                and workspace.last_used < unused_since
                and self._workspaces.get(conversation_id) is workspace
            ):
                if not workspace.keepers:
                    del self._workspaces[conversation_id]
                log.info("sandbox expired", conversation=conversation_id, sandbox=workspace.container_id)
                await workspace.release("the sandbox was idle for too long")
