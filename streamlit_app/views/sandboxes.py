"""The page Sandboxes: the current state of the server's pool, and which limits stopped code recently."""

from collections import Counter
from datetime import timedelta

import pandas as pd
import streamlit as st

from codeact.dashboard import changes, ranges, reading
from codeact.dashboard.drawing import charts
from codeact.dashboard.drawing.colours import AMBER, POOL
from codeact.dashboard.drawing.figures import count, percent, seconds
from codeact.dashboard.drawing.markup import plain
from codeact.dashboard.frame import empty, live, title

EVERY_S = 2.0
DAY = timedelta(days=1)
MOMENTS = 150
"""How many moments the chart shows: five minutes."""

title("Sandboxes", "The pool of the server that this dashboard talks to, now; limits are of everyone's last 24 hours.")


def milliseconds(value: float | None) -> str:
    return seconds(None if value is None else value / 1000)


def show() -> None:
    pool = changes.server("GET", "pool")
    if pool["pool"] is None:
        empty("The pool is still starting.", "It appears here automatically; *Health* says what it is waiting for.")
        return
    stats = pool["pool"]
    st.caption(f"{pool['summary']} · wants {stats['target']} warm, at most {pool['max_size']} in all")
    acquires = stats["hits"] + stats["misses"]
    now_and_since = (
        {
            "Warm": (count(stats["warm"]), f"The pool wants {stats['target']}."),
            "Leased": (count(stats["leased"]), "In use by conversations."),
            "Starting": (count(stats["starting"]), "On their way to be warm."),
            "Waiting": (count(stats["waiting"]), "Requests in line for a sandbox."),
            "Being removed": (count(stats["removing"]), "Used ones, on their way out."),
            "Leaked": (count(pool["leaked"]), "Left behind by servers that died; the next start removes them."),
        },
        {
            "Hit rate": (
                percent(stats["hits"], acquires),
                f"{stats['hits']:,} of {acquires:,} requests found a warm one.",
            ),
            "Acquire p95": (milliseconds(stats["acquire_p95_ms"]), "Of the last 1,000 requests."),
            "Start": (seconds(stats["refill_s"]), "From nothing to warm, the median of the last 20."),
            "Kills, 24 h": (count(sum(limits().values())), "Blocks of code that a limit ended; by name below."),
            "Turned away": (count(stats["turned_away"]), "Requests that ended with “at capacity”."),
            "Failures": (count(stats["failures"]), "Failed starts, kernels that died while warm, failed removals."),
        },
    )
    for figures in now_and_since:
        with st.container(horizontal=True):
            for name, (value, meaning) in figures.items():
                st.metric(name, value, border=True, help=meaning)
    if stats["last_error"]:
        st.warning(f"The last failure: {plain(stats['last_error'])}")
    moments = st.session_state.setdefault("pool_moments", [])
    now = pd.Timestamp.now(tz="UTC").floor("s").to_pydatetime()
    moments += [{"start": now, "state": name, "sandboxes": stats[name]} for name in ("warm", "leased", "starting")]
    del moments[: -3 * MOMENTS]
    st.subheader("As long as this page is open", anchor=False)
    charts.show(charts.moments(moments, value="sandboxes", colour="state", palette=POOL))


def limits() -> Counter[str]:
    """How often each limit stopped something in the last 24 hours, for all owners."""
    counts = Counter[str]()
    for one in reading.failure_stats(ranges.rounded(DAY, None)):
        if one.kind == "limit":
            counts[one.name] += one.times
    return counts


def kills() -> None:
    st.subheader("Limits hit, 24 h", anchor=False)
    counts = limits()
    if not counts:
        st.caption("None.")
        return
    rows = [{"limit": name, "times": times} for name, times in counts.most_common()]
    charts.show(charts.bars(rows, value="times", name="limit", colour=AMBER))


live(EVERY_S, show)
kills()
