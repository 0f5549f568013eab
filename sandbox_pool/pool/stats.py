"""Measures a pool: how long acquires and starts take, how many starts fail, and how many acquires are refused."""

import statistics
from collections import deque
from dataclasses import dataclass

from sandbox_pool.percentile import percentile

__all__ = ["Measurements", "PoolStats"]

WAITS_KEPT = 1000
STARTS_KEPT = 20
LOANS_KEPT = 50
ARRIVALS_KEPT = 10_000
FIRST_GUESS_S = 1.0


@dataclass(frozen=True, slots=True)
class PoolStats:
    """A snapshot of a pool: its sandboxes by state, the desired number of warm ones, and the waiting acquires.

    A hit is an acquire that found a warm sandbox. `acquire_p50_ms`, `_p95_ms` and `_p99_ms` are the durations of the
    last 1,000 acquires, hits and misses (None: there were none). `refill_s` is the median duration of recent starts
    and `loan_s` of recent leases. `turned_away` counts acquires that raised `AtCapacity`. `failures` counts failed
    starts, failed removals and warm sandboxes whose kernel died; `last_error` is the message of the last one.
    `other_starting` and `other_leased` are those of `starting` and `leased` that have another size than the pool's.
    """

    warm: int
    starting: int
    leased: int
    removing: int
    target: int
    waiting: int
    hits: int
    misses: int
    acquire_p50_ms: float | None
    acquire_p95_ms: float | None
    acquire_p99_ms: float | None
    refill_s: float
    loan_s: float
    turned_away: int
    failures: int
    last_error: str | None
    other_starting: int = 0
    other_leased: int = 0


class Measurements:
    """The measurements of one pool, in bounded memory."""

    def __init__(self) -> None:
        self.hits = 0
        self.misses = 0
        self.turned_away = 0
        self.failures = 0
        self.last_error: str | None = None
        self.refill_s = FIRST_GUESS_S
        self.loan_s = FIRST_GUESS_S
        self.arrivals: list[float] = []
        self._waits_s: deque[float] = deque(maxlen=WAITS_KEPT)
        self._starts_s: deque[float] = deque(maxlen=STARTS_KEPT)
        self._loans_s: deque[float] = deque(maxlen=LOANS_KEPT)

    def arrived(self, now: float) -> None:
        """Counts an acquire when it begins."""
        if len(self.arrivals) == ARRIVALS_KEPT:
            del self.arrivals[: ARRIVALS_KEPT // 2]
        self.arrivals.append(now)

    def acquired(self, wait_s: float, *, hit: bool) -> None:
        self.hits += hit
        self.misses += not hit
        self._waits_s.append(wait_s)

    def started(self, duration_s: float) -> None:
        self._starts_s.append(duration_s)
        self.refill_s = statistics.median(self._starts_s)

    def returned(self, loan_s: float) -> None:
        """Counts a released sandbox that was leased for `loan_s`."""
        self._loans_s.append(loan_s)
        self.loan_s = statistics.median(self._loans_s)

    def failed(self, reason: str) -> None:
        self.failures += 1
        self.last_error = reason

    def acquire_ms(self, percent: int) -> float | None:
        """Returns a percentile of the recent acquires' durations, or None if there were none."""
        if not self._waits_s:
            return None
        return percentile(sorted(self._waits_s), percent) * 1000
