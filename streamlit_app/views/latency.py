"""The page Latency: percentiles of the times to the first token, to the first output and in total."""

import pandas as pd
import streamlit as st

from codeact.dashboard import ranges, reading
from codeact.dashboard.drawing.figures import seconds
from codeact.dashboard.drawing.percentiles import TITLES, times_chart
from codeact.dashboard.frame import empty, live, title
from codeact.store.repositories.percentiles import percentiles_of

title("Latency", "How long people waited, from the moment a request was accepted. Times are UTC.")
length, owner, refresh = ranges.pick()


def show() -> None:
    period = ranges.rounded(length, owner)
    times = reading.times(period)
    found = percentiles_of(times)
    whole = [one for one in found if one.start is None]
    if not whole:
        empty("No finished runs in this period.", "Choose a longer one, or ask the agent something.")
        return
    st.dataframe(
        pd.DataFrame(
            {"time": TITLES[one.time], "runs": one.runs, **{f"p{p}": seconds(s) for p, s in one.seconds.items()}}
            for one in whole
        ),
        hide_index=True,
        column_config={
            "runs": st.column_config.NumberColumn(format="localized"),
            **{name: st.column_config.TextColumn(alignment="right") for name in ("p50", "p95", "p99")},
        },
    )
    if times.share < 1:
        st.caption(f"Of these {times.runs:,} runs every {round(1 / times.share)}th was looked at, in each bar's time.")
    for one in whole:
        times_chart(found, period, one.time)


live(refresh, show)
