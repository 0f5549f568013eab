"""The page Overview: runs by status, their times, errors, tokens and cost in a period."""

from collections.abc import Sequence

import streamlit as st

from codeact.dashboard import ranges, reading
from codeact.dashboard.drawing import charts
from codeact.dashboard.drawing.colours import STATUSES
from codeact.dashboard.drawing.figures import count, dollars, percent, seconds
from codeact.dashboard.drawing.percentiles import TITLES, times_chart
from codeact.dashboard.frame import empty, live, title
from codeact.store.repositories.percentiles import Percentiles, percentiles_of
from codeact.store.repositories.periods import Period
from codeact.store.repositories.statistics import RunFigures

title("Overview", "How the agent has been doing. Times are UTC.")
length, owner, refresh = ranges.pick()


def show() -> None:
    period = ranges.rounded(length, owner)
    runs = reading.runs(period)
    if not runs:
        empty("No runs in this period.", 'Choose a longer one, or ask the agent something: `codeact run "2 + 2"`.')
        return
    waited = percentiles_of(reading.times(period))
    total = sum(one.runs for one in runs)
    failed = sum(one.runs for one in runs if one.status == "failed")
    with st.container(horizontal=True):
        st.metric("Runs", count(total), border=True)
        st.metric("Failed", percent(failed, total), border=True, help=f"{failed:,} of {total:,} runs")
        st.metric("Tokens", count(sum(one.input_tokens + one.output_tokens for one in runs)), border=True)
        st.metric("Cost", dollars(sum(one.cost_usd for one in runs)), border=True)
    with st.container(horizontal=True):
        show_percentiles(waited)
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


def show_percentiles(waited: Sequence[Percentiles]) -> None:
    """The percentiles of each time over the whole period."""
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


def by_model(runs: Sequence[RunFigures], period: Period, what: str, unit: str) -> None:
    st.subheader(f"{what.capitalize()} by model", anchor=False)
    values = {"tokens": lambda one: one.input_tokens + one.output_tokens, "cost": lambda one: one.cost_usd}
    rows = [{"start": one.start, "model": one.model, what: values[what](one)} for one in runs]
    if not any(row[what] for row in rows):
        st.caption("No prices are known for these models." if what == "cost" else "None were counted.")
        return
    rows = charts.summed(rows, what, "model")
    charts.show(charts.stacked(rows, period, value=what, unit=unit, colour="model"))


live(refresh, show)
