"""The pool: keeps sandboxes warm, lends them to owners in fair order, and destroys them afterwards.

The pool is where demand (`leases`: who has one, who waits) and supply (`warm_pool`: the warm ones) meet. Whatever
changes their state does so between two awaits and then wakes the tasks that wait for a change.
"""

import os
import time
from collections.abc import Callable
from copy import copy
from functools import partial
from types import TracebackType
from typing import Self

import anyio
from anyio.abc import TaskGroup

from sandbox_pool.backends.base import Backend
from sandbox_pool.errors import PoolClosed
from sandbox_pool.logs import Logger
from sandbox_pool.pool.acquire import Acquire
from sandbox_pool.pool.leases import SandboxLeases
from sandbox_pool.pool.opening import close, opened, say
from sandbox_pool.pool.stats import Measurements, PoolStats
from sandbox_pool.pool.wait_queue import Changes
from sandbox_pool.pool.warm_pool import WarmPool
from sandbox_pool.sandbox.sandbox import Sandbox
from sandbox_pool.spec import SandboxSpec
from sandbox_pool.supervision import Supervisor

__all__ = ["SandboxPool"]

log = Logger(__name__)

DEFAULT_SPEC = SandboxSpec()
MOST_STARTS = 8


class SandboxPool:
    """Keeps sandboxes of one spec warm and lends each of them once.

    Enter it before use: it then prepares the backend (Docker may build its image, once), and raises `EngineUnavailable`
    or `ImageUnavailable` if it cannot. Leaving it fails those who wait with `PoolClosed`, destroys every sandbox, also
    leased ones, and closes the backend, also one that you gave. Use it once, in one event loop; any of its tasks may
    call any method. As many sandboxes are kept warm as recent demand and the length of a start suggest.

    Args:
        spec: What the sandboxes are made of.
        backend: What runs them; None: Docker if an engine answers, else local processes. The log says which and why.
        min_size: At least so many are warm, where `max_size` leaves room. With 0 an idle pool is empty.
        max_size: Bounds those that are warm, starting or leased; as many again may be on their way out.
        max_per_owner: How many one owner may have leased or wait for; None: any number.
        max_waiting: Beyond so many requests that wait, those are refused whose owner waits for most.
        concurrent_starts: None: one for each processor. With more, each is slower and the whole is no faster.
        concurrent_removals: How many are destroyed at once.
        acquire_timeout_s: How long a request waits.
        start_timeout_s: How long a start may take.
        max_idle_s: A sandbox that nobody took for so long, less up to a fifth by chance, is replaced.
        close_timeout_s: How long leaving may take.
        supervisor: Runs the pool's tasks, and names those that are down; None: one of the pool's own.
    """

    def __init__(
        self,
        spec: SandboxSpec = DEFAULT_SPEC,
        *,
        backend: Backend | None = None,
        min_size: int = 2,
        max_size: int = 16,
        max_per_owner: int | None = None,
        max_waiting: int = 100,
        concurrent_starts: int | None = None,
        concurrent_removals: int = 2,
        acquire_timeout_s: float = 60.0,
        start_timeout_s: float = 60.0,
        max_idle_s: float = 3600.0,
        close_timeout_s: float = 30.0,
        supervisor: Supervisor | None = None,
    ) -> None:
        if not 0 <= min_size <= max_size or max_size < 1:
            raise ValueError(f"0 <= min_size <= max_size and 1 <= max_size must hold, not {min_size} and {max_size}.")
        if max_per_owner is not None and max_per_owner < 1:
            raise ValueError(f"max_per_owner must be 1 or more, or None, not {max_per_owner}.")
        concurrent_starts = concurrent_starts or min(os.cpu_count() or 1, MOST_STARTS)
        self.min_size = min_size
        self.max_size = max_size
        self.max_per_owner = max_per_owner
        self._spec = spec
        self._backend = backend
        self._acquire_timeout_s = acquire_timeout_s
        self._close_timeout_s = close_timeout_s
        self._changes = Changes()
        self._measured = Measurements()
        self._leases = SandboxLeases(
            self._changes,
            self._measured,
            max_size=max_size,
            max_per_owner=max_per_owner,
            max_waiting=max_waiting,
            concurrent_starts=concurrent_starts,
        )
        self._make_warm_pool = partial(
            WarmPool,
            leases=self._leases,
            changes=self._changes,
            measured=self._measured,
            min_size=min_size,
            max_size=max_size,
            concurrent_starts=concurrent_starts,
            concurrent_removals=concurrent_removals,
            start_timeout_s=start_timeout_s,
            max_idle_s=max_idle_s,
            supervisor=supervisor or Supervisor(),
        )
        self._warm_pool: WarmPool | None = None
        self._tasks: TaskGroup | None = None

    @property
    def backend(self) -> Backend:
        """What runs the sandboxes. Raises `PoolClosed` before the pool was entered."""
        return self._open_warm_pool.backend

    @property
    def spec(self) -> SandboxSpec:
        """What new sandboxes are made of; `replace` changes it."""
        return self._warm_pool.spec if self._warm_pool is not None else self._spec

    @property
    def packages(self) -> tuple[str, ...]:
        """The names of the distributions installed in the sandboxes; empty until the first has started."""
        return self._warm_pool.starts.packages if self._warm_pool is not None else ()

    async def __aenter__(self) -> Self:
        backend = await opened(self._spec, self._backend)
        warm_pool = self._warm_pool = self._make_warm_pool(backend, self._spec)
        self._tasks = await anyio.create_task_group().__aenter__()
        self._tasks.start_soon(warm_pool.run)
        log.info("pool open", backend=backend.name, min_size=self.min_size, max_size=self.max_size)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks, self._tasks = self._tasks, None
        assert tasks is not None
        self._leases.fail(PoolClosed("The sandbox pool is closing."))
        self._changes.notify()
        tasks.cancel_scope.cancel()
        # Any other error of the body is not the task group's, which would wrap it.
        cancelled = error if isinstance(error, anyio.get_cancelled_exc_class()) else None
        try:
            await tasks.__aexit__(type(cancelled) if cancelled else None, cancelled, None)
        finally:
            await self._close(self._open_warm_pool)

    def acquire(self, *, owner: str = "local", timeout_s: float | None = None) -> Acquire:
        """A sandbox that nobody has used yet: `async with pool.acquire() as sandbox:`, or `await` it and `release` it.

        Returns at once, without a call to the backend, if one is warm. Otherwise the owner who has the fewest comes
        first, and among the requests of one owner the oldest. Cancelling it loses no sandbox. Raises `QuotaExceeded`
        if the owner has as many as one may have; `AtCapacity` if too many wait, or after `timeout_s` (None: the
        pool's); the `SandboxError` that makes every start fail; and `PoolClosed`.
        """
        lend = partial(self._lend, owner, self._acquire_timeout_s if timeout_s is None else timeout_s)
        return Acquire(lend, self.release)

    async def release(self, sandbox: Sandbox) -> None:
        """Gives a sandbox back, to be destroyed in the background. Returns at once; idempotent."""
        if sandbox in self._leases and self._tasks is not None:
            self._leases.end(sandbox, used=True)
            self._open_warm_pool.removals.add(sandbox)

    def held_by(self, owner: str) -> int:
        """How many sandboxes this owner has leased or waits for: what `max_per_owner` bounds."""
        return self._leases.of(owner)

    def check_quota(self, owner: str) -> None:
        """Raises the `QuotaExceeded` that an acquire of this owner would get now."""
        self._leases.check_quota(owner)

    async def replace(self, spec: SandboxSpec) -> None:
        """From now on new sandboxes are made of this spec, beginning at once.

        Warm ones of the old spec go as new ones come, and are lent until then where no new one is there; leased
        ones stay until they are released. Raises, and changes nothing, where its image cannot be had.
        """
        supply = self._open_warm_pool
        await supply.backend.prepare(spec, say)
        supply.replace(spec)

    async def drain(self, timeout_s: float) -> bool:
        """Lends and starts no more, and returns when no sandbox is leased any longer: True, or False at the timeout.

        Who waits and who comes gets `PoolClosed`. To be followed by leaving the pool.
        """
        self._open_warm_pool.stopped = True
        self._leases.fail(PoolClosed("The sandbox pool is closing."))
        with anyio.move_on_after(timeout_s):
            await self._until(lambda: len(self._leases) == 0)
        return len(self._leases) == 0

    async def ready(self) -> None:
        """Returns once the minimum is warm or leased. Raises what makes every start fail, or `PoolClosed`."""
        starts = self._open_warm_pool.starts
        await self._until(lambda: self._has_minimum or starts.hopeless)
        if not self._has_minimum and starts.error is not None:
            raise copy(starts.error)

    async def until(self, condition: Callable[[PoolStats], bool]) -> None:
        """Returns once the condition holds; it is asked after each change. Raises `PoolClosed`."""
        await self._until(lambda: condition(self.stats()))

    def stats(self) -> PoolStats:
        measured, warm_pool = self._measured, self._open_warm_pool
        return PoolStats(
            warm=len(warm_pool),
            starting=warm_pool.starts.under_way,
            leased=len(self._leases),
            removing=len(warm_pool.removals),
            target=warm_pool.target,
            waiting=self._leases.waiting,
            hits=measured.hits,
            misses=measured.misses,
            acquire_p50_ms=measured.acquire_ms(50),
            acquire_p95_ms=measured.acquire_ms(95),
            acquire_p99_ms=measured.acquire_ms(99),
            refill_s=measured.refill_s,
            loan_s=measured.loan_s,
            turned_away=measured.turned_away,
            failures=measured.failures,
            last_error=measured.last_error,
        )

    # ---- lending ---------------------------------------------------------------------------------------

    async def _lend(self, owner: str, timeout_s: float) -> Sandbox:
        warm_pool = self._open_warm_pool
        if self._tasks is None or warm_pool.stopped:
            raise PoolClosed("The sandbox pool is not open.")
        began = time.monotonic()
        self._leases.check_quota(owner)
        self._measured.arrived(began)
        sandbox = warm_pool.take()
        hit = sandbox is not None
        if sandbox is None:
            sandbox = await self._wait(warm_pool, owner, timeout_s)
        else:
            self._leases.begin(sandbox, owner)
        waited_s = time.monotonic() - began
        self._measured.acquired(waited_s, hit=hit)
        log.info("sandbox lent", sandbox=sandbox.id, owner=owner, hit=hit, waited_ms=round(waited_s * 1000, 2))
        return sandbox

    async def _wait(self, warm_pool: WarmPool, owner: str, timeout_s: float) -> Sandbox:
        def take_back(sandbox: Sandbox) -> None:
            if self._tasks is not None:
                self._leases.end(sandbox, used=False)
                warm_pool.put(sandbox)

        try:
            return await self._leases.wait(owner, timeout_s, give_back=take_back)
        except TimeoutError:
            if warm_pool.starts.error is not None and len(self._leases) < self.max_size:
                raise copy(warm_pool.starts.error) from None
            in_use = f"{len(self._leases)} of {self.max_size} are in use"
            raise self._leases.at_capacity(f"no sandbox became free within {timeout_s:g} s; {in_use}") from None

    # ---- beginning and end -----------------------------------------------------------------------------

    @property
    def _open_warm_pool(self) -> WarmPool:
        if self._warm_pool is None:
            raise PoolClosed("The sandbox pool is not open.")
        return self._warm_pool

    @property
    def _has_minimum(self) -> bool:
        return len(self._open_warm_pool) + len(self._leases) >= self.min_size

    async def _close(self, warm_pool: WarmPool) -> None:
        sandboxes = {*warm_pool.sandboxes, *self._leases.sandboxes}
        with anyio.move_on_after(self._close_timeout_s, shield=True) as deadline:
            async with anyio.create_task_group() as tasks:
                for sandbox in sandboxes:
                    tasks.start_soon(warm_pool.removals.destroy, sandbox)
        await close(warm_pool.backend, timeout_s=self._close_timeout_s)
        if deadline.cancelled_caught:
            log.warning("pool closed late: some sandboxes may be left", sandboxes=[each.id for each in sandboxes])
        log.info("pool closed", sandboxes=len(sandboxes))

    async def _until(self, condition: Callable[[], bool]) -> None:
        await self._changes.until(lambda: self._tasks is None or condition())
        if self._tasks is None:
            raise PoolClosed("The sandbox pool is not open.")
