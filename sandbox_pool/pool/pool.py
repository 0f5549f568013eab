"""The pool: keeps sandboxes warm, leases them to owners in fair order, and destroys them afterwards.

The pool connects demand (`leases`: leased sandboxes and waiting requests) with supply (`warm_pool`: warm sandboxes).
Code that changes their state does not await in the middle of a change, and then wakes the tasks that wait for one.
"""

import os
import time
from collections.abc import Callable, Mapping
from copy import copy
from functools import partial
from types import TracebackType
from typing import Self

import anyio
from anyio.abc import TaskGroup

from sandbox_pool.backends.base import Backend
from sandbox_pool.errors import PoolClosed, QuotaExceeded
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
    """Keeps sandboxes of one spec warm and leases each of them once.

    Enter it with `async with`: that prepares the backend (Docker may build its image, once), and raises
    `EngineUnavailable` or `ImageUnavailable`. On exit, waiting requests fail with `PoolClosed`, and all sandboxes,
    leased ones included, and the backend are closed. Use a pool once, in one event loop; any task may call any method.
    The number of warm sandboxes follows recent demand and the duration of a start.

    Args:
        spec: The settings of the sandboxes.
        backend: Runs the sandboxes. None: Docker if an engine answers, else local processes; the log says why.
        min_size: The minimum number of warm sandboxes, as far as `max_size` allows.
        max_size: The maximum number of warm, starting and leased sandboxes. As many again may be in removal.
        max_per_owner: How many sandboxes one owner may have leased or wait for. None: no limit.
        max_waiting: The maximum number of waiting requests. Beyond it, the owner with the most is refused.
        concurrent_starts: How many start at once. None: one per processor; more do not start sandboxes any faster.
        concurrent_removals: How many are destroyed at once.
        acquire_timeout_s: How long a request waits.
        start_timeout_s: How long a start may take.
        max_idle_s: Replaces a sandbox that was warm for this long, shortened at random by up to a fifth.
        close_timeout_s: How long closing may take.
        warm_memory_mb: How many sandboxes with other amounts of memory are kept warm, within `max_size`.
        supervisor: Runs the pool's tasks and reports failing ones. None: the pool creates its own.
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
        warm_memory_mb: Mapping[int, int] | None = None,
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
            warm_memory_mb=warm_memory_mb,
        )
        self._warm_pool: WarmPool | None = None
        self._others_waiting = 0
        self._tasks: TaskGroup | None = None

    @property
    def backend(self) -> Backend:
        """The backend that runs the sandboxes. Raises `PoolClosed` before the pool was entered."""
        return self._open_warm_pool.backend

    @property
    def spec(self) -> SandboxSpec:
        """The settings of new sandboxes; `replace` changes them."""
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
        # Pass only a cancellation to the task group: it would wrap other errors of the body in a group.
        cancelled = error if isinstance(error, anyio.get_cancelled_exc_class()) else None
        try:
            await tasks.__aexit__(type(cancelled) if cancelled else None, cancelled, None)
        finally:
            await self._close(self._open_warm_pool)

    def acquire(
        self, *, owner: str = "local", timeout_s: float | None = None, spec: SandboxSpec | None = None
    ) -> Acquire:
        """Leases an unused sandbox: `async with pool.acquire() as sandbox:`, or `await` it and `release` it later.

        With a `spec` that is not the pool's, a sandbox is started for this request, unless one of that size is warm; it
        counts like any other.

        Returns at once, without a call to the backend, if one is warm. Otherwise the owner with the fewest leases is
        served first, and of its requests the oldest. Cancelling is safe. Raises `QuotaExceeded` if the owner has its
        maximum; `AtCapacity` if too many requests wait, or after `timeout_s` (None: the pool's); the `SandboxError`
        with which all starts fail; and `PoolClosed`.
        """
        lend = partial(self._lend, owner, self._acquire_timeout_s if timeout_s is None else timeout_s, spec)
        return Acquire(lend, self.release)

    async def release(self, sandbox: Sandbox) -> None:
        """Ends a lease. Returns at once; the sandbox is destroyed in the background. Idempotent."""
        if sandbox in self._leases and self._tasks is not None:
            self._leases.end(sandbox, used=True)
            self._open_warm_pool.removals.add(sandbox)

    def is_cold(self, spec: SandboxSpec) -> bool:
        """Whether no sandbox of this spec is, or is being, kept warm."""
        warm_pool = self._open_warm_pool
        return spec != warm_pool.spec and not warm_pool.sizes.has(spec)

    def held_by(self, owner: str) -> int:
        """How many sandboxes this owner has leased or waits for; `max_per_owner` bounds this number."""
        return self._leases.of(owner)

    def check_quota(self, owner: str) -> None:
        """Raises `QuotaExceeded` if `acquire` would raise it for this owner now."""
        self._leases.check_quota(owner)

    async def prepare(self, spec: SandboxSpec) -> None:
        """Makes the backend ready for `acquire` with this spec, which may have another image.

        Raises `EngineUnavailable` or `ImageUnavailable`.
        """
        await self._open_warm_pool.backend.prepare(spec, say)

    async def replace(self, spec: SandboxSpec) -> None:
        """Changes the settings of new sandboxes, and replaces the warm ones.

        Warm sandboxes of the old spec are removed as new ones become warm; until then they may still be leased. Leased
        ones stay until they are released. If the backend cannot prepare the spec, raises and changes nothing.
        """
        supply = self._open_warm_pool
        await self.prepare(spec)
        supply.replace(spec)

    async def drain(self, timeout_s: float) -> bool:
        """Stops leasing and starting, and waits until all leases have ended. Returns False if that times out.

        Waiting and new requests raise `PoolClosed`. Leave the pool afterwards.
        """
        self._open_warm_pool.stopped = True
        self._leases.fail(PoolClosed("The sandbox pool is closing."))
        with anyio.move_on_after(timeout_s):
            await self._until(lambda: len(self._leases) == 0)
        return len(self._leases) == 0

    def look_for_leftovers(self) -> None:
        """Destroys the sandboxes of servers that have died, in the background; the pool also looks now and then."""
        self._open_warm_pool.removals.reap_soon()

    async def ready(self) -> None:
        """Waits until `min_size` sandboxes are warm or leased. Raises the error of all starts, or `PoolClosed`."""
        starts = self._open_warm_pool.starts
        await self._until(lambda: self._has_minimum or starts.hopeless)
        if not self._has_minimum and starts.error is not None:
            raise copy(starts.error)

    async def until(self, condition: Callable[[PoolStats], bool]) -> None:
        """Waits until the condition holds; checks it after each change of the pool. Raises `PoolClosed`."""
        await self._until(lambda: condition(self.stats()))

    def stats(self) -> PoolStats:
        measured, warm_pool = self._measured, self._open_warm_pool
        return PoolStats(
            warm=len(warm_pool),
            starting=warm_pool.starts.under_way + warm_pool.other_starts.under_way,
            leased=len(self._leases),
            removing=len(warm_pool.removals),
            target=warm_pool.target,
            waiting=self._leases.waiting + self._others_waiting,
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
            other_starting=warm_pool.other_starts.under_way,
            other_leased=sum(each.spec.limits != warm_pool.spec.limits for each in self._leases.sandboxes),
        )

    # ---- leasing ---------------------------------------------------------------------------------------

    async def _lend(self, owner: str, timeout_s: float, spec: SandboxSpec | None) -> Sandbox:
        warm_pool = self._open_warm_pool
        if self._tasks is None or warm_pool.stopped:
            raise PoolClosed("The sandbox pool is not open.")
        began = time.monotonic()
        self._leases.check_quota(owner)
        if spec is not None and spec != warm_pool.spec:
            return await self._lend_another(warm_pool, owner, timeout_s, spec)
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

    async def _lend_another(self, warm_pool: WarmPool, owner: str, timeout_s: float, spec: SandboxSpec) -> Sandbox:
        """Leases a warm sandbox of this spec, or starts one as soon as there is room."""
        if (sandbox := warm_pool.sizes.take(spec)) is not None:
            self._leases.begin(sandbox, owner)
            log.info("sandbox of another size lent", sandbox=sandbox.id, owner=owner)
            return sandbox
        with self._leases.coming(owner):
            sandbox = await self._started_another(warm_pool, timeout_s, spec)
        try:
            self._leases.check_quota(owner)  # Others of the owner may have got one meanwhile.
        except QuotaExceeded:
            warm_pool.removals.add(sandbox)
            raise
        self._leases.begin(sandbox, owner)
        log.info("sandbox of another spec lent", sandbox=sandbox.id, owner=owner)
        return sandbox

    async def _started_another(self, warm_pool: WarmPool, timeout_s: float, spec: SandboxSpec) -> Sandbox:
        self._others_waiting += 1
        self._changes.notify()
        try:
            with anyio.move_on_after(timeout_s) as waiting:
                await self._until(lambda: warm_pool.stopped or warm_pool.may_start_another)
        finally:
            self._others_waiting -= 1
        if waiting.cancelled_caught:
            raise self._leases.at_capacity(f"no sandbox became free within {timeout_s:g} s")
        if warm_pool.stopped:
            raise PoolClosed("The sandbox pool is closing.")
        return await warm_pool.start_another(spec)

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

    # ---- opening and closing ---------------------------------------------------------------------------

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
