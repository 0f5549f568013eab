"""Draws the percentiles of a period as a chart."""

from collections.abc import Sequence

import streamlit as st

from codeact.dashboard.drawing import charts, colours
from codeact.store.repositories.percentiles import Percentiles
from codeact.store.repositories.periods import Period

__all__ = ["TITLES", "times_chart"]

TITLES = {"first_token": "Time to first token", "first_output": "Time to first output", "total": "Total time"}


def times_chart(percentiles: Sequence[Percentiles], period: Period, time: str) -> None:
    """p50, p95 and p99 of one time, with its heading."""
    st.subheader(f"{TITLES[time]}, percentiles", anchor=False)
    rows = [
        {"start": one.start, "duration": value, "percentile": f"p{percent}"}
        for one in percentiles
        if one.time == time and one.start is not None
        for percent, value in one.seconds.items()
    ]
    palette = colours.PERCENTILES
    charts.show(charts.lines(rows, period, value="duration", unit="s", colour="percentile", palette=palette))
