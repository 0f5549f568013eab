"""Nothing is left over many uses with random faults: no process, container, control group, descriptor, file or socket.

A few cycles find what leaks each time; `make test-long` makes it 500.
"""

import contextlib
import gc
import os
import random
import signal
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import docker
import psutil
import pytest
from anyio import to_thread

from sandbox_pool import Sandbox, SandboxGone, SandboxPool, SandboxSpec, SandboxStartFailed, Started
from sandbox_pool.backends.base import Backend
from sandbox_pool.pool.starting import MAX_FAILURES
from tests.needs import LONG, leaks_of_the_sdk
from tests.sandbox_pool.conftest import make_backend
from tests.sandbox_pool.pools import SPEC, value_of

# First in its process, whose descriptors, threads and children it counts.
pytestmark = [pytest.mark.anyio, pytest.mark.long, pytest.mark.xdist_group("own")]

CYCLES = 500 if LONG else 8
SETTLES_S = 60.0
KILL_KERNEL = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
ORPHAN = "import subprocess; subprocess.Popen(['sleep', '1000'])"
FAULTS = ("none", "kernel dies", "removed", "orphan", "start fails", "cancelled early", "execution cancelled", "closed")


class FailureKind:
    """A backend of which the next `refusals` starts fail."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.refusals = 0

    async def create(self, sandbox_id: str, spec: SandboxSpec) -> Started:
        started = await self.backend.create(sandbox_id, spec)
        if self.refusals:
            self.refusals -= 1
            raise SandboxStartFailed("The kernel did not answer.", sandbox_id=sandbox_id)
        return started

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)

    async def remove_behind_our_back(self, sandbox: Sandbox) -> None:
        """Removes the container, or all processes, as an operator might."""
        if self.name == "docker":
            api = self._prepared.engine.api
            (found,) = api.containers(all=True, filters={"label": f"codeact.sandbox={sandbox.id}"})
            await to_thread.run_sync(lambda: api.remove_container(found["Id"], force=True))
        else:
            os.killpg(self._sandboxes[sandbox.id].process.pid, signal.SIGKILL)


async def one_cycle(pool: SandboxPool, backend: FailureKind, chance: random.Random, fault: str) -> None:
    """One use of a sandbox, with or without a fault."""
    if fault == "start fails":
        backend.refusals = chance.randint(1, 2 * MAX_FAILURES)
    with anyio.CancelScope() as scope, contextlib.suppress(SandboxStartFailed):
        if fault == "cancelled early":
            scope.deadline = anyio.current_time() + chance.uniform(0, 0.5)
        async with pool.acquire(owner=chance.choice("ab")) as sandbox:
            match fault:
                case "kernel dies":
                    await sandbox.run(KILL_KERNEL)
                case "removed":
                    async with sandbox.execute("import time; time.sleep(1000)") as execution:
                        await backend.remove_behind_our_back(sandbox)
                        await execution.ended()
                    assert execution.result.status == "died"
                case "orphan":
                    await sandbox.run(ORPHAN)
                case "execution cancelled":
                    async with sandbox.execute("while True: print('x' * 100)") as execution:
                        async for _ in execution:
                            scope.cancel()
                case "closed":
                    await sandbox.close()
                    with pytest.raises(SandboxGone):
                        sandbox.execute("1")
                case _:
                    assert await value_of(sandbox, "print(1)") == "1\n"


def directories_of(instance: str, state_dir: Path) -> list[Path]:
    """The directories of its sandboxes."""
    return [path for path in state_dir.rglob(f"{instance}/*") if path.is_dir()]


def groups_of(instance: str) -> list[Path]:
    """The control groups of its sandboxes."""
    return list(Path("/sys/fs/cgroup").glob(f"**/codeact-{instance}-*"))


def threads() -> int:
    return sum(not thread.name.startswith("asyncio_") for thread in threading.enumerate())


async def cycles(number: int, kind: str, state_dir: Path) -> str:
    """Opens a pool, uses it so often, two at a time, and closes it. Returns the name of the server instance."""
    backend = FailureKind(await make_backend(kind, state_dir))
    instance = backend._instance.directory.name
    chance = random.Random(number)
    faults = [FAULTS[cycle % len(FAULTS)] for cycle in range(number)]
    chance.shuffle(faults)
    async with SandboxPool(SPEC, backend=backend, min_size=2, max_size=3) as pool:
        for pair in zip(faults[::2], faults[1::2], strict=True):
            async with anyio.create_task_group() as tasks:
                for fault in pair:
                    tasks.start_soon(one_cycle, pool, backend, chance, fault)
        backend.refusals = 0
        await pool.until(lambda stats: stats.warm >= 2 and stats.leased == stats.removing == stats.starting == 0)
        assert len(directories_of(instance, state_dir)) == pool.stats().warm
    return instance


@pytest.mark.timeout(120 + 5 * CYCLES)
@pytest.mark.parametrize("kind", ["process", pytest.param("docker", marks=pytest.mark.docker)])
async def test_nothing_leaks_over_cycles_of_use_with_random_faults(kind: str, tmp_path: Path) -> None:
    us = psutil.Process()
    with leaks_of_the_sdk():
        await cycles(4, kind, tmp_path)
        gc.collect()
        before = us.num_fds(), threads()
        instance = await cycles(CYCLES, kind, tmp_path)
        assert us.children(recursive=True) == []
        assert groups_of(instance) == []
        assert os.listdir(tmp_path / "docker" if kind == "docker" else tmp_path) == []
        gc.collect()
        # Threads of a pool end when they get to it; those of the loop's own stay, and are as many as were ever busy.
        with anyio.move_on_after(SETTLES_S):
            while us.num_fds() > before[0] or threads() > before[1]:  # noqa: ASYNC110
                await anyio.sleep(0.01)
        assert (us.num_fds() <= before[0], threads() <= before[1]) == (True, True), threading.enumerate()
    if kind == "docker":
        with closing(docker.APIClient(version="auto", **docker.utils.kwargs_from_env())) as engine:
            assert engine.containers(all=True, filters={"label": f"codeact.instance={instance}"}) == []
