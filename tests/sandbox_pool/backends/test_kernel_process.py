"""Processes that become kernels end even if they are cancelled at the worst moment."""

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest
from anyio.lowlevel import checkpoint

from sandbox_pool.backends.shared.kernel_process import KernelProcess
from sandbox_pool.backends.shared.threads import Threads

pytestmark = pytest.mark.anyio

DEADLINE_S = 60


def read_when_written(path: Path) -> list[int]:
    """Blocks the event loop on purpose: the process runs, but nobody connects its pipes."""
    while not path.exists():
        time.sleep(0.01)
    return [int(pid) for pid in path.read_text().split()]


async def test_a_cancelled_spawn_does_not_wait_for_children_that_hold_its_pipes(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"setsid sleep 1000 & echo $$ $! > {pids}.new; mv {pids}.new {pids}; wait"
    threads = Threads("test")
    spawning = asyncio.ensure_future(KernelProcess.spawn(threads, ["sh", "-c", script], dict(os.environ)))
    await checkpoint()
    await checkpoint()
    process, child = read_when_written(pids)
    try:
        spawning.cancel()
        await asyncio.wait({spawning}, timeout=DEADLINE_S)
        assert spawning.cancelled()
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)
    finally:
        os.kill(child, signal.SIGKILL)
        threads.close()
