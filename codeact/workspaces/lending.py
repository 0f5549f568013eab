"""Leases sandboxes from the pool, within the limit of their owner over all servers."""

from collections.abc import Awaitable, Callable
from functools import partial
from weakref import WeakKeyDictionary

from codeact.workspaces.shared_quota import SharedQuota
from sandbox_pool.pool.pool import SandboxPool
from sandbox_pool.sandbox.sandbox import Sandbox
from sandbox_pool.spec import SandboxSpec

__all__ = ["Lender"]


async def _none(owner: str) -> bool:
    return False


class Lender:
    """Without a `quota`, only the pool's own limit holds. `release_idle` releases an idle sandbox of an owner here.

    `on_acquire` is called just before a request is made to the pool. The tasks that it wakes run after the request has
    got a sandbox or begun to wait for one.
    """

    def __init__(
        self,
        quota: SharedQuota | None = None,
        release_idle: Callable[[str], Awaitable[bool]] = _none,
        on_acquire: Callable[[], None] = lambda: None,
    ) -> None:
        self._quota = quota
        self._release_idle = release_idle
        self._on_acquire = on_acquire
        self._places: WeakKeyDictionary[Sandbox, tuple[str, str]] = WeakKeyDictionary()

    async def make_room(self, owner: str) -> None:
        """Releases an idle sandbox of the owner, here or at another server, if otherwise there could be none for it.

        Raises `QuotaExceeded` and `StoreError`.
        """
        if self._quota is not None:
            await self._quota.make_room(owner, partial(self._release_idle, owner))

    async def acquire(self, pool: SandboxPool, owner: str, spec: SandboxSpec | None) -> Sandbox:
        """As `SandboxPool.acquire`; also raises `StoreError`."""
        if self._quota is None:
            self._on_acquire()
            return await pool.acquire(owner=owner, spec=spec)
        place = await self._quota.take(owner, partial(self._release_idle, owner))
        try:
            self._on_acquire()
            sandbox = await pool.acquire(owner=owner, spec=spec)
        except BaseException:
            await self._quota.give_back(owner, place)
            raise
        self._places[sandbox] = owner, place
        return sandbox

    async def release(self, pool: SandboxPool, sandbox: Sandbox) -> None:
        """As `SandboxPool.release`."""
        await pool.release(sandbox)
        if self._quota is not None and (taken := self._places.pop(sandbox, None)) is not None:
            await self._quota.give_back(*taken)
