"""Errors: a period enters; what failed, how often, in which code, and how soon it was mended leaves."""

from typing import Any

import pandas as pd
import streamlit as st

from codeact.store.periods import Period
from streamlit_app import charts, ranges, reading
from streamlit_app.figures import count, percent
from streamlit_app.frame import empty, live, title

MOST = 12
RED, AMBER = "#d8504d", "#d99a2b"

title("Errors", "Exceptions in code, limits that it hit, and runs that failed. Times are UTC; of every owner.")
length, _, refresh = ranges.pick(owners=False)


def counted(names: list[str], what: str) -> list[dict[str, Any]]:
    counts = pd.Series(names, dtype=str).value_counts().head(MOST)
    return [{what: name, "times": int(times)} for name, times in counts.items()]


def show() -> None:
    period = ranges.rounded(length, None)
    mishaps, runs = reading.mishaps(period), reading.runs(period)
    codes = [one.error for one in runs if one.error is not None for _ in range(one.runs)]
    exceptions = [one.name for one in mishaps if one.kind == "exception"]
    limits = [one.name for one in mishaps if one.kind == "limit"]
    if not mishaps and not codes:
        empty("Nothing failed in this period.", "Choose a longer one to look further back.")
        return
    with st.container(horizontal=True):
        st.metric("Exceptions", count(len(exceptions)), border=True)
        st.metric("Limits hit", count(len(limits)), border=True)
        total = sum(one.runs for one in runs)
        st.metric("Failed runs", f"{count(len(codes))} ({percent(len(codes), total)})", border=True)
    st.subheader("Trend", anchor=False)
    rows: list[dict[str, Any]] = [{"start": period.start_of(one.at), "times": 1, "kind": one.kind} for one in mishaps]
    rows += [{"start": one.start, "times": one.runs, "kind": "failed run"} for one in runs if one.error is not None]
    palette = {"exception": RED, "limit": AMBER, "failed run": "#8b93a1"}
    rows = charts.summed(rows, "times", "kind")
    charts.show(charts.stacked(rows, period, value="times", unit="count", colour="kind", palette=palette))
    kinds = (
        ("By exception", exceptions, RED),
        ("By limit", limits, AMBER),
        ("By code of failed runs", codes, "#8b93a1"),
    )
    for place, (heading, names, colour) in zip(st.columns(3), kinds, strict=True):
        with place:
            st.subheader(heading, anchor=False)
            if names:
                charts.show(
                    charts.bars(counted(names, "name"), value="times", unit="count", name="name", colour=colour)
                )
            else:
                st.caption("None.")
    if exceptions:
        fixed(reading.attempts(period))
        failing(period)


def fixed(attempts: dict[int | None, int]) -> None:
    st.subheader("Retries until fixed", anchor=False)
    st.caption("Of the newest 1,000 exceptions: after how many more blocks of code one worked, in the same answer.")
    named = {(f"after {tries}" if tries is not None else "never"): times for tries, times in attempts.items()}
    rows = [{"fixed": name, "times": times} for name, times in named.items()]
    charts.show(charts.bars(rows, value="times", unit="count", name="fixed", colour="#2f9e6b"))


def failing(period: Period) -> None:
    st.subheader("Top failing code", anchor=False)
    st.caption("The newest 1,000 exceptions, those of one name and alike in their message together.")
    for one in reading.failing(period)[:MOST]:
        with st.expander(f"**{one.name}** × {one.times:,} · last {one.last_at:%Y-%m-%d %H:%M}"):
            st.code(one.message or "(no message)", language=None, wrap_lines=True)
            st.code(one.code, language="python", wrap_lines=True)
            if one.conversation_id is not None:
                st.page_link(
                    "views/conversation.py",
                    label="Open the newest",
                    icon=":material/chat:",
                    query_params={"id": one.conversation_id},
                )


live(refresh, show)
