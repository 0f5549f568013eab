"""Measures what blocks the event loop of a pool, with the given backend.

Each step of the loop (one callback, one task from await to await) is timed while sandboxes are leased, started and
removed. A step is long for one of three reasons, which Linux distinguishes (getrusage(2), RUSAGE_THREAD):

    waited     it gave up the processor itself: a blocking call, or another thread that had the interpreter
    computed   it used the processor all the time
    preempted  it was ready to run while others had the processor: that is the load of the machine, not ours

    waited_ms_per_start   time lost by waiting in steps over 2 ms, per started sandbox
    waited_max_ms         the longest of these steps
    computed_max_ms       the longest CPU time of one step
    preempted_max_ms      the longest step that was only preempted
    spawn_ms              the mean cost of starting `true` on the loop itself, in the same run
    stall_ratio           waited_ms_per_start / spawn_ms: 2 or more for a backend that starts processes on the loop
    acquire_hit_p50_ms, _p99   as in `bench pool`, under this load
"""

import asyncio
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from asyncio import events
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog

from sandbox_pool import SandboxPool, SandboxSpec
from sandbox_pool.backends.registry import open_backend
from sandbox_pool.percentile import percentile

__all__ = ["measure"]

SIZE = 8
ROUNDS = 4
GAP_S = 0.2
LONG_S = 0.002
SPEC = SandboxSpec(preload=())


@dataclass(frozen=True, slots=True)
class Step:
    """A long step. `gave_way` counts voluntary context switches, `was_put_off` involuntary ones."""

    lasted_s: float
    computed_s: float
    gave_way: int
    was_put_off: int


async def measure(sandbox: str) -> dict[str, float]:
    """Runs for half a minute on two cores. `sandbox` is `process` or `docker`."""
    # Standard output is for the figures.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    hits: list[float] = []
    spawns: list[float] = []
    with tempfile.TemporaryDirectory(prefix="codeact-bench-") as folder:
        say = partial(print, file=sys.stderr)
        opened = await open_backend(sandbox, SPEC, state_dir=Path(folder), progress=say)  # type: ignore[arg-type]
        async with SandboxPool(SPEC, backend=opened.backend, min_size=SIZE, max_size=2 * SIZE) as pool:
            await pool.ready()
            await pool.until(lambda stats: stats.warm >= SIZE)
            with _long_steps() as steps:
                for _ in range(ROUNDS):
                    await _lease_all(pool, hits)
                    await pool.until(lambda stats: stats.warm >= SIZE)
            for _ in range(ROUNDS):
                tasks = asyncio.create_task(_lease_all(pool, []))
                while not tasks.done():
                    spawns.append(_spawn())
                    await asyncio.sleep(GAP_S / 2)
                await pool.until(lambda stats: stats.warm >= SIZE)
    waited = [step.lasted_s - step.computed_s for step in steps if step.gave_way and not step.was_put_off]
    per_start_ms = sum(waited) * 1000 / (ROUNDS * SIZE)
    figures = {
        "waited_ms_per_start": per_start_ms,
        "waited_max_ms": max(waited, default=0) * 1000,
        "computed_max_ms": max((step.computed_s for step in steps), default=0) * 1000,
        "preempted_max_ms": max((step.lasted_s for step in steps if step.was_put_off), default=0) * 1000,
        "spawn_ms": statistics.mean(spawns) * 1000,
        "stall_ratio": per_start_ms / (statistics.mean(spawns) * 1000),
        "acquire_hit_p50_ms": statistics.median(hits) * 1000,
        "acquire_hit_p99_ms": percentile(sorted(hits), 99) * 1000,
    }
    return {name: round(value, 3) for name, value in figures.items()}


@contextmanager
def _long_steps() -> Iterator[list[Step]]:
    """Collects the steps over 2 ms of every asyncio loop until exit."""
    run = events.Handle._run
    steps: list[Step] = []

    def timed(handle: events.Handle) -> None:
        before, began, computed = resource.getrusage(resource.RUSAGE_THREAD), time.perf_counter(), time.thread_time()
        run(handle)
        lasted_s = time.perf_counter() - began
        if lasted_s > LONG_S:
            after = resource.getrusage(resource.RUSAGE_THREAD)
            gave_way, was_put_off = after.ru_nvcsw - before.ru_nvcsw, after.ru_nivcsw - before.ru_nivcsw
            steps.append(Step(lasted_s, time.thread_time() - computed, gave_way, was_put_off))

    setattr(events.Handle, "_run", timed)  # noqa: B010
    try:
        yield steps
    finally:
        setattr(events.Handle, "_run", run)  # noqa: B010


async def _lease_all(pool: SandboxPool, waits_s: list[float]) -> None:
    """Leases as many sandboxes as are warm, one after the other, while others are started and removed."""

    async def lease(began: float) -> None:
        async with pool.acquire():
            waits_s.append(time.perf_counter() - began)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(SIZE):
            tasks.create_task(lease(time.perf_counter()))
            await asyncio.sleep(random.uniform(0, GAP_S))


def _spawn() -> float:
    began = time.perf_counter()
    process = subprocess.Popen(["true"], start_new_session=True)
    lasted_s = time.perf_counter() - began
    process.wait()
    return lasted_s
