"""The page Cost and tokens: what each owner spent with each model in a period."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from codeact.dashboard import ranges, reading
from codeact.dashboard.drawing import charts
from codeact.dashboard.drawing.colours import KINDS
from codeact.dashboard.drawing.figures import count, dollars, percent
from codeact.dashboard.drawing.markup import visible
from codeact.dashboard.frame import empty, live, title
from codeact.store.repositories.periods import Period
from codeact.store.repositories.statistics import RunFigures, Spending

MOST_SHOWN = 500
SUMS = ["runs", "failed", "input_tokens", "cached_tokens", "output_tokens", "cost_usd"]

title("Cost and tokens", "What each owner used with each model. Times are UTC.")
length, owner, refresh = ranges.pick()


def show() -> None:
    period = ranges.rounded(length, owner)
    runs = reading.runs(period)
    if not runs:
        empty("No runs in this period.", "Choose a longer one, or ask the agent something.")
        return
    input_tokens, cached = sum(one.input_tokens for one in runs), sum(one.cached_tokens for one in runs)
    with st.container(horizontal=True):
        st.metric("Cost", dollars(sum(one.cost_usd for one in runs)), border=True)
        st.metric("Input tokens", count(input_tokens), border=True)
        st.metric("Of these cached", percent(cached, input_tokens), border=True)
        st.metric("Output tokens", count(sum(one.output_tokens for one in runs)), border=True)
    left, right = st.columns(2)
    with left:
        by_model(runs, period)
    with right:
        by_kind(runs, period)
    st.subheader("Model × owner", anchor=False)
    table(reading.spent(period))


def by_model(runs: Sequence[RunFigures], period: Period) -> None:
    st.subheader("Cost by model", anchor=False)
    if not any(one.cost_usd for one in runs):
        st.caption("No prices are known for these models: their cost counts as 0.")
        return
    rows = [{"start": one.start, "cost": one.cost_usd, "model": one.model} for one in runs]
    rows = charts.summed(rows, "cost", "model")
    charts.show(charts.stacked(rows, period, value="cost", unit="US$", colour="model"))


def by_kind(runs: Sequence[RunFigures], period: Period) -> None:
    st.subheader("Tokens by kind", anchor=False)
    rows = [
        {"start": one.start, "tokens": tokens, "kind": kind}
        for one in runs
        for kind, tokens in (
            ("cached input", one.cached_tokens),
            ("new input", one.input_tokens - one.cached_tokens),
            ("output", one.output_tokens),
        )
    ]
    rows = charts.summed(rows, "tokens", "kind")
    charts.show(charts.stacked(rows, period, value="tokens", unit="count", colour="kind", palette=KINDS))


def table(spent: Sequence[Spending]) -> None:
    sums = pd.DataFrame(spent).groupby(["model", "owner"], as_index=False)[SUMS].sum()
    sums = sums.sort_values(["cost_usd", "input_tokens"], ascending=False)
    if len(sums) > MOST_SHOWN:
        st.caption(f"The {MOST_SHOWN} that cost most.")
    sums = sums.head(MOST_SHOWN)
    sums["cached share"] = 100 * sums["cached_tokens"] / sums["input_tokens"].where(sums["input_tokens"] > 0)
    shown = sums.drop(columns=["cached_tokens"]).assign(
        model=sums["model"].map(visible), owner=sums["owner"].map(visible)
    )
    st.dataframe(
        shown,
        hide_index=True,
        column_config={
            "runs": st.column_config.NumberColumn(format="localized"),
            "failed": st.column_config.NumberColumn(format="localized"),
            "input_tokens": st.column_config.NumberColumn("input tokens", format="localized"),
            "output_tokens": st.column_config.NumberColumn("output tokens", format="localized"),
            "cost_usd": st.column_config.NumberColumn("cost", format="$%.4f"),
            "cached share": st.column_config.NumberColumn(format="%.1f %%"),
        },
    )


live(refresh, show)
