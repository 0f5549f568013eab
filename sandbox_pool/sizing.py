"""How many sandboxes to keep warm: times of recent acquires and the length of a start enter, a number leaves.

A sandbox taken now is replaced one start later, so what is warm must last for the acquires of one start's
length. Acquires that come independently of each other follow a Poisson distribution; its mean plus a few
deviations is enough nearly always (inventory theory calls it a base-stock level).
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


def target_size(arrivals: Sequence[float], *, now: float, refill_s: float, min_size: int, max_size: int) -> int:
    """The number of sandboxes to keep warm, from `min_size` to `max_size`.

    `arrivals` holds the times of recent acquires, oldest first, on the clock of `now`; `refill_s` is how
    long a start takes. More arrivals, or a longer start, never give fewer. One recent arrival is enough for
    one warm sandbox; with none the target is `min_size`.
    """
    rate = max((len(arrivals) - bisect_left(arrivals, now - window_s)) / window_s for window_s in WINDOWS_S)
    expected = rate * refill_s
    return min(max(math.ceil(expected + DEVIATIONS * math.sqrt(expected)), min_size), max_size)
