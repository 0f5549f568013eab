"""The page Errors: what failed in a period, how often, in which code, and how soon it was repaired."""

from collections import Counter
from typing import Any

import streamlit as st

from codeact.dashboard import ranges, reading
from codeact.dashboard.drawing import charts
from codeact.dashboard.drawing.colours import FAILURE_COLOURS, GREEN
from codeact.dashboard.drawing.figures import count, percent
from codeact.dashboard.drawing.markup import plain, revealed
from codeact.dashboard.drawing.outputs import TEXT_CHARS
from codeact.dashboard.frame import empty, live, title
from codeact.observations.plaintext import excerpt
from codeact.store.repositories.periods import Period

MOST = 12

title("Errors", "Exceptions in code, limits that it hit, and runs that failed; of every owner. Times are UTC.")
length, _, refresh = ranges.pick(owners=False)


def show() -> None:
    period = ranges.rounded(length, None)
    runs = reading.runs(period)
    rows: list[dict[str, Any]] = [
        {"start": one.start, "times": one.times, "kind": one.kind, "name": one.name}
        for one in reading.failure_stats(period)
    ]
    rows += [
        {"start": one.start, "times": one.runs, "kind": "failed run", "name": one.error}
        for one in runs
        if one.error is not None
    ]
    if not rows:
        empty("Nothing failed in this period.", "Choose a longer one to look further back.")
        return
    names = {kind: Counter[str]() for kind in FAILURE_COLOURS}
    for row in rows:
        names[row["kind"]][row["name"]] += row["times"]
    failed = names["failed run"].total()
    with st.container(horizontal=True):
        st.metric("Exceptions", count(names["exception"].total()), border=True)
        st.metric("Limits hit", count(names["limit"].total()), border=True)
        st.metric("Failed runs", count(failed), border=True)
        st.metric("Of all runs", percent(failed, sum(one.runs for one in runs)), border=True)
    st.subheader("Trend", anchor=False)
    trend = charts.summed(rows, "times", "kind")
    charts.show(charts.stacked(trend, period, value="times", unit="count", colour="kind", palette=FAILURE_COLOURS))
    headings = {"exception": "By exception", "limit": "By limit hit", "failed run": "By error of failed runs"}
    for place, (kind, heading) in zip(st.columns(3), headings.items(), strict=True):
        with place:
            st.subheader(heading, anchor=False)
            if names[kind]:
                most = [{"name": name, "times": times} for name, times in names[kind].most_common(MOST)]
                charts.show(charts.bars(most, value="times", name="name", colour=FAILURE_COLOURS[kind]))
            else:
                st.caption("None.")
    if names["exception"]:
        fixed(reading.attempts(period))
        failing(period)


def fixed(attempts: dict[int | None, int]) -> None:
    st.subheader("Retries until fixed", anchor=False)
    st.caption("Of the newest 1,000 exceptions: after how many more blocks of code one worked, in the same answer.")
    order = sorted(attempts, key=lambda tries: (tries is None, tries))
    names = ["never" if tries is None else f"after {tries}" for tries in order[-MOST:]]
    rows = [{"fixed": name, "answers": attempts[tries]} for name, tries in zip(names, order[-MOST:], strict=True)]
    charts.show(charts.bars(rows, value="answers", name="fixed", colour=GREEN, sort=names))


def failing(period: Period) -> None:
    st.subheader("Top failing code", anchor=False)
    st.caption("The newest 1,000 exceptions, those of one name and alike in their message together.")
    for one in reading.failing(period)[:MOST]:
        with st.expander(f"**{plain(one.name, 80)}** × {one.times:,} · last {one.last_at:%Y-%m-%d %H:%M}"):
            st.code(revealed(excerpt(one.message, TEXT_CHARS)) or "(no message)", language=None, wrap_lines=True)
            st.code(revealed(excerpt(one.code, TEXT_CHARS)), language="python", wrap_lines=True)
            if one.conversation_id is not None:
                st.page_link(
                    "views/conversation.py",
                    label="Open the newest",
                    icon=":material/chat:",
                    query_params={"id": one.conversation_id},
                )


live(refresh, show)
