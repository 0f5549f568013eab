"""Periods of time, cut into bins, as bounds for queries. Pure."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

__all__ = ["Period", "id_at", "time_of_id"]

MOST_BINS = 90
STEPS_S = (60, 300, 900, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 86_400, 7 * 86_400)


@dataclass(frozen=True, slots=True)
class Period:
    """From `since` up to, not including, `until`; `owner` None: everybody's runs.

    `step_s` is how wide its bins are, where something else decides that.
    """

    since: datetime
    until: datetime
    owner: str | None = None
    step_s: int | None = None

    @property
    def bin_s(self) -> int:
        """The finest step that gives at most 90 bins; beyond 630 days whole weeks, however many."""
        if self.step_s is not None:
            return self.step_s
        length_s = (self.until - self.since).total_seconds()
        return next((step for step in STEPS_S if length_s <= step * MOST_BINS), STEPS_S[-1])

    def start_of(self, time: datetime) -> datetime:
        """Where the bin of this time begins, counted from 1970 (UTC)."""
        seconds = int(time.timestamp())
        return datetime.fromtimestamp(seconds - seconds % self.bin_s, UTC)

    def from_whole_bin(self) -> "Period":
        """The same, from where its first bin begins."""
        return replace(self, since=self.start_of(self.since), step_s=self.bin_s)

    def cut(self, at: datetime) -> tuple["Period", "Period"]:
        """What is before the bin that `at` falls into, which may be nothing, and the rest; in the same bins."""
        middle = max(self.since, self.start_of(at))
        return replace(self, until=middle, step_s=self.bin_s), replace(self, since=middle, step_s=self.bin_s)

    def starts(self) -> list[datetime]:
        """The beginnings of all bins; the first and the last bin may lie in the period only partly."""
        start, found = self.start_of(self.since), []
        while start < self.until:
            found.append(start)
            start += timedelta(seconds=self.bin_s)
        return found


def id_at(prefix: str, time: datetime) -> str:
    """What every id of this prefix that is made from that time on sorts after, and no earlier one."""
    return f"{prefix}_{int(time.timestamp() * 1000):012x}"


def time_of_id(made: str) -> datetime:
    """When the id was made, to the millisecond."""
    return datetime.fromtimestamp(int(made.rpartition("_")[2][:12], 16) / 1000, UTC)
