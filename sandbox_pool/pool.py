"""Warm sandboxes: a spec and perhaps a backend enter, sandboxes that run code at once leave, in fair order.

The pool is where demand (`loans`: who has one, who waits) and supply (`stock`: the warm ones) meet. Whatever
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

from sandbox_pool.acquire import Acquire
from sandbox_pool.backends import Backend
from sandbox_pool.errors import PoolClosed
from sandbox_pool.loans import Loans
from sandbox_pool.logs import Logger
from sandbox_pool.opening import close, opened, say
from sandbox_pool.sandbox import Sandbox
from sandbox_pool.spec import SandboxSpec
from sandbox_pool.stats import Measurements, PoolStats
from sandbox_pool.stock import Stock
from sandbox_pool.waiting import Changes

__all__ = ["SandboxPool"]

log = Logger(__name__)

DEFAULT_SPEC = SandboxSpec()
MOST_STARTS = 8


class SandboxPool:
    """Keeps sandboxes of one spec warm and lends each of them once.

    Enter it before use: that prepares the backend (Docker may build its image then, once) and raises
    `EngineUnavailable` or `ImageUnavailable` where it cannot be. Leaving it fails those who wait with
    `PoolClosed`, destroys every sandbox, also those on loan, within `close_timeout_s`, and closes the backend,
    also one that was given: it is the pool's. Once; for one event loop, any of whose tasks may call any method.

    Without a `backend` it takes Docker where an engine answers, else local processes, and logs which and why.

    `max_size` bounds the sandboxes that are warm, starting or on loan; up to as many again may be on their
    way out. As many as recent demand and the length of a start suggest are kept warm (`sizing`), at least
    `min_size` where `max_size` leaves room; with `min_size=0` an idle pool is empty. `concurrent_starts` is
    by default one for each processor: with more, each is slower and the whole is no faster. A sandbox that
    nobody took for `max_idle_s` (jittered, so that they do not go together) is replaced; one that died, at once.

    `max_per_owner` bounds what one owner has on loan or waits for (None: nothing does). At most `max_waiting`
    wait: then those are turned away whose owner waits most.
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
        self._loans = Loans(
            self._changes,
            self._measured,
            max_size=max_size,
            max_per_owner=max_per_owner,
            max_waiting=max_waiting,
            concurrent_starts=concurrent_starts,
        )
        self._make_stock = partial(
            Stock,
            loans=self._loans,
            changes=self._changes,
            measured=self._measured,
            min_size=min_size,
            max_size=max_size,
            concurrent_starts=concurrent_starts,
            concurrent_removals=concurrent_removals,
            start_timeout_s=start_timeout_s,
            max_idle_s=max_idle_s,
        )
        self._stock: Stock | None = None
        self._tasks: TaskGroup | None = None

    @property
    def backend(self) -> Backend:
        """What runs the sandboxes. Raises `PoolClosed` before the pool was entered."""
        return self._supply.backend

    @property
    def spec(self) -> SandboxSpec:
        """What new sandboxes are made of; `replace` changes it."""
        return self._stock.spec if self._stock is not None else self._spec

    async def __aenter__(self) -> Self:
        backend = await opened(self._spec, self._backend)
        stock = self._stock = self._make_stock(backend, self._spec)
        self._tasks = await anyio.create_task_group().__aenter__()
        self._tasks.start_soon(stock.run)
        log.info("pool open", backend=backend.name, min_size=self.min_size, max_size=self.max_size)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks, self._tasks = self._tasks, None
        assert tasks is not None
        self._loans.fail(PoolClosed("The sandbox pool is closing."))
        self._changes.notify()
        tasks.cancel_scope.cancel()
        # Any other error of the body is not the task group's, which would wrap it.
        cancelled = error if isinstance(error, anyio.get_cancelled_exc_class()) else None
        try:
            await tasks.__aexit__(type(cancelled) if cancelled else None, cancelled, None)
        finally:
            await self._close(self._supply)

    def acquire(self, *, owner: str = "local", timeout_s: float | None = None) -> Acquire:
        """A sandbox nobody has used: `async with pool.acquire() as sandbox:`, or `await` it and `release` it.

        Comes back at once, without a call to the backend, where one is warm. Else the owner who has the fewest
        comes first, and among requests of one owner the oldest. Raises `QuotaExceeded` at once when the owner
        has as many as an owner may have; `AtCapacity` when too many wait, or after `timeout_s` (None: the
        pool's); what makes every start fail; or `PoolClosed`. Cancelling it loses no sandbox.
        """
        lend = partial(self._lend, owner, self._acquire_timeout_s if timeout_s is None else timeout_s)
        return Acquire(lend, self.release)

    async def release(self, sandbox: Sandbox) -> None:
        """Gives a sandbox back, to be destroyed in the background. Returns at once; idempotent."""
        if sandbox in self._loans and self._tasks is not None:
            self._loans.end(sandbox, used=True)
            self._supply.removals.add(sandbox)

    def held_by(self, owner: str) -> int:
        """How many sandboxes this owner has on loan or waits for: what `max_per_owner` bounds."""
        return self._loans.of(owner)

    def check_quota(self, owner: str) -> None:
        """Raises the `QuotaExceeded` that an acquire of this owner would get now."""
        self._loans.check_quota(owner)

    async def replace(self, spec: SandboxSpec) -> None:
        """From now on new sandboxes are made of this spec, beginning at once.

        Warm ones of the old spec go as new ones come, and are lent until then where no new one is there; those
        on loan stay until they are released. Raises, and changes nothing, where its image cannot be had.
        """
        supply = self._supply
        await supply.backend.prepare(spec, say)
        supply.replace(spec)

    async def drain(self, timeout_s: float) -> bool:
        """Lends and starts no more, and returns when nothing is on loan any longer: True, or False at the timeout.

        Who waits and who comes gets `PoolClosed`. To be followed by leaving the pool.
        """
        self._supply.stopped = True
        self._loans.fail(PoolClosed("The sandbox pool is closing."))
        with anyio.move_on_after(timeout_s):
            await self._until(lambda: len(self._loans) == 0)
        return len(self._loans) == 0

    async def ready(self) -> None:
        """Returns once the minimum is warm or on loan. Raises what makes every start fail, or `PoolClosed`."""
        starts = self._supply.starts
        await self._until(lambda: self._has_minimum or starts.hopeless)
        if not self._has_minimum and starts.error is not None:
            raise copy(starts.error)

    async def until(self, condition: Callable[[PoolStats], bool]) -> None:
        """Returns once the condition holds; it is asked after each change. Raises `PoolClosed`."""
        await self._until(lambda: condition(self.stats()))

    def stats(self) -> PoolStats:
        measured, stock = self._measured, self._supply
        return PoolStats(
            warm=len(stock),
            starting=stock.starts.under_way,
            leased=len(self._loans),
            removing=len(stock.removals),
            target=stock.target,
            waiting=self._loans.waiting,
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
        stock = self._supply
        if self._tasks is None or stock.stopped:
            raise PoolClosed("The sandbox pool is not open.")
        began = time.monotonic()
        self._loans.check_quota(owner)
        self._measured.arrived(began)
        sandbox = stock.take()
        hit = sandbox is not None
        if sandbox is None:
            sandbox = await self._wait(stock, owner, timeout_s)
        else:
            self._loans.begin(sandbox, owner)
        waited_s = time.monotonic() - began
        self._measured.acquired(waited_s, hit=hit)
        log.info("sandbox lent", sandbox=sandbox.id, owner=owner, hit=hit, waited_ms=round(waited_s * 1000, 2))
        return sandbox

    async def _wait(self, stock: Stock, owner: str, timeout_s: float) -> Sandbox:
        def take_back(sandbox: Sandbox) -> None:
            if self._tasks is not None:
                self._loans.end(sandbox, used=False)
                stock.put(sandbox)

        try:
            return await self._loans.wait(owner, timeout_s, give_back=take_back)
        except TimeoutError:
            if stock.starts.error is not None and len(self._loans) < self.max_size:
                raise copy(stock.starts.error) from None
            in_use = f"{len(self._loans)} of {self.max_size} are in use"
            raise self._loans.at_capacity(f"no sandbox became free within {timeout_s:g} s; {in_use}") from None

    # ---- beginning and end -----------------------------------------------------------------------------

    @property
    def _supply(self) -> Stock:
        if self._stock is None:
            raise PoolClosed("The sandbox pool is not open.")
        return self._stock

    @property
    def _has_minimum(self) -> bool:
        return len(self._supply) + len(self._loans) >= self.min_size

    async def _close(self, stock: Stock) -> None:
        sandboxes = {*stock.sandboxes, *self._loans.sandboxes}
        with anyio.move_on_after(self._close_timeout_s, shield=True) as deadline:
            async with anyio.create_task_group() as tasks:
                for sandbox in sandboxes:
                    tasks.start_soon(stock.removals.destroy, sandbox)
        await close(stock.backend, timeout_s=self._close_timeout_s)
        if deadline.cancelled_caught:
            log.warning("pool closed late: some sandboxes may be left", sandboxes=[each.id for each in sandboxes])
        log.info("pool closed", sandboxes=len(sandboxes))

    async def _until(self, condition: Callable[[], bool]) -> None:
        await self._changes.until(lambda: self._tasks is None or condition())
        if self._tasks is None:
            raise PoolClosed("The sandbox pool is not open.")
