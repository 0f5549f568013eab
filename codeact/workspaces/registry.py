"""The workspaces of all conversations; decides which idle conversation loses its sandbox, and when."""

import math
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager

import anyio

from codeact.errors import CodeActError
from codeact.workspaces.lending import Lender
from codeact.workspaces.options import ContainerLimits
from codeact.workspaces.shared_quota import SharedQuota
from codeact.workspaces.workspace import GetPool, Workspace
from sandbox_pool.errors import SandboxError
from sandbox_pool.logs import Logger
from sandbox_pool.pool.pool import SandboxPool
from sandbox_pool.supervision import Supervisor

__all__ = ["Workspaces"]

log = Logger(__name__)

WARMED_SHARE = 4
"""Pages may claim at most a quarter of the pool's sandboxes before their users ask a question."""
OWN_NEEDED = "its sandbox was idle and another conversation of yours needed one"


class Workspaces:
    """The workspaces of all conversations.

    A workspace is released if it was not used for `idle_timeout_s` seconds. It is released earlier, the least recently
    used first, if another conversation needs a sandbox and either all sandboxes are leased or the owner has as many as
    allowed: answering a new question is more important than old variables.
    """

    def __init__(
        self,
        get_pool: GetPool,
        *,
        idle_timeout_s: float,
        progress: Callable[[], str],
        quota: SharedQuota | None,
        limits: ContainerLimits,
    ) -> None:
        self._get_pool = get_pool
        self._limits = limits
        self._lender = Lender(quota, self._release_one_of, lambda: self._changed.set())
        self._progress = progress
        self._idle_timeout_s = idle_timeout_s
        self._workspaces: dict[str, Workspace] = {}
        self._changed = anyio.Event()

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        get_pool: GetPool,
        *,
        idle_timeout_s: float,
        progress: Callable[[], str] = lambda: "",
        quota: SharedQuota | None = None,
        limits: ContainerLimits | None = None,
        supervisor: Supervisor | None = None,
    ) -> AsyncIterator["Workspaces"]:
        """Expires idle workspaces until the `with` block ends. The pool destroys the sandboxes that are left then.

        `progress` returns a sentence for clients that wait for a sandbox, such as the progress of an image's download,
        or an empty string. With `quota`, an owner's sandboxes are limited over all servers, too. `limits` bound the
        options of containers that come back.
        """
        workspaces = cls(
            get_pool,
            idle_timeout_s=idle_timeout_s,
            progress=progress,
            quota=quota,
            limits=limits or ContainerLimits(),
        )
        async with (supervisor or Supervisor()).tasks() as start:
            start("expiry of idle sandboxes", workspaces._expire)
            start("idle sandboxes for those who wait", workspaces._serve_waiting)
            yield workspaces

    def get(self, conversation_id: str, *, owner: str) -> Workspace:
        """Returns this conversation's workspace, which it creates on first use, without any I/O.

        The workspace may expire at any moment: a caller that claims its sandbox must use `keep` or `use` instead.
        """
        workspace = self._workspaces.get(conversation_id)
        if workspace is None:
            workspace = self._workspaces[conversation_id] = Workspace(
                self._get_pool,
                owner=owner,
                make_room=self._make_room,
                on_idle=lambda: self._changed.set(),
                progress=self._progress,
                lender=self._lender,
                limits=self._limits,
            )
        return workspace

    def container_of(self, conversation_id: str) -> str | None:
        """The id of this conversation's living sandbox; None if it has none here."""
        workspace = self._workspaces.get(conversation_id)
        return None if workspace is None else workspace.container_id

    @contextmanager
    def keep(self, conversation_id: str, *, owner: str) -> Iterator[Workspace]:
        """Yields this conversation's workspace, which is not replaced in the `with` block, but may lose its sandbox."""
        workspace = self.get(conversation_id, owner=owner)
        workspace.keepers += 1
        try:
            yield workspace
        finally:
            workspace.keepers -= 1

    @contextmanager
    def use(self, conversation_id: str, *, owner: str) -> Iterator[Workspace]:
        """Yields this conversation's workspace, which neither expires nor loses its sandbox inside the `with` block."""
        workspace = self.get(conversation_id, owner=owner)
        with workspace.in_use():
            yield workspace

    @property
    def container_ids(self) -> set[str]:
        """The ids of the living sandboxes."""
        return {name for workspace in self._workspaces.values() for name in workspace.container_ids}

    async def release(self, conversation_id: str, reason: str) -> None:
        """Releases a workspace that will not be used again, unless it is in use. Idempotent."""
        workspace = self._workspaces.get(conversation_id)
        if workspace is not None and workspace.idle:
            if not workspace.keepers:
                del self._workspaces[conversation_id]
            await workspace.release(reason)

    def check_quota(self, pool: SandboxPool, conversation_id: str | None, *, owner: str) -> None:
        """Raises `QuotaExceeded` if this conversation could get no sandbox because its owner has too many in use.

        Idle sandboxes of the owner do not count, since they would be released. A conversation with a living sandbox
        always passes.
        """
        workspace = self._workspaces.get(conversation_id or "")
        if workspace is not None and workspace.container_id is not None:
            return
        spare = sum(workspace.spare_sandboxes for workspace in self._of(owner))
        if pool.max_per_owner is not None and pool.held_by(owner) - spare >= pool.max_per_owner:
            pool.check_quota(owner)

    async def make_room_over_all_servers(self, conversation_id: str | None, *, owner: str) -> None:
        """Releases an idle sandbox of the owner if this conversation needs one, and could get none otherwise.

        Does nothing if owners are not limited over all servers. Raises `QuotaExceeded` and `StoreError`.
        """
        workspace = self._workspaces.get(conversation_id or "")
        if workspace is None or workspace.container_id is None:
            await self._lender.make_room(owner)

    async def release_idle_of(self, owner: str, number: int, reason: str) -> int:
        """Releases up to `number` idle sandboxes of this owner; returns how many.

        If fewer are idle, it waits for those of which only a checkpoint is being taken: their owner would be refused
        otherwise. A checkpoint has its own limit of time.
        """
        released = await self._release_idle(self._of(owner), number, reason)
        for workspace in self._of(owner):
            if released < number and workspace.is_only_saved:
                await workspace.saved_once()
                released += await self._release_idle([workspace], number - released, reason)
        return released

    async def _release_one_of(self, owner: str) -> bool:
        return await self.release_idle_of(owner, 1, OWN_NEEDED) > 0

    def may_warm(self, pool: SandboxPool, workspace: Workspace) -> bool:
        """Whether a page may claim a sandbox before its user asks a question.

        It may if a sandbox is free, if its owner has no other such sandbox, and if fewer than a quarter of the pool's
        sandboxes were claimed in this way and are unused.
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
        """Releases idle workspaces for one more sandbox: those of the owner at the owner's limit, then anybody's."""
        if pool.max_per_owner is not None:
            missing = pool.held_by(owner) + 1 - pool.max_per_owner
            await self.release_idle_of(owner, missing, OWN_NEEDED)
        await self._serve(pool, coming=1)

    async def _serve(self, pool: SandboxPool, *, coming: int) -> None:
        """Releases as many idle workspaces as the waiting requests, and `coming` more, need."""
        stats = pool.stats()
        missing = stats.leased + stats.waiting + coming - pool.max_size
        reason = "its sandbox was idle and another conversation needed one"
        await self._release_idle(self._workspaces.values(), missing, reason)

    async def _release_idle(self, workspaces: Iterable[Workspace], number: int, reason: str) -> int:
        """Releases up to `number` sandboxes: those of branches that are not in use, then those of idle workspaces.

        Of these the dead ones go first, then those that ran no code, then the least recently used. Returns how many.
        """
        workspaces, released = list(workspaces), 0
        for workspace in workspaces:
            if released < number and await workspace.release_parked(reason):
                released += 1
        spare = [workspace for workspace in workspaces if workspace.spare]
        spare.sort(key=lambda each: (each.container_id is not None, not each.only_warmed, each.last_used))
        for workspace in spare:
            if released >= number:
                break
            if not workspace.spare:  # It came into use while another one was being released.
                continue
            released += 1
            log.warning("sandbox taken from an idle conversation", sandbox=workspace.container_id, reason=reason)
            await workspace.release(reason)
        return released

    async def _serve_waiting(self) -> None:
        """Releases sandboxes of idle conversations whenever one becomes idle, or another one begins to wait for one."""
        while True:
            await self._changed.wait()
            self._changed = anyio.Event()
            try:
                pool = await self._get_pool()
            except (CodeActError, SandboxError):
                continue  # Without a pool nothing waits for a sandbox.
            await self._serve(pool, coming=0)

    async def _expire(self) -> None:
        while True:
            own = (each.options.idle_timeout_s or math.inf for each in self._workspaces.values())
            await anyio.sleep(max(1.0, min(self._idle_timeout_s, *own, math.inf) / 20))
            await self.expire(unused_since=time.monotonic() - self._idle_timeout_s)

    async def expire(self, *, unused_since: float) -> None:
        """Releases the workspaces that were last used before `unused_since`, a time of the monotonic clock.

        A workspace with an idle time of its own is released after that.
        """
        for conversation_id, workspace in list(self._workspaces.items()):
            if (
                workspace.idle
                and workspace.last_used < self._deadline(workspace, unused_since)
                and self._workspaces.get(conversation_id) is workspace
            ):
                if not workspace.keepers:
                    del self._workspaces[conversation_id]
                log.info("sandbox expired", conversation=conversation_id, sandbox=workspace.container_id)
                await workspace.release("the sandbox was idle for too long")

    def _deadline(self, workspace: Workspace, unused_since: float) -> float:
        own = workspace.options.idle_timeout_s
        return unused_since if own is None else unused_since + self._idle_timeout_s - own
