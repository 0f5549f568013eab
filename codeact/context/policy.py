"""The seam for what of a conversation a model reads: items and room enter, chat messages that fit leave.

`DropOldest` drops the oldest messages. `MaskOldest` first leaves out old output and old code, whose place a line keeps.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from codeact.context.masking import Masks
from codeact.context.window import fit, size_chars
from codeact.dialect.base import Said
from codeact.model import ChatMessage

__all__ = ["ContextPolicy", "DropOldest", "MaskOldest", "Render"]

Render = Callable[[Sequence[Said]], list[ChatMessage]]
"""Turns items into messages; see `Dialect.messages`."""

LESS = 0.6
"""A conversation that has to become shorter becomes this part of the room, so that it may grow again for a while
without another change of its beginning, which prompt caches know."""


class ContextPolicy(Protocol):
    """Decides what a conversation's calls of the model read. It remembers what it left out."""

    def rendered(self, items: Sequence[Said], *, render: Render) -> list[ChatMessage]:
        """The messages without what was left out before."""
        ...

    def mask(self, items: Sequence[Said], *, room_chars: int, render: Render) -> list[ChatMessage]:
        """The messages after more of old output and code was left out. They may still be longer than the room."""
        ...

    def fit(self, items: Sequence[Said], *, room_chars: int, render: Render) -> list[ChatMessage]:
        """The messages, as `size_chars` counts them no longer than `room_chars`. What fits stays as it is.

        The system message, the last question and the newest messages stay.
        """
        ...


class DropOldest:
    """Drops the oldest messages; a line says how many."""

    def rendered(self, items: Sequence[Said], *, render: Render) -> list[ChatMessage]:
        """See `ContextPolicy.rendered`."""
        return render(items)

    def mask(self, items: Sequence[Said], *, room_chars: int, render: Render) -> list[ChatMessage]:
        """See `ContextPolicy.mask`. Leaves nothing out."""
        return render(items)

    def fit(self, items: Sequence[Said], *, room_chars: int, render: Render) -> list[ChatMessage]:
        """See `ContextPolicy.fit`."""
        return fit(render(items), room_chars=room_chars)


class MaskOldest:
    """Leaves out old output first, then old code, then whole messages. What was left out once stays left out.

    `masks` are those of the conversation, which outlive one answer.
    """

    def __init__(self, masks: Masks | None = None) -> None:
        self.masks = Masks() if masks is None else masks

    def rendered(self, items: Sequence[Said], *, render: Render) -> list[ChatMessage]:
        """See `ContextPolicy.rendered`."""
        return render(self.masks.applied(items))

    def mask(self, items: Sequence[Said], *, room_chars: int, render: Render) -> list[ChatMessage]:
        """See `ContextPolicy.mask`."""
        messages = self.rendered(items, render=render)
        excess_chars = size_chars(messages) - room_chars
        if excess_chars <= 0:
            return messages
        self.masks.add(items, to_save_chars=excess_chars + int(room_chars * (1 - LESS)))
        return self.rendered(items, render=render)

    def fit(self, items: Sequence[Said], *, room_chars: int, render: Render) -> list[ChatMessage]:
        """See `ContextPolicy.fit`."""
        return fit(self.mask(items, room_chars=room_chars, render=render), room_chars=room_chars)
