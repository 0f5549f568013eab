"""Sandboxes that nobody has yet: demand enters, as many warm ones as it asks for are kept, and leave to be lent."""

import time
from copy import copy

import anyio
from anyio.abc import TaskGroup

from sandbox_pool.backends import Backend, Notice
from sandbox_pool.loans import Loans
from sandbox_pool.logs import Logger
from sandbox_pool.removal import Removals
from sandbox_pool.sandbox import Sandbox
from sandbox_pool.sizing import target_size
from sandbox_pool.spec import SandboxSpec
from sandbox_pool.starting import Starts, jittered
from sandbox_pool.stats import Measurements
from sandbox_pool.waiting import Changes

__all__ = ["Stock"]

log = Logger(__name__)

SHRINK_INTERVAL_S = 10.0


class Stock:
    """Its length is the number of warm sandboxes. `run` is its task; nothing is started before, or after.

    `spec` is what new sandboxes are made of. Its identity tells the warm ones apart: those that were made of
    another object are outdated, be it equal or not.
    """

    def __init__(
        self,
        backend: Backend,
        spec: SandboxSpec,
        loans: Loans,
        changes: Changes,
        measured: Measurements,
        *,
        min_size: int,
        max_size: int,
        concurrent_starts: int,
        concurrent_removals: int,
        start_timeout_s: float,
        max_idle_s: float,
    ) -> None:
        self.backend = backend
        self.spec = spec
        self.stopped = False
        self._loans = loans
        self._changes = changes
        self._measured = measured
        self._min_size = min_size
        self._max_size = max_size
        self._concurrent_starts = concurrent_starts
        self._concurrent_removals = concurrent_removals
        self._max_idle_s = max_idle_s
        self._warm: dict[Sandbox, anyio.CancelScope] = {}
        self._tasks: TaskGroup | None = None
        self.removals = Removals(backend, changes, measured, in_the_way=self._is_hurried)
        self.starts = Starts(backend, changes, measured, timeout_s=start_timeout_s, doubt=self.removals.doubt)

    def __len__(self) -> int:
        return len(self._warm)

    @property
    def sandboxes(self) -> set[Sandbox]:
        return {*self._warm, *self.removals.sandboxes}

    @property
    def target(self) -> int:
        return target_size(
            self._measured.arrivals,
            now=time.monotonic(),
            refill_s=self._measured.refill_s,
            concurrent_starts=self._concurrent_starts,
            min_size=self._min_size,
            max_size=self._max_size,
        )

    async def run(self) -> None:
        """Starts, watches and removes until it is cancelled."""
        async with anyio.create_task_group() as self._tasks:
            for _ in range(self._concurrent_starts):
                self._tasks.start_soon(self._refill)
            for _ in range(self._concurrent_removals):
                self._tasks.start_soon(self.removals.work)
            self._tasks.start_soon(self.removals.reap)
            self._tasks.start_soon(self._shrink)
            self._tasks.start_soon(self.backend.watch, self._notice)

    def take(self) -> Sandbox | None:
        """The one that was warm for longest, of the present spec if there is one."""
        for sandbox in sorted(self._warm, key=self._is_outdated):
            self._warm.pop(sandbox).cancel()
            if sandbox.alive:
                return sandbox
            self._bury(sandbox)
        return None

    def put(self, sandbox: Sandbox) -> None:
        """An unused one: to the first in line, or to the warm ones where nobody waits."""
        if not sandbox.alive:
            self._bury(sandbox)
        elif not self._loans.offer(sandbox):
            scope = self._warm[sandbox] = anyio.CancelScope()
            assert self._tasks is not None
            self._tasks.start_soon(self._watch, sandbox, scope)
            self._retire()
        self._changes.notify()

    def replace(self, spec: SandboxSpec) -> None:
        """From now on sandboxes are made of this spec. Warm ones of another stand in until new ones have come."""
        self.spec = copy(spec)
        log.info("spec replaced", outdated=len(self._warm))
        self._retire()
        self._changes.notify()

    # ---- starting --------------------------------------------------------------------------------------

    async def _refill(self) -> None:
        """One start after the other, as long as one is wanted."""
        while True:
            await self._changes.until(self._wants_start)
            sandbox = await self.starts.one(self.spec)
            if sandbox is not None:
                self.put(sandbox)
                continue
            if self.starts.hopeless and self.starts.error is not None:
                self._loans.fail(self.starts.error)
            await self.starts.pause(is_urgent=lambda: self._loans.waiting > 0)

    def _wants_start(self) -> bool:
        return (
            not self.stopped
            and self._fresh + self.starts.under_way < self.target + self._loans.waiting
            and self._free > 0
            and len(self.removals) < self._max_size
        )

    @property
    def _fresh(self) -> int:
        return sum(not self._is_outdated(sandbox) for sandbox in self._warm)

    @property
    def _free(self) -> int:
        """How many more there may be."""
        return self._max_size - len(self._warm) - self.starts.under_way - len(self._loans)

    def _is_hurried(self) -> bool:
        """Whether the processor is better left to the starts."""
        coming = self.starts.under_way > 0 or self._wants_start()
        return self._loans.waiting > 0 and coming and len(self.removals) < self._max_size

    # ---- going -----------------------------------------------------------------------------------------

    async def _watch(self, sandbox: Sandbox, scope: anyio.CancelScope) -> None:
        """Takes a warm sandbox out when its kernel dies or its time is over; lending it cancels the scope."""
        with scope, anyio.move_on_after(jittered(self._max_idle_s)):
            await sandbox.died()
        if self._warm.get(sandbox) is not scope:
            return
        if sandbox.alive:
            self._let_go(sandbox, "it is old")
        else:
            del self._warm[sandbox]
            self._bury(sandbox)

    def _notice(self, notice: Notice) -> None:
        """What the engine says of a sandbox counts only while that is warm: its user finds out otherwise."""
        if notice.sandbox_id is None:
            self.replace(self.spec)
        for sandbox in list(self._warm):
            if sandbox.id == notice.sandbox_id:
                self._warm.pop(sandbox).cancel()
                self._bury(sandbox, notice.what)

    def _bury(self, sandbox: Sandbox, reason: str | None = None) -> None:
        reason = reason or (sandbox.death.detail if sandbox.death else "It was closed.")
        log.warning("warm sandbox died", sandbox=sandbox.id, reason=reason)
        self._measured.failed(f"A warm sandbox died: {reason}")
        self.removals.add(sandbox)

    def _let_go(self, sandbox: Sandbox, reason: str) -> None:
        self._warm.pop(sandbox).cancel()
        log.info("warm sandbox let go", sandbox=sandbox.id, reason=reason)
        self.removals.add(sandbox)

    def _is_outdated(self, sandbox: Sandbox) -> bool:
        return sandbox.spec is not self.spec

    def _retire(self) -> None:
        """Lets outdated ones go for whom a new one is there, and those that leave no room for a start."""
        outdated = [sandbox for sandbox in self._warm if self._is_outdated(sandbox)]
        missing = max(0, self.target - self._fresh)
        cramped = min(self._concurrent_starts, missing) - self._free - self.starts.under_way
        for sandbox in outdated[: max(0, len(outdated) - missing, cramped)]:
            self._let_go(sandbox, "the spec or the image is another")

    async def _shrink(self) -> None:
        """Lets go of what recent demand no longer asks for."""
        while True:
            await anyio.sleep(SHRINK_INTERVAL_S)
            for sandbox in list(self._warm)[: max(0, len(self._warm) - self.target)]:
                self._let_go(sandbox, "fewer are needed")
