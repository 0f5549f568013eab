"""The page Feedback: what owners think of answers, newest first."""

import streamlit as st

from codeact.dashboard.bridge import ask
from codeact.dashboard.drawing.figures import moment
from codeact.dashboard.drawing.markup import plain, revealed
from codeact.dashboard.frame import empty, title
from codeact.observations.plaintext import excerpt

ROWS = 50
COMMENT_CHARS = 2_000

title("Feedback", "Thumbs and comments on answers, newest first. Times are UTC.")
left, right = st.columns([2, 3])
owner = left.text_input("Owner", key="owner", bind="query-params", placeholder="everyone").strip() or None
before = st.session_state.get("feedback_before")
found = ask(lambda store: store.sharing.latest_feedback(owner=owner, limit=ROWS + 1, before=before))
if not found:
    empty("No feedback yet.", "People give it with the thumbs under an answer in the chat.")
    st.stop()
ups = sum(one.rating == "up" for one in found[:ROWS])
st.caption(f"Of these {len(found[:ROWS])}: {ups} up, {len(found[:ROWS]) - ups} down.")
for one in found[:ROWS]:
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.markdown(
            ":green-badge[:material/thumb_up: up]" if one.rating == "up" else ":red-badge[:material/thumb_down: down]",
            width="content",
        )
        st.text(revealed(excerpt(one.comment, COMMENT_CHARS)) if one.comment else "(no comment)", width="stretch")
        st.caption(f"{plain(one.owner, 60)} · {moment(one.created_at)}", width="content")
        st.page_link(
            "views/conversation.py", label="Open", icon=":material/chat:", query_params={"id": one.conversation_id}
        )
with st.container(horizontal=True):
    if before is not None and st.button("Newest", icon=":material/first_page:"):
        del st.session_state["feedback_before"]
        st.rerun()
    if len(found) > ROWS and st.button("Older", icon=":material/chevron_right:"):
        last = found[ROWS - 1]
        st.session_state["feedback_before"] = (last.created_at, last.response_id)
        st.rerun()
