"""Reads from widgets and the URL which period to show, and whose runs."""

from datetime import UTC, datetime, timedelta

import streamlit as st

from codeact.store.repositories.periods import Period

__all__ = ["pick", "rounded"]

LENGTHS = {
    "1 h": timedelta(hours=1),
    "24 h": timedelta(days=1),
    "7 d": timedelta(days=7),
    "30 d": timedelta(days=30),
    "90 d": timedelta(days=90),
    "1 y": timedelta(days=365),
}
REFRESH_S = 10.0


def pick(*, owners: bool = True) -> tuple[timedelta, str | None, float | None]:
    """The length of the period, the owner, and how often to refresh (None: never). The URL contains all three."""
    left, middle, right = st.columns([8, 3, 3], vertical_alignment="bottom")
    length = left.segmented_control("Period", list(LENGTHS), default="7 d", key="period", bind="query-params")
    owner = None
    if owners:
        owner = middle.text_input("Owner", placeholder="everyone", key="owner", bind="query-params").strip() or None
    refresh = right.toggle("Auto-refresh", value=True, key="refresh", bind="query-params")
    return LENGTHS[length or "7 d"], owner, REFRESH_S if refresh else None


def rounded(length: timedelta, owner: str | None, now: datetime | None = None) -> Period:
    """The period up to about now, beginning with a whole bin.

    Its end moves in steps, so that cached figures stay valid.
    """
    now = now or datetime.now(UTC)
    step_s = int(min(60, max(REFRESH_S, length.total_seconds() / 20_000)))
    until = datetime.fromtimestamp(now.timestamp() // step_s * step_s + step_s, UTC)
    return Period(until - length, until, owner).from_whole_bin()
