"""Percentiles as a chart: the spreads of a period enter and are drawn."""

from collections.abc import Sequence

import streamlit as st

from codeact.store.percentiles import Spread
from codeact.store.periods import Period
from streamlit_app import charts, colours

__all__ = ["TITLES", "times_chart"]

TITLES = {"first_token": "Time to first token", "first_output": "Time to first output", "total": "Total time"}


def times_chart(spreads: Sequence[Spread], period: Period, time: str) -> None:
    """p50, p95 and p99 of one time, with its heading."""
    st.subheader(f"{TITLES[time]}, percentiles", anchor=False)
    rows = [
        {"start": one.start, "duration": value, "percentile": f"p{percent}"}
        for one in spreads
        if one.time == time and one.start is not None
        for percent, value in one.seconds.items()
    ]
    palette = colours.PERCENTILES
    charts.show(charts.lines(rows, period, value="duration", unit="s", colour="percentile", palette=palette))
