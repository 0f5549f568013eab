"""The page Audit: who did what, newest first."""

from datetime import UTC, datetime

import pandas as pd
import streamlit as st

from codeact.dashboard import ranges
from codeact.dashboard.bridge import ask
from codeact.dashboard.drawing.markup import visible
from codeact.dashboard.frame import empty, title

ROWS = 200

title("Audit", "Runs, changes and handing out of content, kept for 90 days. Times are UTC.")
left, middle, right = st.columns(3)
action = middle.text_input("Action", key="action", bind="query-params", placeholder="any").strip() or None
subject = right.text_input("Id", key="subject", bind="query-params", placeholder="conv_…, resp_…").strip() or None
owner = left.text_input("Owner", key="owner", bind="query-params", placeholder="everyone").strip() or None
length = st.segmented_control("Period", list(ranges.LENGTHS), default="7 d", key="period", bind="query-params")
since = datetime.now(UTC) - ranges.LENGTHS[length or "7 d"]
after = st.query_params.get("after")
found = ask(
    lambda store: store.access.audit(
        owner=owner, action=action, subject=subject, since=since, after=after, limit=ROWS + 1
    )
)
if not found:
    empty("No entries.", "Choose a longer period or remove a filter; entries are written by a server as it works.")
    st.stop()
st.dataframe(
    pd.DataFrame(
        {
            "at": entry.at,
            "owner": visible(entry.owner),
            "action": visible(entry.action),
            "status": entry.status,
            "id": visible(entry.subject),
            "key": entry.credential_id or "–",
            "address": visible(entry.address),
        }
        for _, entry in found[:ROWS]
    ),
    hide_index=True,
    height=680 if len(found) > 18 else "content",
    column_config={
        "at": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm:ss", timezone="UTC"),
        "action": st.column_config.TextColumn(width=260),
        "status": st.column_config.NumberColumn(format="%d", help="Of the answer, as in HTTP"),
        "id": st.column_config.TextColumn(width=200, help="Of what it was done to"),
        "key": st.column_config.TextColumn(help="The credential's id; – where none was needed"),
    },
)
with st.container(horizontal=True):
    if after is not None and st.button("Newest", icon=":material/first_page:"):
        st.query_params.pop("after", None)
        st.rerun()
    if len(found) > ROWS and st.button("Older", icon=":material/chevron_right:"):
        st.query_params["after"] = found[ROWS - 1][0]
        st.rerun()
