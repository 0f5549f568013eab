"""How long runs took: sorted seconds by bin and kind of time enter, percentiles leave. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

__all__ = ["PERCENTS", "TIMES", "Spread", "Times", "spreads"]

PERCENTS = (50, 95, 99)
TIMES = ("first_token", "first_output", "total")


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of each of `TIMES`, sorted, by the start of the bin in which the runs began, oldest bin first.

    They are of a `share` of the `runs` of the period, from all over each bin.
    """

    runs: int
    share: float
    bins: Mapping[datetime, Mapping[str, Sequence[float]]]


@dataclass(frozen=True, slots=True)
class Spread:
    """Percentiles (50, 95, 99) in seconds of one time over the `runs` that have it.

    `start` None: of the whole period.
    """

    start: datetime | None
    time: str
    runs: int
    seconds: Mapping[int, float]


def spreads(times: Times) -> list[Spread]:
    """For each time those of each bin, oldest first, then that of the whole period."""
    found = []
    for name in TIMES:
        bins = [(start, values[name]) for start, values in times.bins.items() if values[name]]
        found += [_spread(start, name, values) for start, values in bins]
        if bins:
            found.append(_spread(None, name, sorted(value for _, values in bins for value in values)))
    return found


def _spread(start: datetime | None, name: str, values: Sequence[float]) -> Spread:
    """By nearest rank; `values` are sorted."""
    seconds = {percent: values[math.ceil(len(values) * percent / 100) - 1] for percent in PERCENTS}
    return Spread(start, name, len(values), seconds)
