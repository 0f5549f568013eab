"""Keeps some sandboxes of other sizes warm than most have, each size as many as the operator says."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

import anyio

from sandbox_pool.logs import Logger
from sandbox_pool.pool.starting import jittered
from sandbox_pool.pool.wait_queue import Changes
from sandbox_pool.sandbox.sandbox import Sandbox
from sandbox_pool.spec import SandboxSpec

__all__ = ["WarmSizes"]

log = Logger(__name__)

LOOK_INTERVAL_S = 10.0
PAUSE_S = 5.0


class WarmSizes:
    """The warm sandboxes of other sizes. `len()` is their number. `sizes` maps megabytes to how many are kept.

    Run `keep`. It starts a sandbox with `start`, which returns None if there is no room or the start fails, and gives
    those that are dead, old or of another spec than `spec()` to `discard`, and one after another while `crowded()`.
    """

    def __init__(
        self,
        sizes: Mapping[int, int],
        changes: Changes,
        *,
        spec: Callable[[], SandboxSpec],
        start: Callable[[SandboxSpec], Awaitable[Sandbox | None]],
        discard: Callable[[Sandbox], None],
        crowded: Callable[[], bool],
        max_idle_s: float,
    ) -> None:
        self._sizes = sizes
        self._changes = changes
        self._spec = spec
        self._start = start
        self._discard = discard
        self._crowded = crowded
        self._max_idle_s = max_idle_s
        self._warm: dict[Sandbox, float] = {}

    def __len__(self) -> int:
        return len(self._warm)

    @property
    def sandboxes(self) -> set[Sandbox]:
        return set(self._warm)

    def has(self, spec: SandboxSpec) -> bool:
        """Whether `take` would find one."""
        return any(sandbox.alive and sandbox.spec == spec for sandbox in self._warm)

    def take(self, spec: SandboxSpec) -> Sandbox | None:
        """Removes and returns a living sandbox of this spec; None if there is none."""
        for sandbox in self._warm:
            if sandbox.alive and sandbox.spec == spec:
                del self._warm[sandbox]
                self._changes.notify()
                return sandbox
        return None

    def give_up_one(self) -> bool:
        """Discards one in favour of a sandbox that somebody waits for. Returns False if there is none."""
        for sandbox in self._warm:
            self._drop(sandbox)
            return True
        return False

    async def keep(self) -> None:
        """Replaces what is missing, dead or old, until it is cancelled."""
        while True:
            self._discard_unfit()
            if self._crowded() and self.give_up_one():
                self._changes.notify()
                continue
            missing = self._missing()
            if missing is None:
                with anyio.move_on_after(LOOK_INTERVAL_S):
                    await self._changes.until(lambda: self._missing() is not None or self._has_to_go())
                continue
            sandbox = await self._start(missing)
            if sandbox is None:
                await anyio.sleep(PAUSE_S)
                continue
            self._warm[sandbox] = anyio.current_time() + jittered(self._max_idle_s)
            log.info("sandbox of another size warm", sandbox=sandbox.id, memory_mb=missing.limits.memory_mb)
            self._changes.notify()

    def _has_to_go(self) -> bool:
        return len(self._warm) > 0 and self._crowded()

    def _missing(self) -> SandboxSpec | None:
        """The spec of the next sandbox to start."""
        spec = self._spec()
        for memory_mb, number in self._sizes.items():
            wanted = replace(spec, limits=replace(spec.limits, memory_mb=memory_mb))
            if sum(sandbox.spec == wanted for sandbox in self._warm) < number:
                return wanted
        return None

    def _discard_unfit(self) -> None:
        now, spec = anyio.current_time(), self._spec()
        for sandbox, until in list(self._warm.items()):
            current = replace(spec, limits=replace(spec.limits, memory_mb=sandbox.spec.limits.memory_mb))
            if not sandbox.alive or now > until or sandbox.spec != current:
                self._drop(sandbox)

    def _drop(self, sandbox: Sandbox) -> None:
        del self._warm[sandbox]
        self._discard(sandbox)
