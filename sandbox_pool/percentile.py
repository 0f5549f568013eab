"""Percentiles of measured values."""

import math
from collections.abc import Sequence

__all__ = ["percentile"]


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The value that `percent` of the values do not exceed, by nearest rank. `ordered` is sorted and not empty."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]
