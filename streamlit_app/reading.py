"""What several pages read: periods enter, figures leave, kept for a moment so that the next page need not ask again."""

from datetime import timedelta

import streamlit as st

from codeact.store.mishaps import Failing, Mishap
from codeact.store.periods import Period
from codeact.store.records import Blob
from codeact.store.statistics import Cost, Runs, Spread
from streamlit_app.bridge import ask

__all__ = ["attempts", "blob", "costs", "failing", "mishaps", "runs", "spreads"]

KEPT = timedelta(minutes=10)
"""Longer than the ends of periods stand still: a new period is a new question."""
MOST_KEPT = 40


@st.cache_data(ttl=KEPT, max_entries=MOST_KEPT, show_spinner=False)
def runs(period: Period) -> list[Runs]:
    return ask(lambda store: store.statistics.runs(period))


@st.cache_data(ttl=KEPT, max_entries=MOST_KEPT, show_spinner=False)
def spreads(period: Period) -> list[Spread]:
    return ask(lambda store: store.statistics.spreads(period))


@st.cache_data(ttl=KEPT, max_entries=MOST_KEPT, show_spinner=False)
def costs(period: Period) -> list[Cost]:
    return ask(lambda store: store.statistics.costs(period))


@st.cache_data(ttl=KEPT, max_entries=MOST_KEPT, show_spinner=False)
def mishaps(period: Period) -> list[Mishap]:
    return ask(lambda store: store.mishaps.find(period))


@st.cache_data(ttl=KEPT, max_entries=MOST_KEPT, show_spinner=False)
def failing(period: Period) -> list[Failing]:
    return ask(lambda store: store.mishaps.failing(period))


@st.cache_data(ttl=KEPT, max_entries=MOST_KEPT, show_spinner=False)
def attempts(period: Period) -> dict[int | None, int]:
    return ask(lambda store: store.mishaps.attempts(period))


@st.cache_data(ttl=KEPT, max_entries=200, show_spinner=False)
def blob(sha256: str, owner: str) -> Blob:
    return ask(lambda store: store.get_blob(sha256, owner=owner))
