"""Overview: a period enters; runs by status, their times, errors, tokens and cost leave."""

import streamlit as st

from streamlit_app import charts, ranges, reading
from streamlit_app.colours import STATUSES
from streamlit_app.figures import count, dollars, percent, seconds
from streamlit_app.frame import empty, live, title
from streamlit_app.spreads import labelled, times_chart

title("Overview", "How the agent has been doing. Times are UTC.")
length, owner, refresh = ranges.pick()


def show() -> None:
    period = ranges.rounded(length, owner)
    runs = reading.runs(period)
    if not runs:
        empty("No runs in this period.", 'Choose a longer one, or ask the agent something: `codeact run "2 + 2"`.')
        return
    costs, spreads = reading.costs(period), reading.spreads(period)
    total = sum(one.runs for one in runs)
    failed = sum(one.runs for one in runs if one.status == "failed")
    tokens = sum(one.input_tokens + one.output_tokens for one in costs)
    with st.container(horizontal=True):
        st.metric("Runs", count(total), border=True)
        st.metric("Failed", percent(failed, total), border=True, help=f"{failed:,} of {total:,} runs")
        st.metric("Tokens", count(tokens), border=True)
        st.metric("Cost", dollars(sum(one.cost_usd for one in costs)), border=True)
        for name in ("first_token", "first_output", "total"):
            whole = next((one for one in spreads if one.start is None and one.time == name), None)
            if whole is not None:
                st.metric(
                    f"{labelled(name)}, p50",
                    seconds(whole.seconds[50]),
                    f"p95 {seconds(whole.seconds[95])} · p99 {seconds(whole.seconds[99])}",
                    delta_color="off",
                    delta_arrow="off",
                    border=True,
                )
    left, right = st.columns(2)
    with left:
        st.subheader("Runs by status", anchor=False)
        rows = [{"start": one.start, "runs": one.runs, "status": one.status.replace("_", " ")} for one in runs]
        used = {name: colour for name, colour in STATUSES.items() if any(row["status"] == name for row in rows)}
        charts.show(
            charts.stacked(
                charts.summed(rows, "runs", "status"), period, value="runs", unit="count", colour="status", palette=used
            )
        )
    with right:
        times_chart(spreads, period, "total")
    left, right = st.columns(2)
    for place, name, unit in ((left, "tokens", "count"), (right, "cost", "US$")):
        with place:
            st.subheader("Tokens by model" if name == "tokens" else "Cost by model", anchor=False)
            rows = [
                {
                    "start": one.start,
                    "model": one.model,
                    name: one.input_tokens + one.output_tokens if name == "tokens" else one.cost_usd,
                }
                for one in costs
            ]
            charts.show(
                charts.stacked(charts.summed(rows, name, "model"), period, value=name, unit=unit, colour="model")
            )


live(refresh, show)
