"""Compares the pool's sizing with fixed sizes: hit rates and idle sandboxes under simulated traffic.

    python -m benchmarks.sizing

A start takes `REFILL_S`, two run at a time, and every acquired sandbox is replaced. An acquire that finds a warm
sandbox is a hit; the cost is the number of idle warm sandboxes. For each kind of traffic, the cost is compared with
that of the fixed size with the same hit rate, interpolated between two sizes.
"""

import heapq
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from sandbox_pool.pool.sizing import target_size

__all__ = ["TRAFFIC", "Comparison", "Traffic", "compare"]

REFILL_S = 0.5
CONCURRENT_STARTS = 2
SHRINK_INTERVAL_S = 10.0
HOUR_S = 3600.0

Target = Callable[[list[float], float], int]


@dataclass(frozen=True, slots=True)
class Traffic:
    """`rate` gives the acquires per second at a time in seconds; `peak` is its maximum."""

    rate: Callable[[float], float]
    peak: float
    duration_s: float

    def arrivals(self, seed: int) -> list[float]:
        """The times of a Poisson process with this rate."""
        chance, now, times = random.Random(seed), 0.0, []
        while (now := now + chance.expovariate(self.peak)) < self.duration_s:
            if chance.random() < self.rate(now) / self.peak:
                times.append(now)
        return times


TRAFFIC = {
    # One acquire every two seconds.
    "steady": Traffic(lambda now: 0.5, 0.5, 2 * HOUR_S),
    # Two a second for a minute, then nearly none for nine.
    "bursty": Traffic(lambda now: 2.0 if now % 600 < 60 else 0.01, 2.0, 4 * HOUR_S),
    # A quiet night and a busy noon: up to one a second.
    "daily": Traffic(lambda now: math.sin(math.pi * now / (24 * HOUR_S)) ** 4 + 0.001, 1.001, 24 * HOUR_S),
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """`idle` is the mean number of warm sandboxes; `fixed_size` the smallest with at least as many hits."""

    hit_rate: float
    idle: float
    fixed_size: int
    fixed_idle: float


def compare(traffic: Traffic, *, seed: int) -> Comparison:
    arrivals = traffic.arrivals(seed)
    hit_rate, idle = simulate(arrivals, _sized, traffic.duration_s)
    size, below, at = 0, (0.0, 0.0), (0.0, 0.0)
    while at[0] < hit_rate:
        size, below = size + 1, at
        at = simulate(arrivals, partial(_fixed, size), traffic.duration_s)
    share = (hit_rate - below[0]) / (at[0] - below[0])
    return Comparison(hit_rate, idle, size, below[1] + share * (at[1] - below[1]))


def simulate(arrivals: list[float], target: Target, duration_s: float) -> tuple[float, float]:
    """Hit rate and mean number of idle sandboxes of a pool whose target size is `target(arrivals so far, now)`."""
    warm = waiting = hits = 0
    idle_s = now = shrinks_at = 0.0
    starting: list[float] = []
    seen: list[float] = []
    pending = iter([*arrivals, math.inf])
    arrival = next(pending)
    while True:
        event = min(arrival, shrinks_at, starting[0] if starting else math.inf, duration_s)
        idle_s += warm * (event - now)
        now = event
        if now == duration_s:
            return hits / len(arrivals), idle_s / duration_s
        if now == arrival:
            seen.append(now)
            arrival = next(pending)
            hit = warm > 0
            hits, warm, waiting = hits + hit, warm - hit, waiting + (not hit)
        elif now == shrinks_at:
            shrinks_at += SHRINK_INTERVAL_S
            warm = min(warm, target(seen, now))
        else:
            heapq.heappop(starting)
            served = waiting > 0
            waiting, warm = waiting - served, warm + (not served)
        while len(starting) < CONCURRENT_STARTS and warm + len(starting) < target(seen, now) + waiting:
            heapq.heappush(starting, now + REFILL_S)


def _sized(arrivals: list[float], now: float) -> int:
    return target_size(
        arrivals, now=now, refill_s=REFILL_S, concurrent_starts=CONCURRENT_STARTS, min_size=0, max_size=100
    )


def _fixed(size: int, arrivals: list[float], now: float) -> int:
    return size


if __name__ == "__main__":
    print("| traffic | hits | idle | the same hits at a fixed size | idle |\n|---|---|---|---|---|")
    for name, traffic in TRAFFIC.items():
        result = compare(traffic, seed=1)
        print(f"| {name} | {result.hit_rate:.1%} | {result.idle:.2f} | {result.fixed_size} | {result.fixed_idle:.2f} |")
