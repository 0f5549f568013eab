"""Cost and tokens: a period enters; what each owner spent with each model leaves."""

import pandas as pd
import streamlit as st

from streamlit_app import charts, ranges, reading
from streamlit_app.figures import count, dollars, percent
from streamlit_app.frame import empty, live, title

MOST_SHOWN = 500

title("Cost and tokens", "What each owner used with each model. Times are UTC.")
length, owner, refresh = ranges.pick()


def show() -> None:
    period = ranges.rounded(length, owner)
    costs = reading.costs(period)
    if not costs:
        empty("No runs in this period.", "Choose a longer one, or ask the agent something.")
        return
    table = (
        pd.DataFrame(costs)
        .groupby(["model", "owner"], as_index=False)[
            ["runs", "failed", "input_tokens", "cached_tokens", "output_tokens", "cost_usd"]
        ]
        .sum()
        .sort_values(["cost_usd", "input_tokens"], ascending=False)
    )
    given, cached = int(table["input_tokens"].sum()), int(table["cached_tokens"].sum())
    with st.container(horizontal=True):
        st.metric("Cost", dollars(float(table["cost_usd"].sum())), border=True)
        st.metric("Input tokens", count(given), border=True)
        st.metric("Of these cached", percent(cached, given), border=True)
        st.metric("Output tokens", count(int(table["output_tokens"].sum())), border=True)
    if not table["cost_usd"].any():
        st.caption("No prices are known for these models: their cost is shown as 0.")
    left, right = st.columns(2)
    with left:
        st.subheader("Cost by model", anchor=False)
        rows = [{"start": one.start, "cost": one.cost_usd, "model": one.model} for one in costs]
        charts.show(
            charts.stacked(charts.summed(rows, "cost", "model"), period, value="cost", unit="US$", colour="model")
        )
    with right:
        st.subheader("Tokens by kind", anchor=False)
        rows = [
            {"start": one.start, "tokens": tokens, "kind": kind}
            for one in costs
            for kind, tokens in (
                ("cached input", one.cached_tokens),
                ("new input", one.input_tokens - one.cached_tokens),
                ("output", one.output_tokens),
            )
        ]
        palette = {"cached input": "#8aa9ea", "new input": "#4c7fe0", "output": "#d99a2b"}
        rows = charts.summed(rows, "tokens", "kind")
        charts.show(charts.stacked(rows, period, value="tokens", unit="count", colour="kind", palette=palette))
    st.subheader("Model × owner", anchor=False)
    table["cached share"] = 100 * table["cached_tokens"] / table["input_tokens"].where(table["input_tokens"] > 0)
    if len(table) > MOST_SHOWN:
        st.caption(f"The {MOST_SHOWN} that cost most, of {len(table):,}.")
    st.dataframe(
        table.head(MOST_SHOWN).drop(columns=["cached_tokens"]),
        hide_index=True,
        column_config={
            "input_tokens": st.column_config.NumberColumn("input tokens", format="localized"),
            "output_tokens": st.column_config.NumberColumn("output tokens", format="localized"),
            "cost_usd": st.column_config.NumberColumn("cost", format="$%.4f"),
            "cached share": st.column_config.NumberColumn(format="%.1f %%"),
        },
    )


live(refresh, show)
