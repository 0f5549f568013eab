"""Percentiles as a chart: the spreads of a period enter and are drawn."""

from collections.abc import Sequence

import streamlit as st

from codeact.store.periods import Period
from codeact.store.statistics import Spread
from streamlit_app import charts, colours

__all__ = ["TIMES", "labelled", "times_chart"]

TIMES = {"first_token": "Time to first token", "first_output": "Time to first output", "total": "Total time"}


def labelled(time: str) -> str:
    return TIMES[time]


def times_chart(spreads: Sequence[Spread], period: Period, time: str) -> None:
    """The 50th, 95th and 99th percentile of one time, with its heading."""
    st.subheader(f"{TIMES[time]}, percentiles", anchor=False)
    rows = [
        {"start": one.start, "seconds": value, "percentile": f"{percent}th"}
        for one in spreads
        if one.time == time and one.start is not None
        for percent, value in one.seconds.items()
    ]
    charts.show(charts.lines(rows, period, value="seconds", unit="s", colour="percentile", palette=colours.TIMES))
