"""The page Live: runs in progress, the events of one of them, and a button that stops it."""

import streamlit as st

from codeact.dashboard import changes, trail
from codeact.dashboard.bridge import ask
from codeact.dashboard.drawing import transcript
from codeact.dashboard.drawing.figures import ago
from codeact.dashboard.drawing.markup import plain
from codeact.dashboard.frame import empty, live, title
from codeact.errors import NotFound
from codeact.events import CodeInterpreterCall
from codeact.runs.replay import Replay
from codeact.store import Store
from codeact.store.repositories.statistics import Running

EVERY_S = 1.0
MOST = 50
TAIL = "tail"
ITEMS = 6
"""How many of the shown run's newest items are drawn."""

title("Live", "Runs in progress, in any server process, followed live.")


def running() -> list[tuple[Running, str]]:
    """The runs in progress, with the titles of their conversations."""

    async def read(store: Store) -> list[tuple[Running, str]]:
        found = []
        for one in await store.statistics.running(limit=MOST):
            try:
                about = (await store.history.get(one.conversation_id or "")).title
            except NotFound:
                about = None
            found.append((one, about or "(no title)"))
        return found

    return ask(read)


def show() -> None:
    found = running()
    if not found:
        empty("Nothing is running.", "A run appears here as soon as somebody asks something.")
    for one, about in found:
        with st.container(border=True, horizontal=True, vertical_alignment="center"):
            st.markdown(f":blue-badge[{ago(one.created_at)}] **{plain(about)}**", width="stretch")
            st.caption(f"{plain(one.owner, 60)} · {plain(one.model, 60)}", width="content")
            if st.button("Tail", key=f"tail-{one.response_id}", icon=":material/subject:"):
                st.session_state[TAIL] = (one, Replay(), 0)
            if one.conversation_id is not None:
                st.page_link(
                    "views/conversation.py",
                    label="Open",
                    icon=":material/chat:",
                    query_params={"id": one.conversation_id},
                )
            if changes.allowed() and st.button("Stop", key=f"stop-{one.response_id}", icon=":material/stop:"):
                stop = lambda one=one: changes.stop(one.response_id, owner=one.owner)  # noqa: E731
                changes.attempt(stop, "Stopped.")
    tail()


def tail() -> None:
    """What the chosen run has done so far, from its event log. Each time, only new events are read."""
    if TAIL not in st.session_state:
        return
    one, replay, at = st.session_state[TAIL]

    async def read(store: Store) -> tuple[list[str], int]:
        frames: list[str] = []
        after = at
        async for event_batch in store.events.read(one.response_id, at):
            frames += event_batch.frames
            after = event_batch.next
        return frames, after

    trail.opened("dashboard.tail", one.response_id, owner=one.owner)
    frames, after = ask(read)
    replay.feed(frames)
    st.session_state[TAIL] = (one, replay, after)
    ended = replay.terminal is not None
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader("It has ended" if ended else "Tail", anchor=False)
        st.button("Close", icon=":material/close:", on_click=lambda: st.session_state.pop(TAIL, None))
    with st.chat_message("assistant", avatar=":material/smart_toy:"):
        last = replay.output[-1] if replay.output else None
        runs = isinstance(last, CodeInterpreterCall) and last.id not in replay.done
        shown = (last.id, replay.live) if runs and last is not None else None
        transcript.items(replay.output[-ITEMS:], one.owner, live=shown)


live(EVERY_S, show)
