"""Latency: a period enters; percentiles of the times to first token, to first output and in total leave."""

import pandas as pd
import streamlit as st

from streamlit_app import ranges, reading
from streamlit_app.figures import seconds
from streamlit_app.frame import empty, live, title
from streamlit_app.spreads import TIMES, labelled, times_chart

title("Latency", "How long people waited, from the moment a request was accepted. Times are UTC.")
length, owner, refresh = ranges.pick()


def show() -> None:
    period = ranges.rounded(length, owner)
    spreads = reading.spreads(period)
    if not spreads:
        empty("No finished runs in this period.", "Choose a longer one, or ask the agent something.")
        return
    whole = [one for one in spreads if one.start is None]
    st.dataframe(
        pd.DataFrame(
            {"time": labelled(one.time), "runs": one.runs, **{f"p{p}": seconds(s) for p, s in one.seconds.items()}}
            for one in whole
        ),
        hide_index=True,
    )
    for name in TIMES:
        if any(one.time == name for one in whole):
            times_chart(spreads, period, name)


live(refresh, show)
