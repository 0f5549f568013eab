"""Computes how many sandboxes to keep warm, from recent acquires and from how long a start takes.

A sandbox taken now is replaced one start later, and where more are taken than can start at once, their starts
queue; what is warm must last until then. Acquires that come independently of each other follow a Poisson
distribution: the mean number of starts under way or queued, plus a few deviations, is enough nearly always
(inventory theory calls it a base-stock level). `python -m benchmarks.sizing` compares it with fixed sizes.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence

__all__ = ["REMEMBERED_S", "target_size"]

WINDOWS_S = (10.0, 60.0, 300.0)
"""The rate is the highest over these: the short one follows a burst, the long one remembers it."""
REMEMBERED_S = WINDOWS_S[-1]
"""Acquires older than this change nothing."""
DEVIATIONS = 2.33
"""As many as 99 of 100 starts need."""
MOST_USED = 0.95
"""The share of what can be started at all, above which a queue is taken to be no longer."""


def target_size(
    arrivals: Sequence[float], *, now: float, refill_s: float, concurrent_starts: int, min_size: int, max_size: int
) -> int:
    """The number of sandboxes to keep warm, from `min_size` to `max_size`.

    `arrivals` holds the times of recent acquires, oldest first, on the clock of `now`; `refill_s` is how
    long a start takes while `concurrent_starts` are under way. More arrivals, or a longer start, never give
    fewer. One recent arrival is enough for one warm sandbox; with none the target is `min_size`.
    """
    rate = max((len(arrivals) - bisect_left(arrivals, now - window_s)) / window_s for window_s in WINDOWS_S)
    starting = rate * refill_s
    used = min(starting / concurrent_starts, MOST_USED)
    # Sakasegawa's approximation (1977) of a queue with several servers; half, as starts are of equal length.
    queued: float = used ** math.sqrt(2 * (concurrent_starts + 1)) / (1 - used) / 2
    expected = starting + queued
    return min(max(math.ceil(expected + DEVIATIONS * math.sqrt(expected)), min_size), max_size)
