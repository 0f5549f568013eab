"""Sandboxes: the pool of the server as it is now leaves, and what limits have ended of late."""

from datetime import timedelta

import pandas as pd
import streamlit as st

from streamlit_app import changes, charts, ranges, reading
from streamlit_app.figures import count, percent, seconds
from streamlit_app.frame import empty, live, title

EVERY_S = 2.0
DAY = timedelta(days=1)
KEPT = 150
"""Moments in the chart: five minutes."""

title("Sandboxes", "The pool of the server that this dashboard talks to, now; limits are of everyone's last 24 hours.")


def milliseconds(value: float | None) -> str:
    return seconds(None if value is None else value / 1000)


def show() -> None:
    pool = changes.server("GET", "pool")
    if pool["pool"] is None:
        empty("The pool is still starting.", "It appears here by itself; *Health* says what it waits for.")
        return
    stats = pool["pool"]
    st.caption(f"{pool['summary']} · wants {stats['target']} warm, at most {pool['max_size']} in all")
    acquires = stats["hits"] + stats["misses"]
    figures = {
        "Warm": count(stats["warm"]),
        "Leased": count(stats["leased"]),
        "Starting": count(stats["starting"]),
        "Waiting": count(stats["waiting"]),
        "Being removed": count(stats["removing"]),
        "Hit rate": percent(stats["hits"], acquires),
        "Acquire p95": milliseconds(stats["acquire_p95_ms"]),
        "Start": seconds(stats["refill_s"]),
        "Turned away": count(stats["turned_away"]),
        "Failures": count(stats["failures"]),
        "Leaked": count(pool["leaked"]),
    }
    with st.container(horizontal=True):
        for name, value in figures.items():
            st.metric(name, value, border=True, width="content")
    if stats["last_error"]:
        st.warning(f"The last failure: {stats['last_error']}")
    moments = st.session_state.setdefault("pool_moments", [])
    now = pd.Timestamp.now(tz="UTC").floor("s").to_pydatetime()
    moments += [{"start": now, "state": name, "sandboxes": stats[name]} for name in ("warm", "leased", "starting")]
    del moments[: -3 * KEPT]
    st.subheader("As long as this page is open", anchor=False)
    palette = {"warm": "#2f9e6b", "leased": "#4c7fe0", "starting": "#d99a2b"}
    charts.show(charts.moments(moments, value="sandboxes", unit="count", colour="state", palette=palette))


def kills() -> None:
    st.subheader("Limits hit, 24 h", anchor=False)
    names = [one.name for one in reading.mishaps(ranges.rounded(DAY, None)) if one.kind == "limit"]
    if not names:
        st.caption("None.")
        return
    counts = pd.Series(names).value_counts()
    rows = [{"limit": name, "times": int(times)} for name, times in counts.items()]
    charts.show(charts.bars(rows, value="times", unit="count", name="limit", colour="#d99a2b"))


live(EVERY_S, show)
kills()
