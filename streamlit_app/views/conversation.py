"""The page Conversation: messages, code, outputs, timings and the replay of one conversation."""

import streamlit as st

from codeact.dashboard import changes, downloads, replay, trail
from codeact.dashboard.bridge import ask
from codeact.dashboard.drawing import transcript
from codeact.dashboard.drawing.colours import status_badge
from codeact.dashboard.drawing.figures import count, dollars, moment, seconds
from codeact.dashboard.drawing.markup import plain
from codeact.dashboard.frame import empty
from codeact.store import Conversation

ANSWERS = 20


def head(conversation: Conversation) -> None:
    facets = conversation.facets
    st.title(plain(conversation.title or "(no title)"), anchor=False)
    tags = " ".join(f":gray-badge[{plain(tag)}]" for tag in conversation.tags)
    pinned = " :orange-badge[pinned]" if conversation.pinned else ""
    st.markdown(f"{status_badge(facets.status)}{pinned} {tags} `{conversation.id}`")
    st.caption(
        f"{plain(conversation.owner)} · {moment(conversation.created_at)} to {moment(conversation.updated_at)} UTC"
    )
    figures = {
        "Answers": count(facets.responses),
        "Tokens": count(facets.tokens),
        "Cost": dollars(facets.cost_usd),
        "Time": seconds(facets.duration_s),
    }
    with st.container(horizontal=True):
        for name, value in figures.items():
            st.metric(name, value, width="content")
    if facets.exceptions:
        st.markdown(" ".join(f":red-badge[{plain(name, 80)}]" for name in facets.exceptions))


def tools(conversation: Conversation) -> None:
    with st.container(horizontal=True):
        st.link_button("Continue in chat", changes.chat_url(conversation.id), icon=":material/chat:")
        downloads.buttons(conversation)
        if changes.allowed():
            pinned = conversation.pinned
            if st.button("Unpin" if pinned else "Pin", icon=":material/keep:"):
                pin = lambda: changes.pin(conversation.id, not pinned, owner=conversation.owner)  # noqa: E731
                if changes.attempt(pin, "Unpinned." if pinned else "Pinned."):
                    st.rerun()
            with st.popover("Delete", icon=":material/delete:"):
                st.markdown("It disappears for its owner too, and can be restored over the API for 30 days.")
                if st.button("Delete this conversation", type="primary"):
                    delete = lambda: changes.delete(conversation.id, owner=conversation.owner)  # noqa: E731
                    if changes.attempt(delete, "Deleted."):
                        st.switch_page("views/conversations.py")


def answers(conversation: Conversation) -> None:
    pages = max(1, -(-conversation.facets.responses // ANSWERS))
    page = st.pagination(pages, default=pages, key="part", bind="query-params") if pages > 1 else 1
    skip = (page - 1) * ANSWERS
    limit = ANSWERS if page < pages else 2 * ANSWERS
    found = ask(lambda store: store.history.answers(conversation.id, owner=conversation.owner, skip=skip, limit=limit))
    if not found:
        empty("Nothing was asked here yet.", "Continue it in the chat.")
    for stored in found:
        transcript.question(stored.input)
        transcript.answer(stored, conversation.owner)


conversation_id = st.query_params.get("id", "").strip()
if not conversation_id:
    st.title("Conversation", anchor=False)
    empty("No conversation is open.", "Choose a row in *Conversations*, or paste an id.")
    text = st.text_input("Id", placeholder="conv_…").strip()
    if text:
        st.query_params["id"] = text
        st.rerun()
    st.stop()

conversation = ask(lambda store: store.history.get(conversation_id))
trail.opened("dashboard.conversation", conversation.id, owner=conversation.owner)
head(conversation)
tools(conversation)
shown = st.segmented_control(
    "View",
    ["Conversation", "Replay"],
    default="Conversation",
    key="view",
    bind="query-params",
    label_visibility="collapsed",
)
if shown == "Replay":
    replay.player(conversation)
else:
    answers(conversation)
