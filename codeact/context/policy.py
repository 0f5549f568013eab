"""Policies that decide which parts of a long conversation a model reads.

`DropOldest` drops the oldest messages. `MaskOldest` first replaces old output and old code by a line each.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from codeact.context.masking import Masks
from codeact.context.window import fit, size_chars
from codeact.dialect.base import Entry
from codeact.model import ChatMessage

__all__ = ["ContextPolicy", "DropOldest", "MaskOldest", "Render"]

Render = Callable[[Sequence[Entry]], list[ChatMessage]]
"""Converts items into messages; see `Dialect.messages`."""

LESS = 0.6
"""A conversation that is too long is reduced to this part of the limit, so that it can grow for a while before its
beginning changes again: each change makes prompt caches useless."""


class ContextPolicy(Protocol):
    """Decides what the model reads in its calls. It remembers what it has left out."""

    def rendered(self, items: Sequence[Entry], *, render: Render) -> list[ChatMessage]:
        """Returns the messages without what was left out before."""
        ...

    def mask(self, items: Sequence[Entry], *, room_chars: int, render: Render) -> list[ChatMessage]:
        """Returns the messages after masking more output and code. They may still be longer than `room_chars`."""
        ...

    def fit(self, items: Sequence[Entry], *, room_chars: int, render: Render) -> list[ChatMessage]:
        """Returns messages of at most `room_chars` characters, as `size_chars` counts them.

        If all fit, none is changed. The system message, the last question and the newest messages always stay.
        """
        ...


class DropOldest:
    """Drops the oldest messages; a line says how many."""

    def rendered(self, items: Sequence[Entry], *, render: Render) -> list[ChatMessage]:
        """See `ContextPolicy.rendered`."""
        return render(items)

    def mask(self, items: Sequence[Entry], *, room_chars: int, render: Render) -> list[ChatMessage]:
        """See `ContextPolicy.mask`. This policy masks nothing."""
        return render(items)

    def fit(self, items: Sequence[Entry], *, room_chars: int, render: Render) -> list[ChatMessage]:
        """See `ContextPolicy.fit`."""
        return fit(render(items), room_chars=room_chars)


class MaskOldest:
    """Leaves out old output first, then old code, then whole messages. What is left out once remains left out.

    `masks` belong to the conversation and outlive one answer.
    """

    def __init__(self, masks: Masks | None = None) -> None:
        self.masks = Masks() if masks is None else masks

    def rendered(self, items: Sequence[Entry], *, render: Render) -> list[ChatMessage]:
        """See `ContextPolicy.rendered`."""
        return render(self.masks.applied(items))

    def mask(self, items: Sequence[Entry], *, room_chars: int, render: Render) -> list[ChatMessage]:
        """See `ContextPolicy.mask`."""
        messages = self.rendered(items, render=render)
        excess_chars = size_chars(messages) - room_chars
        if excess_chars <= 0:
            return messages
        self.masks.add(items, to_save_chars=excess_chars + int(room_chars * (1 - LESS)))
        return self.rendered(items, render=render)

    def fit(self, items: Sequence[Entry], *, room_chars: int, render: Render) -> list[ChatMessage]:
        """See `ContextPolicy.fit`."""
        return fit(self.mask(items, room_chars=room_chars, render=render), room_chars=room_chars)
