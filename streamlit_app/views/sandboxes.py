"""The page Sandboxes: the current state of the server's pool, and which limits stopped code recently."""

from collections import Counter
from datetime import timedelta
from typing import Any

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

title("Sandboxes", "The pools of all servers of the database, now; limits are of everyone's last 24 hours.")

FIGURES_IN_A_ROW = 4
SUMS = ("warm", "leased", "starting", "waiting", "removing", "target", "hits", "misses", "turned_away", "failures")


def milliseconds(value: float | None) -> str:
    return seconds(None if value is None else value / 1000)


def show() -> None:
    pool = changes.server("GET", "pool")
    servers = [pool, *pool["others"]]
    known = [one for one in servers if one["pool"] is not None]
    if not known:
        empty("The pool is still starting.", "It appears here automatically; *Health* says what it is waiting for.")
        return
    stats = known[0]["pool"] | {name: sum(one["pool"][name] for one in known) for name in SUMS}
    most, leaked = (sum(one[name] for one in known) for name in ("max_size", "leaked"))
    where = f"{len(servers)} servers · " if pool["others"] else ""
    st.caption(f"{where}{known[0]['summary']} · wants {stats['target']} warm, at most {most} in all")
    acquires = stats["hits"] + stats["misses"]
    figures = {
        "Warm": (count(stats["warm"]), f"The pool wants {stats['target']}."),
        "Leased": (count(stats["leased"]), "In use by conversations."),
        "Starting": (count(stats["starting"]), "On their way to be warm."),
        "Waiting": (count(stats["waiting"]), "Requests in line for a sandbox."),
        "Being removed": (count(stats["removing"]), "Used ones, on their way out."),
        "Leaked": (count(leaked), "Left behind by servers that died; the next start removes them."),
        "Hit rate": (
            percent(stats["hits"], acquires),
            f"{stats['hits']:,} of {acquires:,} requests found a warm one.",
        ),
        "Acquire p95": (milliseconds(stats["acquire_p95_ms"]), "Of the last 1,000 requests."),
        "Start": (seconds(stats["refill_s"]), "From nothing to warm, the median of the last 20."),
        "Kills, 24 h": (count(sum(limits().values())), "Blocks of code that a limit ended; by name below."),
        "Turned away": (count(stats["turned_away"]), "Requests that ended with “at capacity”."),
        "Failures": (count(stats["failures"]), "Failed starts, kernels that died while warm, failed removals."),
    }
    for start in range(0, len(figures), FIGURES_IN_A_ROW):
        with st.container(horizontal=True):
            for name, (value, meaning) in list(figures.items())[start : start + FIGURES_IN_A_ROW]:
                st.metric(name, value, border=True, help=meaning)
    for one in known:
        if one["pool"]["last_error"]:
            st.warning(f"The last failure: {plain(one['pool']['last_error'])}")
    if pool["others"]:
        st.dataframe([row(one) for one in servers], hide_index=True)
    moments = st.session_state.setdefault("pool_moments", [])
    now = pd.Timestamp.now(tz="UTC").floor("s").to_pydatetime()
    moments += [{"start": now, "state": name, "sandboxes": stats[name]} for name in ("warm", "leased", "starting")]
    del moments[: -3 * MOMENTS]
    st.subheader("As long as this page is open", anchor=False)
    charts.show(charts.moments(moments, value="sandboxes", colour="state", palette=POOL))


def row(server: dict[str, Any]) -> dict[str, Any]:
    """A server's line in the table of servers. Its name has host, process id and more; the first two are shown."""
    host, *rest = server["server"].split("/")
    stats = server["pool"] or {}
    return {
        "Server": f"{host}/{rest[1]}" if len(rest) > 1 else server["server"],
        "Sandboxes": server["summary"],
        **{name.capitalize(): stats.get(name) for name in ("warm", "leased", "starting", "waiting")},
        "At most": server["max_size"],
        "Acquire p95": milliseconds(stats["acquire_p95_ms"]) if stats else None,
    }


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
