"""How sure a result is: intervals for a share of successes, and whether two runs differ by more than noise."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from codeact.evals.record import Attempt, by_task

__all__ = ["Difference", "Share", "difference", "share"]

MOST_NAMED = 20
"""How many setups a note names."""
Z = 1.959963984540054
"""Of the normal distribution: 95 % lie within this many standard deviations."""


@dataclass(frozen=True, slots=True)
class Share:
    """Successes of attempts, with the bounds of a 95 % interval (Wilson's)."""

    passed: int
    total: int

    @property
    def value(self) -> float:
        return self.passed / self.total if self.total else 0.0

    @property
    def bounds(self) -> tuple[float, float]:
        """Wilson's interval, which also holds for few attempts and for shares near 0 and 1 (Wilson, 1927)."""
        if not self.total:
            return 0.0, 1.0
        n, p = self.total, self.value
        centre = (p + Z * Z / (2 * n)) / (1 + Z * Z / n)
        half = Z / (1 + Z * Z / n) * math.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n))
        return max(0.0, centre - half), min(1.0, centre + half)


@dataclass(frozen=True, slots=True)
class Difference:
    """Two runs over the same tasks: `before` and `after` are the attempts that are compared.

    `p` is the probability of such a difference in success, or a larger one, by chance alone. `won` are the tasks that
    the second run solves more often, `lost` those that it solves less often. `note` says which setups are compared
    where the runs do not have the same ones.
    """

    before: Sequence[Attempt]
    after: Sequence[Attempt]
    won: Sequence[str]
    lost: Sequence[str]
    p: float
    note: str = ""

    @property
    def first(self) -> Share:
        return share(self.before)

    @property
    def second(self) -> Share:
        return share(self.after)

    @property
    def is_noise(self) -> bool:
        return self.p >= 0.05


def share(attempts: Sequence[Attempt]) -> Share:
    """The share of attempts that solved their task."""
    return Share(sum(attempt.passed for attempt in attempts), len(attempts))


def difference(first: Sequence[Attempt], second: Sequence[Attempt]) -> Difference:
    """Compares two runs by the tasks that both have, with the exact sign test over those that differ.

    The sign test is McNemar's exact test where each task has one attempt. Tasks, not attempts, are what is counted,
    since repeated attempts at one task do not vary independently. Of runs with some setups in common, only those count.
    """
    first, second, note = _comparable(first, second)
    one, two = by_task(first), by_task(second)
    common = [task for task in one if task in two]
    won, lost = [], []
    for task in common:
        before, after = share(one[task]).value, share(two[task]).value
        if after > before:
            won.append(task)
        elif after < before:
            lost.append(task)
    both = [[attempt for task in common for attempt in run[task]] for run in (one, two)]
    return Difference(both[0], both[1], won, lost, _sign_test(len(won), len(lost)), note)


def _comparable(
    first: Sequence[Attempt], second: Sequence[Attempt]
) -> tuple[Sequence[Attempt], Sequence[Attempt], str]:
    """Returns the attempts to compare, and a note if they are not all, or if setups are mixed."""
    one, two = {attempt.setup for attempt in first}, {attempt.setup for attempt in second}
    if one == two or len(one) == len(two) == 1:
        return first, second, ""
    both = one & two
    if not both:
        return first, second, "The runs have no setup in common: the attempts of all setups at a task count together."
    other = ", ".join(sorted(setup.label for setup in one ^ two)[:MOST_NAMED])
    kept = [[attempt for attempt in attempts if attempt.setup in both] for attempts in (first, second)]
    return kept[0], kept[1], f"Only the setups of both runs are compared; left out: {other}."


def _sign_test(more: int, less: int) -> float:
    """The two-sided probability that fair coins fall at least as unevenly."""
    total = more + less
    tail = sum(math.comb(total, k) for k in range(min(more, less) + 1)) / 2**total
    return float(min(1.0, 2 * tail))
