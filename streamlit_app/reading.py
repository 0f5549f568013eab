"""Reads the figures that several pages show, and caches them.

Figures from more than a day ago change only when somebody deletes or imports something, or when a run took that long:
they are read again every ten minutes, in the background. Newer figures are read whenever a page needs them.
"""

from collections.abc import Callable, Coroutine, Mapping
from datetime import timedelta
from typing import Any

import streamlit as st

from codeact.dashboard.bridge import ask
from codeact.store import Store
from codeact.store.records import Blob
from codeact.store.repositories.failure_stats import CodeFailure, FailureKind
from codeact.store.repositories.percentiles import Times
from codeact.store.repositories.periods import Period
from codeact.store.repositories.statistics import RunFigures, Spending

__all__ = ["attempts", "blob", "failing", "failure_stats", "runs", "spent", "times"]

SETTLED = timedelta(days=1)
CACHED_FOR = timedelta(minutes=10)
"""Longer than the steps in which a period's end moves: each new period is another query."""
MOST_CACHED = 40
QUESTIONS: Mapping[str, Callable[[Store], Callable[..., Coroutine[Any, Any, Any]]]] = {
    "runs": lambda store: store.statistics.runs,
    "times": lambda store: store.statistics.times,
    "spent": lambda store: store.statistics.spent,
    "failure_stats": lambda store: store.failure_stats.find,
}


def runs(period: Period) -> list[RunFigures]:
    return _rows("runs", period)


def failure_stats(period: Period) -> list[CodeFailure]:
    return _rows("failure_stats", period)


def spent(period: Period) -> list[Spending]:
    """One model and owner may appear twice."""
    return _rows("spent", period)


def times(period: Period) -> Times:
    old, new = period.cut(period.until - SETTLED)
    settled: Times = _settled("times", old)
    fresh: Times = _fresh("times", new, share=settled.share)
    return Times(settled.runs + fresh.runs, settled.share, {**settled.bins, **fresh.bins})


@st.cache_data(ttl=CACHED_FOR, max_entries=MOST_CACHED, show_spinner=False)
def failing(period: Period) -> list[FailureKind]:
    return ask(lambda store: store.failure_stats.failing(period))


@st.cache_data(ttl=CACHED_FOR, max_entries=MOST_CACHED, show_spinner=False)
def attempts(period: Period) -> dict[int | None, int]:
    return ask(lambda store: store.failure_stats.attempts(period))


@st.cache_data(ttl=CACHED_FOR, max_entries=200, show_spinner=False)
def blob(sha256: str, owner: str) -> Blob:
    return ask(lambda store: store.get_blob(sha256, owner=owner))


def _rows(what: str, period: Period) -> list[Any]:
    old, new = period.cut(period.until - SETTLED)
    return [*_settled(what, old), *_fresh(what, new)]


@st.cache_data(ttl=CACHED_FOR, max_entries=MOST_CACHED, show_spinner=False, refresh_mode="background")
def _settled(what: str, period: Period) -> Any:
    return _read(what, period)


@st.cache_data(ttl=CACHED_FOR, max_entries=MOST_CACHED, show_spinner=False)
def _fresh(what: str, period: Period, **options: float) -> Any:
    return _read(what, period, **options)


def _read(what: str, period: Period, **options: float) -> Any:
    return ask(lambda store: QUESTIONS[what](store)(period, **options))
