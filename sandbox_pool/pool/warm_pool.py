"""Keeps the number of warm sandboxes at its target: starts them, monitors them and removes them."""

import time
from collections.abc import Mapping
from copy import copy
from functools import partial

import anyio

from sandbox_pool.backends.base import Backend, Notice, claim_of
from sandbox_pool.errors import SandboxStartFailed
from sandbox_pool.logs import Logger
from sandbox_pool.pool.leases import SandboxLeases
from sandbox_pool.pool.sizing import target_size
from sandbox_pool.pool.starting import Starts, jittered
from sandbox_pool.pool.stats import Measurements
from sandbox_pool.pool.teardown import Removals
from sandbox_pool.pool.wait_queue import Changes
from sandbox_pool.pool.warm_sizes import WarmSizes
from sandbox_pool.sandbox.sandbox import Sandbox
from sandbox_pool.spec import SandboxSpec
from sandbox_pool.supervision import Start, Supervisor

__all__ = ["WarmPool"]

log = Logger(__name__)

SHRINK_INTERVAL_S = 10.0
CLAIMS_AT_ONCE = 8


class WarmPool:
    """The warm sandboxes. `len()` is their number. Sandboxes are started only while `run` runs.

    `spec` has the settings of new sandboxes. A warm sandbox whose `spec` is another object, even an equal one, is
    outdated and gets replaced. If the backend's engine keeps warm sandboxes itself, this pool keeps only `min_size` of
    them, whatever the demand, and claims up to `CLAIMS_AT_ONCE` at once.
    """

    def __init__(
        self,
        backend: Backend,
        spec: SandboxSpec,
        leases: SandboxLeases,
        changes: Changes,
        measured: Measurements,
        *,
        min_size: int,
        max_size: int,
        concurrent_starts: int,
        concurrent_removals: int,
        start_timeout_s: float,
        max_idle_s: float,
        supervisor: Supervisor,
        warm_memory_mb: Mapping[int, int] | None = None,
    ) -> None:
        self.backend = backend
        self.spec = spec
        self.stopped = False
        self._leases = leases
        self._changes = changes
        self._measured = measured
        self._min_size = min_size
        self._max_size = max_size
        self._claims = claim_of(backend) is not None
        self._concurrent_starts = max(concurrent_starts, CLAIMS_AT_ONCE) if self._claims else concurrent_starts
        self._concurrent_removals = concurrent_removals
        self._max_idle_s = max_idle_s
        self._warm: dict[Sandbox, anyio.CancelScope] = {}
        self._supervisor = supervisor
        self._start: Start | None = None
        self._watched = 0
        self.removals = Removals(backend, changes, measured, blocks_a_start=self._starts_are_awaited)
        self.starts = Starts(backend, changes, measured, timeout_s=start_timeout_s, doubt=self.removals.doubt)
        self.other_starts = Starts(backend, changes, measured, timeout_s=start_timeout_s, doubt=self.removals.doubt)
        self.sizes = WarmSizes(
            {} if self._claims else warm_memory_mb or {},
            changes,
            spec=lambda: self.spec,
            start=self._start_of_a_size,
            discard=self.removals.add,
            crowded=lambda: self._leases.waiting > 0 and self._free <= 0,
            max_idle_s=max_idle_s,
        )

    def __len__(self) -> int:
        return len(self._warm)

    @property
    def sandboxes(self) -> set[Sandbox]:
        return {*self._warm, *self.sizes.sandboxes, *self.removals.sandboxes}

    @property
    def target(self) -> int:
        if self._claims:
            return self._min_size
        return target_size(
            self._measured.arrivals,
            now=time.monotonic(),
            refill_s=self._measured.refill_s,
            concurrent_starts=self._concurrent_starts,
            min_size=self._min_size,
            max_size=self._max_size,
        )

    async def run(self) -> None:
        """Starts, monitors and removes sandboxes until it is cancelled. A task that fails is restarted alone."""
        async with self._supervisor.tasks() as start:
            self._start = start
            for number in range(self._concurrent_starts):
                start(f"pool starts {number}", self._refill)
            for number in range(self._concurrent_removals):
                start(f"pool removals {number}", self.removals.work)
            start("pool leftovers", self.removals.reap, essential=False)
            start("pool shrinking", self._shrink, essential=False)
            start("pool other sizes", self.sizes.keep, essential=False)
            start("pool engine events", partial(self.backend.watch, self._notice))
            await anyio.sleep_forever()

    def take(self) -> Sandbox | None:
        """Removes and returns the sandbox that was warm longest, if possible one of the current spec."""
        for sandbox in sorted(self._warm, key=self._is_outdated):
            self._warm.pop(sandbox).cancel()
            if sandbox.alive:
                return sandbox
            self._discard_dead(sandbox)
        return None

    def put(self, sandbox: Sandbox) -> None:
        """Leases an unused sandbox to the next waiting request, or keeps it warm if none waits."""
        if not sandbox.alive:
            self._discard_dead(sandbox)
        elif not self._leases.offer(sandbox):
            scope = self._warm[sandbox] = anyio.CancelScope()
            assert self._start is not None
            self._watched += 1
            watch = partial(self._watch, sandbox, scope)
            self._start(f"pool watch of a warm sandbox {self._watched}", watch, ends=True)
            self._retire()
        self._changes.notify()

    def replace(self, spec: SandboxSpec) -> None:
        """Sets the spec of new sandboxes. The warm ones become outdated, and are used until new ones are warm."""
        self.spec = copy(spec)
        log.info("spec replaced", outdated=len(self._warm))
        self._retire()
        self._changes.notify()

    # ---- starting --------------------------------------------------------------------------------------

    async def _refill(self) -> None:
        """Starts one sandbox after another whenever the target or a waiting request needs one."""
        while True:
            await self._changes.until(self._wants_start)
            sandbox = await self.starts.one(self.spec)
            if sandbox is not None:
                self.put(sandbox)
                continue
            if self.starts.hopeless and self.starts.error is not None:
                self._leases.fail(self.starts.error)
            await self.starts.pause(is_urgent=lambda: self._leases.waiting > 0)

    def _wants_start(self) -> bool:
        return (
            not self.stopped
            and self._fresh + self.starts.under_way < self.target + self._leases.waiting
            and self._free > 0
            and len(self.removals) < self._max_size
        )

    @property
    def _fresh(self) -> int:
        return sum(not self._is_outdated(sandbox) for sandbox in self._warm)

    @property
    def _free(self) -> int:
        """How many more sandboxes `max_size` allows."""
        under_way = self.starts.under_way + self.other_starts.under_way
        return self._max_size - len(self._warm) - len(self.sizes) - under_way - len(self._leases)

    @property
    def may_start_another(self) -> bool:
        """Whether `start_another` would find room."""
        return not self.stopped and (self._free > 0 or len(self._warm) > 0 or len(self.sizes) > 0)

    async def start_another(self, spec: SandboxSpec) -> Sandbox:
        """Starts a sandbox of another spec than the warm ones have, in the place of one of those if there is no room.

        Raises the `SandboxError` of the start. Cancelling destroys what was created.
        """
        if self._claims:
            raise SandboxStartFailed("The cluster keeps sandboxes of one size warm, and only those can be had.")
        if self._free <= 0 and not self.sizes.give_up_one():
            self._remove(next(iter(self._warm)), "a sandbox of another size takes its place")
        sandbox = await self.other_starts.one(spec)
        if sandbox is None:
            raise copy(self.other_starts.error or SandboxStartFailed("The sandbox could not start."))
        return sandbox

    async def _start_of_a_size(self, spec: SandboxSpec) -> Sandbox | None:
        """Starts a sandbox to keep warm, if there is room beside the minimum of the usual ones."""
        room = self._free - max(0, self._min_size - len(self._warm) - self.starts.under_way)
        if self.stopped or room <= 0 or self._leases.waiting:
            return None
        return await self.other_starts.one(spec)

    def _starts_are_awaited(self) -> bool:
        """Whether removals should wait because requests wait for starts."""
        coming = self.starts.under_way > 0 or self._wants_start()
        return self._leases.waiting > 0 and coming and len(self.removals) < self._max_size

    # ---- removing --------------------------------------------------------------------------------------

    async def _watch(self, sandbox: Sandbox, scope: anyio.CancelScope) -> None:
        """Removes a warm sandbox when its kernel dies or it gets too old. Leasing it cancels the scope."""
        with scope, anyio.move_on_after(jittered(self._max_idle_s)):
            try:
                await sandbox.died()
            except Exception:
                log.exception("a warm sandbox could not be watched", sandbox=sandbox.id)
        if self._warm.get(sandbox) is not scope:
            return
        if sandbox.alive:
            self._remove(sandbox, "it is old")
        else:
            del self._warm[sandbox]
            self._discard_dead(sandbox)

    def _notice(self, notice: Notice) -> None:
        """Handles an engine event. Removes the sandbox if it is warm; the user of a leased one sees its death."""
        if notice.sandbox_id is None:
            self.replace(self.spec)
        for sandbox in list(self._warm):
            if sandbox.id == notice.sandbox_id:
                self._warm.pop(sandbox).cancel()
                self._discard_dead(sandbox, notice.what)

    def _discard_dead(self, sandbox: Sandbox, reason: str | None = None) -> None:
        reason = reason or (sandbox.death.detail if sandbox.death else "It was closed.")
        log.warning("warm sandbox died", sandbox=sandbox.id, reason=reason)
        self._measured.failed(f"A warm sandbox died: {reason}")
        self.removals.add(sandbox)

    def _remove(self, sandbox: Sandbox, reason: str) -> None:
        self._warm.pop(sandbox).cancel()
        log.info("warm sandbox let go", sandbox=sandbox.id, reason=reason)
        self.removals.add(sandbox)

    def _is_outdated(self, sandbox: Sandbox) -> bool:
        return sandbox.spec is not self.spec

    def _retire(self) -> None:
        """Removes outdated sandboxes that new ones have replaced, and those that leave no room for a start."""
        outdated = [sandbox for sandbox in self._warm if self._is_outdated(sandbox)]
        missing = max(0, self.target - self._fresh)
        cramped = min(self._concurrent_starts, missing) - self._free - self.starts.under_way
        for sandbox in outdated[: max(0, len(outdated) - missing, cramped)]:
            self._remove(sandbox, "the spec or the image is another")

    async def _shrink(self) -> None:
        """Periodically removes the warm sandboxes above the target."""

        while True:
            await anyio.sleep(SHRINK_INTERVAL_S)
            for sandbox in list(self._warm)[: max(0, len(self._warm) - self.target)]:
                self._remove(sandbox, "fewer are needed")
