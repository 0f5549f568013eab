"""What one read has brought becomes as few events as possible, and no text changes."""

import time

from codeact.model import Finish, ModelEvent, ReasoningDelta, TextDelta, ToolCallDelta
from codeact.models.shared.joining import joined


def test_neighbouring_deltas_of_one_kind_become_one() -> None:
    events: list[ModelEvent] = [
        ReasoningDelta("h"),
        ReasoningDelta("m"),
        TextDelta("a"),
        TextDelta("b"),
        ToolCallDelta(0, "{", "python"),
        ToolCallDelta(0, "}", "python", "call_1"),
        ToolCallDelta(1, "{}", "python", "call_2"),
        TextDelta("c"),
        Finish("stop"),
    ]
    assert joined(events) == [
        ReasoningDelta("hm"),
        TextDelta("ab"),
        ToolCallDelta(0, "{}", "python", "call_1"),
        ToolCallDelta(1, "{}", "python", "call_2"),
        TextDelta("c"),
        Finish("stop"),
    ]


def test_a_single_event_is_itself() -> None:
    events: list[ModelEvent] = [TextDelta("a")]
    assert joined(events) is events


def test_joining_grows_with_its_input() -> None:
    def spent_s(number: int) -> float:
        events: list[ModelEvent] = [TextDelta("a" * 2_000)] * number
        began = time.thread_time()
        joined(events)
        return time.thread_time() - began

    spent_s(1_000)
    assert min(spent_s(8_000) for _ in range(5)) < 20 * min(spent_s(1_000) for _ in range(5))
