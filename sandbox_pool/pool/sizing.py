"""Computes how many sandboxes to keep warm, from recent acquires and from the duration of a start.

A leased sandbox is replaced after one start, or later if more starts are needed than can run at once. The warm
sandboxes must last until then. Independent acquires follow a Poisson distribution, so the mean number of running and
queued starts plus a few standard deviations is nearly always enough (inventory theory calls it a base-stock level).
`python -m benchmarks.sizing` compares this with fixed sizes.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence

__all__ = ["REMEMBERED_S", "target_size"]

WINDOWS_S = (10.0, 60.0, 300.0)
"""The rate is the highest of these windows: the short one follows a burst, the long one remembers it."""
REMEMBERED_S = WINDOWS_S[-1]
"""Acquires older than this do not count."""
DEVIATIONS = 2.33
"""This many standard deviations cover 99 % of a normal distribution."""
MOST_USED = 0.95
"""The utilisation is capped here: the formula's queue grows without bound as it approaches 1."""


def target_size(
    arrivals: Sequence[float], *, now: float, refill_s: float, concurrent_starts: int, min_size: int, max_size: int
) -> int:
    """Returns the number of sandboxes to keep warm, from `min_size` to `max_size`.

    `arrivals` holds the times of recent acquires, oldest first, on the clock of `now`; `refill_s` is how
    long a start takes while `concurrent_starts` run. More arrivals or longer starts never reduce the result. After
    one recent arrival it is at least 1; without any it is `min_size`.
    """
    rate = max((len(arrivals) - bisect_left(arrivals, now - window_s)) / window_s for window_s in WINDOWS_S)
    starting = rate * refill_s
    used = min(starting / concurrent_starts, MOST_USED)
    # Sakasegawa's approximation (1977) of a queue with several servers, halved since all starts take equally long.
    queued: float = used ** math.sqrt(2 * (concurrent_starts + 1)) / (1 - used) / 2
    expected = starting + queued
    return min(max(math.ceil(expected + DEVIATIONS * math.sqrt(expected)), min_size), max_size)
