"""Replays a conversation: a slider and a play button show each moment of its event log."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from codeact.dashboard.bridge import ask
from codeact.dashboard.drawing import transcript
from codeact.dashboard.frame import empty, live
from codeact.events import CodeInterpreterCall
from codeact.runs.replay import Replay
from codeact.store import Conversation, Store, StoredResponse

__all__ = ["Recorded", "at_moment", "player"]

ANSWERS = 20
MOST_FRAMES = 20_000
TICK_S = 0.4
LENGTHS_S = {"slow": 48, "normal": 24, "fast": 8}
"""The duration of the whole replay, however long it took in reality."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One answer with its events that are still stored, in order."""

    stored: StoredResponse
    frames: Sequence[str]


def at_moment(recorded: Sequence[Recorded], moment: int) -> list[tuple[StoredResponse, Replay, bool]]:
    """The answers that had begun after this many events, each rebuilt from its events, and whether it had ended.

    Pure.
    """
    shown = []
    for one in recorded:
        if moment <= 0:
            break
        replay = Replay()
        replay.feed(one.frames[:moment])
        shown.append((one.stored, replay, moment >= len(one.frames)))
        moment -= len(one.frames)
    return shown


def player(conversation: Conversation) -> None:
    """Shows the slider, the play button, and the conversation at the chosen moment."""
    recorded = _recorded(conversation)
    total = sum(len(one.frames) for one in recorded)
    if not total:
        empty(
            "Nothing is left to replay.",
            "Events are kept for a day after an answer; `CODEACT_EVENTS_TTL_S` keeps those of new answers longer.",
        )
        return
    if st.session_state.get("replayed") != conversation.id:
        st.session_state.update(replayed=conversation.id, position=total, playing=False)
    left, right = st.columns([1, 5], vertical_alignment="bottom")
    playing = st.session_state["playing"]
    icon = ":material/pause:" if playing else ":material/play_arrow:"
    left.button("Pause" if playing else "Play", icon=icon, on_click=_toggle, args=(total,), width="stretch")
    speed = right.segmented_control("Speed", list(LENGTHS_S), default="normal", label_visibility="collapsed")
    per_s = total / LENGTHS_S[speed or "normal"]
    live(TICK_S if playing else None, lambda: _show(recorded, total, per_s, conversation.owner))


def _toggle(total: int) -> None:
    playing = not st.session_state["playing"]
    if playing and st.session_state["position"] >= total:
        st.session_state["position"] = 0
    st.session_state.update(playing=playing, played=(time.monotonic(), st.session_state["position"]))


def _show(recorded: Sequence[Recorded], total: int, per_s: float, owner: str) -> None:
    moment = _advance(total, per_s) if st.session_state["playing"] else _chosen(total)
    for stored, replay, ended in at_moment(recorded, moment):
        transcript.question(stored.input)
        if ended:
            transcript.answer(stored, owner)
            continue
        with st.chat_message("assistant", avatar=":material/smart_toy:"):
            last = replay.output[-1] if replay.output else None
            runs = isinstance(last, CodeInterpreterCall) and last.id not in replay.done
            transcript.items(replay.output, owner, live=(last.id, replay.live) if runs and last is not None else None)
            st.caption("still answering …")


def _chosen(total: int) -> int:
    """The moment on the slider. There is no slider during playback, because a slow browser would send an old value."""
    st.session_state["moment"] = st.session_state["position"]
    st.slider(f"Event, of {total:,}", 0, total, key="moment", on_change=_move)
    return int(st.session_state["position"])


def _move() -> None:
    st.session_state["position"] = st.session_state["moment"]


def _advance(total: int, per_s: float) -> int:
    """Moves on according to the time since the last step, and shows a progress bar instead of the slider."""
    now, (before, exact) = time.monotonic(), st.session_state["played"]
    exact = min(total, exact + per_s * (now - before))
    st.session_state.update(played=(now, exact), position=int(exact))
    if exact >= total:
        st.session_state["playing"] = False
        st.rerun()
    st.progress(exact / total, f"Event {int(exact):,} of {total:,}")
    return int(exact)


@st.cache_data(ttl=60, max_entries=10, show_spinner="Reading the event log …")
def _frames(response_ids: tuple[str, ...]) -> dict[str, list[str]]:
    async def read(store: Store) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for response_id in response_ids:
            frames: list[str] = []
            async for event_batch in store.events.read(response_id, 0):
                frames += event_batch.frames
                if len(frames) > MOST_FRAMES:
                    break
            found[response_id] = frames[:MOST_FRAMES]
        return found

    return ask(read)


def _recorded(conversation: Conversation) -> list[Recorded]:
    """The latest answers, whose events are stored longest."""
    skip = max(0, conversation.facets.responses - ANSWERS)
    found = ask(
        lambda store: store.history.answers(conversation.id, owner=conversation.owner, skip=skip, limit=2 * ANSWERS)
    )
    frames = _frames(tuple(stored.response.id for stored in found))
    return [Recorded(stored, frames[stored.response.id]) for stored in found if frames[stored.response.id]]
