"""The simulated pool of `benchmarks.scaling_model` behaves as the real one does, over the same arrivals.

The real pool runs on a virtual clock: its event loop skips to the next timer instead of waiting, so an hour takes
seconds. Its sandboxes are stand-ins whose start takes a fixed time.
"""

import asyncio
import random
import selectors
import time
from collections.abc import Mapping
from typing import Any

import anyio
import pytest
import simpy

from benchmarks.scaling_model import PoolModel
from benchmarks.stand_ins import NoBackend, stand_ins
from sandbox_pool import SandboxPool, SandboxSpec
from sandbox_pool.percentile import percentile

START_S, STARTS = 0.7, 2
SIZES = {"min_size": 2, "max_size": 30}


class _Skipping(selectors.DefaultSelector):
    """Instead of waiting, moves the clock on."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000.0

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if not ready and timeout is not None and timeout > 0:
            self.now += timeout
        elif not ready and timeout is None:
            return super().select(None)
        return ready


def demand(traffic: str, seed: int) -> list[tuple[float, float]]:
    """Acquires of an hour: their times, and how long each sandbox is held."""
    chance, now, found = random.Random(seed), 0.0, []
    while now < 3600:
        busy = traffic == "bursty" and now % 600 < 60
        now += chance.expovariate(1.5 if busy else 0.05 if traffic == "bursty" else 0.3)
        found.append((now, chance.expovariate(1 / 20)))
    return found


def real(acquires: list[tuple[float, float]], monkeypatch: pytest.MonkeyPatch) -> Mapping[str, Any]:
    selector = _Skipping()

    waits: list[float] = []

    async def use(pool: SandboxPool, at: float, hold_s: float) -> None:
        await anyio.sleep_until(began + at)
        async with pool.acquire(owner=str(at), timeout_s=10_000):
            waits.append(anyio.current_time() - began - at)
            await anyio.sleep(hold_s)

    async def run() -> Mapping[str, Any]:
        nonlocal began
        options: dict[str, Any] = {"max_waiting": 10_000, "max_idle_s": 1e9, "concurrent_starts": STARTS}
        async with SandboxPool(SandboxSpec(preload=()), backend=NoBackend(), **SIZES, **options) as pool:
            began = anyio.current_time()
            async with anyio.create_task_group() as tasks:
                for at, hold_s in acquires:
                    tasks.start_soon(use, pool, at, hold_s)
            return {"waits": waits, "hits": pool.stats().hits}

    began = 0.0
    with (
        stand_ins(START_S),
        monkeypatch.context() as patched,
        asyncio.Runner(loop_factory=lambda: _loop(selector)) as runner,
    ):
        patched.setattr(time, "monotonic", lambda: selector.now)
        return runner.run(run())


def _loop(selector: _Skipping) -> asyncio.AbstractEventLoop:
    return asyncio.SelectorEventLoop(selector)


def simulated(acquires: list[tuple[float, float]]) -> Mapping[str, Any]:
    env = simpy.Environment()
    pool = PoolModel(env, concurrent_starts=STARTS, refill_s=START_S, **SIZES)

    def use(at: float, hold_s: float) -> Any:
        yield env.timeout(at)
        yield from pool.acquire()
        yield env.timeout(hold_s)
        pool.release()

    for at, hold_s in acquires:
        env.process(use(at, hold_s))
    env.run(until=4 * 3600)
    return {"waits": pool.waits_s, "hits": pool.hits}


@pytest.mark.parametrize("traffic", ["steady", "bursty"])
def test_the_model_of_the_pool_waits_as_the_pool_does(traffic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    acquires = demand(traffic, seed=3)
    found, expected = simulated(acquires), real(acquires, monkeypatch)
    assert len(found["waits"]) == len(expected["waits"]) == len(acquires)
    assert abs(found["hits"] - expected["hits"]) <= 0.03 * len(acquires)
    for percent in (50, 95, 99):
        model, pool = (percentile(sorted(each["waits"]), percent) for each in (found, expected))
        assert abs(model - pool) <= 0.1 + 0.15 * pool, (traffic, percent, model, pool)
