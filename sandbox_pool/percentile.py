"""Percentiles of measured values."""

import math
from collections.abc import Sequence

__all__ = ["percentile"]


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Returns the smallest value that `percent` of the values do not exceed. `ordered` must be sorted, not empty."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]
