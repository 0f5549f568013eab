"""Overview: a period enters; runs by status, their times, errors, tokens and cost leave."""

from collections.abc import Sequence

import streamlit as st

from codeact.store.percentiles import Spread, spreads
from codeact.store.periods import Period
from codeact.store.statistics import Runs
from streamlit_app import charts, ranges, reading
from streamlit_app.colours import STATUSES
from streamlit_app.figures import count, dollars, percent, seconds
from streamlit_app.frame import empty, live, title
from streamlit_app.spreads import TITLES, times_chart

title("Overview", "How the agent has been doing. Times are UTC.")
length, owner, refresh = ranges.pick()


def show() -> None:
    period = ranges.rounded(length, owner)
    runs = reading.runs(period)
    if not runs:
        empty("No runs in this period.", 'Choose a longer one, or ask the agent something: `codeact run "2 + 2"`.')
        return
    waited = spreads(reading.times(period))
    total = sum(one.runs for one in runs)
    failed = sum(one.runs for one in runs if one.status == "failed")
    with st.container(horizontal=True):
        st.metric("Runs", count(total), border=True)
        st.metric("Failed", percent(failed, total), border=True, help=f"{failed:,} of {total:,} runs")
        st.metric("Tokens", count(sum(one.input_tokens + one.output_tokens for one in runs)), border=True)
        st.metric("Cost", dollars(sum(one.cost_usd for one in runs)), border=True)
    with st.container(horizontal=True):
        percentiles(waited)
    left, right = st.columns(2)
    with left:
        st.subheader("Runs by status", anchor=False)
        rows = [{"start": one.start, "runs": one.runs, "status": one.status.replace("_", " ")} for one in runs]
        used = {name: colour for name, colour in STATUSES.items() if any(row["status"] == name for row in rows)}
        rows = charts.summed(rows, "runs", "status")
        charts.show(charts.stacked(rows, period, value="runs", unit="count", colour="status", palette=used))
    with right:
        times_chart(waited, period, "total")
    left, right = st.columns(2)
    with left:
        by_model(runs, period, "tokens", "count")
    with right:
        by_model(runs, period, "cost", "US$")


def percentiles(waited: Sequence[Spread]) -> None:
    """Of each time over the whole period; where no run showed output, of the others."""
    for one in waited:
        if one.start is None:
            st.metric(
                f"{TITLES[one.time]}, p50",
                seconds(one.seconds[50]),
                f"p95 {seconds(one.seconds[95])} · p99 {seconds(one.seconds[99])}",
                delta_color="off",
                delta_arrow="off",
                border=True,
            )


def by_model(runs: Sequence[Runs], period: Period, what: str, unit: str) -> None:
    st.subheader(f"{what.capitalize()} by model", anchor=False)
    values = {"tokens": lambda one: one.input_tokens + one.output_tokens, "cost": lambda one: one.cost_usd}
    rows = [{"start": one.start, "model": one.model, what: values[what](one)} for one in runs]
    if not any(row[what] for row in rows):
        st.caption("No prices are known for these models." if what == "cost" else "None were counted.")
        return
    rows = charts.summed(rows, what, "model")
    charts.show(charts.stacked(rows, period, value=what, unit=unit, colour="model"))


live(refresh, show)
