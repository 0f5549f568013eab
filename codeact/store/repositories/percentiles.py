"""Percentiles of run times, by bin and kind of time. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sandbox_pool.percentile import percentile

__all__ = ["PERCENTS", "TIMES", "Percentiles", "Times", "percentiles_of"]

PERCENTS = (50, 95, 99)
TIMES = ("first_token", "first_output", "total")


@dataclass(frozen=True, slots=True)
class Times:
    """Sorted seconds for each of `TIMES`, by the start of the bin in which the runs began, oldest bin first.

    They are a sample: this `share` of the `runs` in the period, spread over each bin.
    """

    runs: int
    share: float
    bins: Mapping[datetime, Mapping[str, Sequence[float]]]


@dataclass(frozen=True, slots=True)
class Percentiles:
    """The 50th, 95th and 99th percentile, in seconds, of one time over the `runs` that have it.

    `start` None: over the whole period.
    """

    start: datetime | None
    time: str
    runs: int
    seconds: Mapping[int, float]


def percentiles_of(times: Times) -> list[Percentiles]:
    """For each kind of time, the percentiles of each bin, oldest first, and then those of the whole period."""
    found = []
    for name in TIMES:
        bins = [(start, values[name]) for start, values in times.bins.items() if values[name]]
        found += [_percentiles(start, name, values) for start, values in bins]
        if bins:
            found.append(_percentiles(None, name, sorted(value for _, values in bins for value in values)))
    return found


def _percentiles(start: datetime | None, name: str, values: Sequence[float]) -> Percentiles:
    """Percentiles by nearest rank; `values` must be sorted."""
    seconds = {percent: percentile(values, percent) for percent in PERCENTS}
    return Percentiles(start, name, len(values), seconds)
