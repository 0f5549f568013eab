"""Joins the pieces of text that a model's server sent at once, so that each costs no event of its own."""

from collections.abc import Hashable
from itertools import groupby

from codeact.model import ModelEvent, ReasoningDelta, TextDelta, ToolCallDelta

__all__ = ["joined"]


def joined(events: list[ModelEvent]) -> list[ModelEvent]:
    """Returns the events with neighbouring deltas of one kind, and of one call, as one delta.

    The argument is what one read has brought. So an idle server joins nothing, and a server that is behind joins the
    tokens that have come meanwhile: the further it is behind, the less each token costs.
    """
    if len(events) < 2:
        return events
    return [_one(list(group)) for _, group in groupby(events, _key)]


def _key(event: ModelEvent) -> Hashable:
    """Equal for neighbours that can be joined."""
    if isinstance(event, TextDelta | ReasoningDelta):
        return type(event)
    return (ToolCallDelta, event.index) if isinstance(event, ToolCallDelta) else id(event)


def _one(events: list[ModelEvent]) -> ModelEvent:
    last = events[-1]
    if len(events) == 1:
        return last
    if isinstance(last, ToolCallDelta):
        arguments = "".join(event.arguments for event in events if isinstance(event, ToolCallDelta))
        return ToolCallDelta(last.index, arguments, last.name, last.call_id)
    text = "".join(event.text for event in events if isinstance(event, TextDelta | ReasoningDelta))
    return TextDelta(text) if isinstance(last, TextDelta) else ReasoningDelta(text)
