"""Sums an evaluation up: by setup, by tag, by kind of failure; and what changed between two runs."""

import statistics as numbers
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from codeact.evals.record import Attempt, Plan
from codeact.evals.statistics import Difference, Share, share

__all__ = ["Row", "by_failure", "by_tag", "difference_as_json", "report_as_json", "rows"]


class Row:
    """What one group of attempts comes to. Times are medians in seconds; tokens and costs are sums.

    `retries` counts what the infrastructure spoilt and was made again; `failures` has its numbers by kind.
    """

    def __init__(self, name: str, attempts: Sequence[Attempt]) -> None:
        self.name = name
        self.share: Share = share(attempts)
        self.score = _mean(attempt.score for attempt in attempts)
        self.blocks = _mean(attempt.blocks for attempt in attempts)
        self.calls = _mean(attempt.calls for attempt in attempts)
        self.input_tokens = sum(attempt.input_tokens for attempt in attempts)
        self.cached_tokens = sum(attempt.cached_tokens for attempt in attempts)
        self.output_tokens = sum(attempt.output_tokens for attempt in attempts)
        costs = [attempt.cost_usd for attempt in attempts if attempt.cost_usd is not None]
        self.cost_usd = sum(costs) if costs else None
        self.total_s = _median(attempt.total_s for attempt in attempts)
        self.first_token_s = _median(attempt.first_token_s for attempt in attempts)
        self.code_detected_s = _median(attempt.code_detected_s for attempt in attempts)
        self.first_output_s = _median(attempt.first_output_s for attempt in attempts)
        self.sandbox_wait_s = _median(attempt.sandbox_wait_s for attempt in attempts)
        self.retries = sum(attempt.attempts_before for attempt in attempts)
        self.failures = dict(by_failure(attempts))

    def as_json(self) -> dict[str, Any]:
        """The row as values of JSON."""
        low, high = self.share.bounds
        return {
            "name": self.name,
            "passed": self.share.passed,
            "attempts": self.share.total,
            "success": self.share.value,
            "interval_95": [low, high],
            **{name: value for name, value in vars(self).items() if name not in ("name", "share")},
        }


def rows(attempts: Sequence[Attempt]) -> list[Row]:
    """A row for each setup, in the order in which they come first."""
    return _grouped((attempt.setup.label, attempt) for attempt in attempts)


def by_tag(attempts: Sequence[Attempt]) -> list[Row]:
    """A row for each tag, ordered by name. An attempt counts for each of its task's tags."""
    return sorted(_grouped((tag, attempt) for attempt in attempts for tag in attempt.tags), key=lambda row: row.name)


def by_failure(attempts: Iterable[Attempt]) -> list[tuple[str, int]]:
    """How often each kind of failure came, the most frequent first."""
    return Counter(attempt.failure for attempt in attempts if attempt.failure is not None).most_common()


def report_as_json(plan: Plan, attempts: Sequence[Attempt]) -> dict[str, Any]:
    """The whole report as values of JSON, without transcripts."""
    return {
        "suite": plan.suite,
        "version": plan.version,
        "started_at": plan.started_at,
        "seed": plan.seed,
        "repeat": plan.repeat,
        "stopped": plan.stopped,
        "planned": plan.size,
        "made": len(attempts),
        "not_asked": plan.not_asked,
        "setups": [row.as_json() for row in rows(attempts)],
        "tags": [row.as_json() for row in by_tag(attempts)],
        "failures": dict(by_failure(attempts)),
        "tasks": {row.name: row.share.value for row in _grouped((one.task, one) for one in attempts)},
    }


def difference_as_json(found: Difference) -> dict[str, Any]:
    """A comparison as values of JSON."""
    return {
        "first": Row("first", found.before).as_json(),
        "second": Row("second", found.after).as_json(),
        "won": list(found.won),
        "lost": list(found.lost),
        "p": found.p,
        "more_than_noise": not found.is_noise,
        "note": found.note,
    }


def _grouped(pairs: Iterable[tuple[str, Attempt]]) -> list[Row]:
    groups: dict[str, list[Attempt]] = {}
    for name, attempt in pairs:
        groups.setdefault(name, []).append(attempt)
    return [Row(name, attempts) for name, attempts in groups.items()]


def _mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return numbers.fmean(found) if found else None


def _median(values: Iterable[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return numbers.median(found) if found else None
