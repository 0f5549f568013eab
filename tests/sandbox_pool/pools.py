"""A real backend whose starts the pool's tests can delay, let fail and observe."""

from collections.abc import Callable
from pathlib import Path

import anyio

from sandbox_pool import Sandbox, SandboxError, SandboxSpec, SandboxStartFailed, Started
from sandbox_pool.backends.process.backend import ProcessBackend
from sandbox_pool.pool.wait_queue import Changes

SPEC = SandboxSpec(preload=())


class Observed(ProcessBackend):
    """Starts local kernels. A start waits for `gate`, raises `fault` if set, and fails while `refusals` is positive."""

    def __init__(self, state_dir: Path) -> None:
        super().__init__(state_dir)
        self.state_dir = state_dir
        self.fault: SandboxError | None = None
        self.refusals = 0
        self.gate = anyio.Event()
        self.gate.set()
        self.reached = anyio.Event()
        self.created: list[str] = []
        self.destroyed: list[str] = []
        self._changes = Changes()

    async def prepare(self, spec: SandboxSpec, progress: Callable[[str], None]) -> None:
        tried = self._isolation is not None
        await super().prepare(spec, progress)
        if not tried:
            # Forget the trial sandbox that `prepare` has started.
            self.created.clear()
            self.destroyed.clear()
            self.reached = anyio.Event()

    async def create(self, sandbox_id: str, spec: SandboxSpec) -> Started:
        self.created.append(sandbox_id)
        self.reached.set()
        await self.gate.wait()
        if self.fault is not None:
            raise self.fault
        if self.refusals:
            self.refusals -= 1
            raise SandboxStartFailed("The kernel did not answer.", sandbox_id=sandbox_id)
        return await super().create(sandbox_id, spec)

    async def destroy(self, sandbox_id: str) -> None:
        await super().destroy(sandbox_id)
        self.destroyed.append(sandbox_id)
        self._changes.notify()

    async def gone(self, sandbox_id: str) -> None:
        await self._changes.until(lambda: sandbox_id in self.destroyed)

    @property
    def directories(self) -> list[Path]:
        """The directories of all sandboxes, each of which is in the directory of its instance."""
        return [path for path in self.state_dir.rglob("*") if path.is_dir() and path.parent.parent == self.state_dir]


async def value_of(sandbox: Sandbox, code: str) -> str:
    outputs, result = await sandbox.run(code)
    assert result.status == "ok", (outputs, result)
    return "".join(getattr(output, "text", "") for output in outputs)
