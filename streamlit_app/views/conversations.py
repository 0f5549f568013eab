"""The page Conversations: lists the conversations that fit the filters; a row opens one."""

import pandas as pd
import streamlit as st

from codeact.dashboard import filters
from codeact.dashboard.bridge import ask
from codeact.dashboard.drawing.colours import BADGES
from codeact.dashboard.drawing.figures import seconds
from codeact.dashboard.drawing.markup import visible
from codeact.dashboard.frame import empty, title
from codeact.store import Conversation
from codeact.store.repositories.history import MOST_SKIPPED

ROWS = 50
MARKS = {"pinned": "violet", "error": "red", "image": "blue", "up": "green", "down": "orange"}
TRAIL = "trail"


def read(filter_values: filters.Selection, after: str | None) -> tuple[list[Conversation], str | None]:
    """One page, and where the next one begins: a cursor, or how many came before."""
    query, owner, order = filter_values
    if order == "asc" or order == "desc":  # mypy narrows the type only in this form
        page = ask(
            lambda store: store.history.find(query, owner=owner, after=after, limit=ROWS, order=order, asked=True)
        )
        return page.conversations, page.next
    skip = int(after) if after is not None and after.isdigit() else 0
    found = ask(lambda store: store.history.largest(query, order, owner=owner, skip=skip, limit=ROWS + 1, asked=True))
    more = len(found) > ROWS and skip + ROWS <= MOST_SKIPPED
    return found[:ROWS], str(skip + ROWS) if more else None


def place() -> str | None:
    """Where this page begins. Goes back to the first page when a filter has changed."""
    filter_values = {name: value for name, value in st.query_params.items() if name not in ("after", "id")}
    if st.session_state.setdefault("asked", filter_values) != filter_values:
        st.session_state["asked"], st.session_state[TRAIL] = filter_values, []
        st.query_params.pop("after", None)
    return st.query_params.get("after")


def go(after: str | None) -> None:
    if after is None:
        st.query_params.pop("after", None)
    else:
        st.query_params["after"] = after


def forward(here: str | None, after: str) -> None:
    st.session_state.setdefault(TRAIL, []).append(here)
    go(after)


def back() -> None:
    trail = st.session_state.get(TRAIL) or [None]
    go(trail.pop())


def marks(conversation: Conversation) -> list[str]:
    facets = conversation.facets
    shown = [(conversation.pinned, "pinned"), (facets.has_error, "error"), (facets.has_image, "image")]
    return [mark for is_shown, mark in shown if is_shown] + list(conversation.ratings)


def table(found: list[Conversation]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "title": visible(conversation.title or "(without words)"),
            "status": [(conversation.facets.status or "empty").replace("_", " ")],
            "last active": pd.Timestamp(conversation.updated_at, unit="s", tz="UTC"),
            "owner": visible(conversation.owner),
            "models": visible(", ".join(conversation.facets.models)),
            "marks": marks(conversation),
            "answers": conversation.facets.responses,
            "tokens": conversation.facets.tokens,
            "cost": conversation.facets.cost_usd,
            "time": seconds(conversation.facets.duration_s),
            "exceptions": visible(", ".join(conversation.facets.exceptions)),
            "tags": [visible(tag) for tag in conversation.tags],
        }
        for conversation in found
    )


title("Conversations", "Everyone's, by their last activity. Choose a row to open it. Times are UTC.")
filter_values = filters.pick()
here = place()
found, after = read(filter_values, here)
if not found:
    if here is None and not st.session_state["asked"]:
        empty("No conversations yet.", "Ask something in the chat or with `codeact run`, and they appear here.")
    else:
        empty("Nothing fits.", "Remove a filter, or search for the beginning of a word with `word*`.")
    st.stop()

chosen = st.dataframe(
    table(found),
    hide_index=True,
    height=min(36 * len(found) + 38, 720),
    on_select="rerun",
    selection_mode=["single-row", "single-cell"],
    key=f"rows-{here}",
    column_config={
        "title": st.column_config.TextColumn(width=300),
        "status": st.column_config.MultiselectColumn(options=list(BADGES), color=list(BADGES.values())),
        "marks": st.column_config.MultiselectColumn(
            options=list(MARKS),
            color=list(MARKS.values()),
            help="pinned, with an error, with an image, rated up or down",
        ),
        "answers": st.column_config.NumberColumn(format="localized"),
        "time": st.column_config.TextColumn(alignment="right", help="Of all answers together"),
        "last active": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm", timezone="UTC"),
        "tokens": st.column_config.NumberColumn(format="localized"),
        "cost": st.column_config.NumberColumn(format="$%.4f"),
        "tags": st.column_config.ListColumn(),
    },
)
left, _, right = st.columns([1, 3, 1])
left.button("Back", icon=":material/chevron_left:", disabled=here is None, on_click=back, width="stretch")
right.button(
    "Next",
    icon=":material/chevron_right:",
    disabled=after is None,
    on_click=forward,
    args=(here, after),
    width="stretch",
)
selected = chosen["selection"]
if rows := [*selected["rows"], *(row for row, _ in selected["cells"])]:
    st.switch_page("views/conversation.py", query_params={"id": found[rows[0]].id})
