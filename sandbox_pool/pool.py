"""Warm sandboxes: a backend and a spec enter, sandboxes that run code at once leave, in the order asked for.

Whatever changes the pool's state does so between two awaits and then wakes the tasks that wait for a change:
those that start sandboxes (`starting`), those that remove them (`removal`), the acquires in line (`waiting`).
"""

import time
from collections.abc import Callable, Generator
from contextlib import AbstractAsyncContextManager
from copy import copy
from types import TracebackType
from typing import Any, Self

import anyio
import structlog
from anyio.abc import TaskGroup

from sandbox_pool.backends import Backend
from sandbox_pool.errors import AtCapacity, PoolClosed
from sandbox_pool.removal import Removals
from sandbox_pool.sandbox import Sandbox
from sandbox_pool.sizing import target_size
from sandbox_pool.spec import SandboxSpec
from sandbox_pool.starting import Starts, jittered
from sandbox_pool.stats import Measurements, PoolStats
from sandbox_pool.waiting import Changes, Line

__all__ = ["Acquire", "SandboxPool"]

log = structlog.get_logger(__name__)

SHRINK_INTERVAL_S = 10.0


class Acquire(AbstractAsyncContextManager[Sandbox]):
    """An acquire that has not begun: `await` it, or enter it to have the sandbox released at the end. Once."""

    def __init__(self, pool: "SandboxPool", owner: str, timeout_s: float) -> None:
        self._pool = pool
        self._owner = owner
        self._timeout_s = timeout_s
        self._sandbox: Sandbox | None = None

    def __await__(self) -> Generator[Any, None, Sandbox]:
        return self._pool._lend(self._owner, self._timeout_s).__await__()

    async def __aenter__(self) -> Sandbox:
        self._sandbox = await self
        return self._sandbox

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._sandbox is not None
        await self._pool.release(self._sandbox)


class SandboxPool:
    """Keeps sandboxes of one spec warm and lends each of them once.

    Enter it before use. Leaving it fails those who wait with `PoolClosed`, destroys every sandbox, also
    those on loan, within `close_timeout_s`, and closes the backend: it is the pool's. For one event loop; any
    of its tasks may call any method.

    `max_size` bounds the sandboxes that are warm, starting or on loan; up to as many again may be on their
    way out. As many as recent demand and the length of a start suggest are kept warm (`sizing`), at least
    `min_size` where `max_size` leaves room; with `min_size=0` an idle pool is empty. Two starts at once
    already use two cores fully: with more, each is slower and the whole is no faster. A sandbox that nobody
    took for `max_idle_s` (jittered, so that they do not go together) is replaced; one that died, at once.
    """

    def __init__(
        self,
        backend: Backend,
        spec: SandboxSpec,
        *,
        min_size: int = 2,
        max_size: int = 16,
        max_waiting: int = 100,
        concurrent_starts: int = 2,
        concurrent_removals: int = 2,
        acquire_timeout_s: float = 60.0,
        start_timeout_s: float = 60.0,
        max_idle_s: float = 3600.0,
        close_timeout_s: float = 30.0,
    ) -> None:
        if not 0 <= min_size <= max_size or max_size < 1:
            raise ValueError(f"0 <= min_size <= max_size and 1 <= max_size must hold, not {min_size} and {max_size}.")
        self.backend = backend
        self.spec = spec
        self.min_size = min_size
        self.max_size = max_size
        self._max_waiting = max_waiting
        self._concurrent_starts = concurrent_starts
        self._concurrent_removals = concurrent_removals
        self._acquire_timeout_s = acquire_timeout_s
        self._max_idle_s = max_idle_s
        self._close_timeout_s = close_timeout_s
        self._tasks: TaskGroup | None = None
        self._changes = Changes()
        self._line: Line[Sandbox] = Line(self._changes)
        self._measured = Measurements()
        self._removals = Removals(backend, self._changes, self._measured, in_the_way=self._is_hurried)
        self._starts = Starts(
            backend, spec, self._changes, self._measured, timeout_s=start_timeout_s, doubt=self._removals.doubt
        )
        self._warm: dict[Sandbox, anyio.CancelScope] = {}
        self._leased: set[Sandbox] = set()

    async def __aenter__(self) -> Self:
        self._tasks = await anyio.create_task_group().__aenter__()
        for _ in range(self._concurrent_starts):
            self._tasks.start_soon(self._refill)
        for _ in range(self._concurrent_removals):
            self._tasks.start_soon(self._removals.work)
        self._tasks.start_soon(self._removals.reap)
        self._tasks.start_soon(self._shrink)
        log.info("pool open", backend=self.backend.name, min_size=self.min_size, max_size=self.max_size)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks, self._tasks = self._tasks, None
        assert tasks is not None
        self._line.fail(PoolClosed("The sandbox pool is closing."))
        tasks.cancel_scope.cancel()
        # Any other error of the body is not the task group's, which would wrap it.
        cancelled = error if isinstance(error, anyio.get_cancelled_exc_class()) else None
        try:
            await tasks.__aexit__(type(cancelled) if cancelled else None, cancelled, None)
        finally:
            await self._close()

    def acquire(self, *, owner: str = "local", timeout_s: float | None = None) -> "Acquire":
        """A sandbox nobody has used: `async with pool.acquire() as sandbox:`, or `await` it and `release` it.

        Comes back at once, without a call to the backend, where one is warm; else first come, first served.
        Raises `AtCapacity` when too many wait or after `timeout_s` (None: the pool's), what makes every
        start fail, or `PoolClosed`. Cancelling it loses no sandbox.
        """
        return Acquire(self, owner, self._acquire_timeout_s if timeout_s is None else timeout_s)

    async def release(self, sandbox: Sandbox) -> None:
        """Gives a sandbox back, to be destroyed in the background. Returns at once; idempotent."""
        if sandbox in self._leased and self._tasks is not None:
            self._leased.remove(sandbox)
            self._removals.add(sandbox)

    async def ready(self) -> None:
        """Returns once the minimum is warm or on loan. Raises what makes every start fail, or `PoolClosed`."""
        await self._until(lambda: self._has_minimum or self._starts.hopeless)
        if not self._has_minimum and self._starts.error is not None:
            raise copy(self._starts.error)

    async def until(self, condition: Callable[[PoolStats], bool]) -> None:
        """Returns once the condition holds; it is asked after each change. Raises `PoolClosed`."""
        await self._until(lambda: condition(self.stats()))

    def stats(self) -> PoolStats:
        measured = self._measured
        return PoolStats(
            warm=len(self._warm),
            starting=self._starts.under_way,
            leased=len(self._leased),
            removing=len(self._removals),
            target=self._target(),
            waiting=len(self._line),
            hits=measured.hits,
            misses=measured.misses,
            acquire_p50_ms=measured.acquire_ms(50),
            acquire_p99_ms=measured.acquire_ms(99),
            refill_s=measured.refill_s,
            failures=measured.failures,
            last_error=measured.last_error,
        )

    # ---- lending ---------------------------------------------------------------------------------------

    async def _lend(self, owner: str, timeout_s: float) -> Sandbox:
        if self._tasks is None:
            raise PoolClosed("The sandbox pool is not open.")
        began = time.monotonic()
        self._measured.arrived(began)
        sandbox = self._take_warm()
        hit = sandbox is not None
        if sandbox is None:
            sandbox = await self._wait_in_line(timeout_s)
        waited_s = time.monotonic() - began
        self._measured.acquired(waited_s, hit=hit)
        log.info("sandbox lent", sandbox=sandbox.id, owner=owner, hit=hit, waited_ms=round(waited_s * 1000, 2))
        return sandbox

    def _take_warm(self) -> Sandbox | None:
        """The one that was warm for longest."""
        while self._warm:
            sandbox = next(iter(self._warm))
            self._warm.pop(sandbox).cancel()
            if sandbox.alive:
                self._leased.add(sandbox)
                self._changes.notify()
                return sandbox
            self._bury(sandbox)
        return None

    async def _wait_in_line(self, timeout_s: float) -> Sandbox:
        if len(self._line) >= self._max_waiting:
            raise self._at_capacity(f"{len(self._line)} requests wait for a sandbox already")
        try:
            return await self._line.wait(timeout_s, give_back=self._take_back)
        except TimeoutError:
            if self._starts.error is not None and len(self._leased) < self.max_size:
                raise copy(self._starts.error) from None
            in_use = f"{len(self._leased)} of {self.max_size} are in use"
            raise self._at_capacity(f"no sandbox became free within {timeout_s:g} s; {in_use}") from None

    def _at_capacity(self, reason: str) -> AtCapacity:
        log.warning("at capacity", reason=reason, leased=len(self._leased), waiting=len(self._line))
        queue_s = self._measured.refill_s * len(self._line) / self._concurrent_starts
        return AtCapacity(
            f"At capacity: {reason}. Try again later, or raise the pool's maximum.", retry_after_s=max(1.0, queue_s)
        )

    def _take_back(self, sandbox: Sandbox) -> None:
        """Lent to an acquire that was cancelled before it could return."""
        if self._tasks is not None:
            self._leased.remove(sandbox)
            self._hand_out(sandbox)

    def _hand_out(self, sandbox: Sandbox) -> None:
        """To the first in line, or to the warm ones where nobody waits."""
        if not sandbox.alive:
            self._bury(sandbox)
        elif self._line:
            self._leased.add(sandbox)
            self._line.serve(sandbox)
        else:
            scope = self._warm[sandbox] = anyio.CancelScope()
            if self._tasks is not None:
                self._tasks.start_soon(self._watch, sandbox, scope)
            self._changes.notify()

    # ---- starting --------------------------------------------------------------------------------------

    async def _refill(self) -> None:
        """One start after the other, as long as one is wanted."""
        while True:
            await self._changes.until(self._wants_start)
            sandbox = await self._starts.one()
            if sandbox is not None:
                self._hand_out(sandbox)
                continue
            if self._starts.hopeless and self._starts.error is not None:
                self._line.fail(self._starts.error)
            await self._starts.pause(is_urgent=lambda: bool(self._line))

    def _wants_start(self) -> bool:
        coming = len(self._warm) + self._starts.under_way
        return (
            coming < self._target() + len(self._line)
            and coming + len(self._leased) < self.max_size
            and len(self._removals) < self.max_size
        )

    @property
    def _has_minimum(self) -> bool:
        return len(self._warm) + len(self._leased) >= self.min_size

    def _is_hurried(self) -> bool:
        """Whether the processor is better left to the starts."""
        return bool(self._line) and len(self._removals) < self.max_size

    def _target(self) -> int:
        return target_size(
            self._measured.arrivals,
            now=time.monotonic(),
            refill_s=self._measured.refill_s,
            min_size=self.min_size,
            max_size=self.max_size,
        )

    # ---- going -----------------------------------------------------------------------------------------

    async def _watch(self, sandbox: Sandbox, scope: anyio.CancelScope) -> None:
        """Takes a warm sandbox out when its kernel dies or its time is over; lending it cancels the scope."""
        with scope, anyio.move_on_after(jittered(self._max_idle_s)):
            await sandbox.died()
        if self._warm.get(sandbox) is not scope:
            return
        del self._warm[sandbox]
        if sandbox.alive:
            log.info("sandbox aged out", sandbox=sandbox.id)
            self._removals.add(sandbox)
        else:
            self._bury(sandbox)

    def _bury(self, sandbox: Sandbox) -> None:
        reason = sandbox.death.detail if sandbox.death else "It was closed."
        log.warning("warm sandbox died", sandbox=sandbox.id, reason=reason)
        self._measured.failed(f"A warm sandbox died: {reason}")
        self._removals.add(sandbox)

    async def _shrink(self) -> None:
        """Lets go of what recent demand no longer asks for."""
        while True:
            await anyio.sleep(SHRINK_INTERVAL_S)
            for sandbox in list(self._warm)[: max(0, len(self._warm) - self._target())]:
                self._warm.pop(sandbox).cancel()
                log.info("sandbox no longer needed", sandbox=sandbox.id)
                self._removals.add(sandbox)

    async def _close(self) -> None:
        sandboxes = {*self._warm, *self._leased, *self._removals.sandboxes}
        with anyio.move_on_after(self._close_timeout_s, shield=True) as deadline:
            async with anyio.create_task_group() as tasks:
                for sandbox in sandboxes:
                    tasks.start_soon(self._removals.destroy, sandbox)
        with anyio.move_on_after(self._close_timeout_s, shield=True):
            await self.backend.close()
        if deadline.cancelled_caught:
            log.warning("pool closed late: some sandboxes may be left", sandboxes=[each.id for each in sandboxes])
        log.info("pool closed", sandboxes=len(sandboxes))

    async def _until(self, condition: Callable[[], bool]) -> None:
        await self._changes.until(lambda: self._tasks is None or condition())
        if self._tasks is None:
            raise PoolClosed("The sandbox pool is not open.")
