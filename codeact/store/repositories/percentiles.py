"""Percentiles of how long runs took, by time and kind. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sandbox_pool.percentile import percentile

__all__ = ["PERCENTS", "TIMES", "Percentiles", "Times", "percentiles_of"]

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
class Percentiles:
    """Percentiles (50, 95, 99) in seconds of one time over the `runs` that have it.

    `start` None: of the whole period.
    """

    start: datetime | None
    time: str
    runs: int
    seconds: Mapping[int, float]


def percentiles_of(times: Times) -> list[Percentiles]:
    """For each time those of each bin, oldest first, then that of the whole period."""
    found = []
    for name in TIMES:
        bins = [(start, values[name]) for start, values in times.bins.items() if values[name]]
        found += [_percentiles(start, name, values) for start, values in bins]
        if bins:
            found.append(_percentiles(None, name, sorted(value for _, values in bins for value in values)))
    return found


def _percentiles(start: datetime | None, name: str, values: Sequence[float]) -> Percentiles:
    """By nearest rank; `values` are sorted."""
    seconds = {percent: percentile(values, percent) for percent in PERCENTS}
    return Percentiles(start, name, len(values), seconds)
