"""Periods of time, divided into bins, as bounds for queries. Pure."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

__all__ = ["Period", "id_at", "time_of_id"]

MOST_BINS = 90
STEPS_S = (60, 300, 900, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 86_400, 7 * 86_400)


@dataclass(frozen=True, slots=True)
class Period:
    """The time from `since` (inclusive) to `until` (exclusive); `owner` None: the runs of all owners.

    `step_s` sets the width of the bins; None: `bin_s` chooses it.
    """

    since: datetime
    until: datetime
    owner: str | None = None
    step_s: int | None = None

    @property
    def bin_s(self) -> int:
        """The smallest step that gives at most 90 bins.

        Periods longer than 630 days have bins of a week, however many.
        """
        if self.step_s is not None:
            return self.step_s
        length_s = (self.until - self.since).total_seconds()
        return next((step for step in STEPS_S if length_s <= step * MOST_BINS), STEPS_S[-1])

    def start_of(self, time: datetime) -> datetime:
        """The start of the bin that contains this time. Bins are counted from 1970 (UTC)."""
        seconds = int(time.timestamp())
        return datetime.fromtimestamp(seconds - seconds % self.bin_s, UTC)

    def from_whole_bin(self) -> "Period":
        """The same period, extended back to the start of its first bin."""
        return replace(self, since=self.start_of(self.since), step_s=self.bin_s)

    def cut(self, at: datetime) -> tuple["Period", "Period"]:
        """Splits the period at the start of the bin that contains `at`; the first half may be empty.

        The bins stay the same.
        """
        middle = max(self.since, self.start_of(at))
        return replace(self, until=middle, step_s=self.bin_s), replace(self, since=middle, step_s=self.bin_s)

    def starts(self) -> list[datetime]:
        """The starts of all bins. The first and the last bin may be only partly within the period."""
        start, found = self.start_of(self.since), []
        while start < self.until:
            found.append(start)
            start += timedelta(seconds=self.bin_s)
        return found


def id_at(prefix: str, time: datetime) -> str:
    """A bound for ids with this prefix: ids made from `time` on sort after it, earlier ones before it."""
    return f"{prefix}_{int(time.timestamp() * 1000):012x}"


def time_of_id(made: str) -> datetime:
    """When the id was made, in UTC, to the millisecond."""
    return datetime.fromtimestamp(int(made.rpartition("_")[2][:12], 16) / 1000, UTC)
