"""What this server has read of conversations' histories, so that the next turn reads only what the last one added."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from codeact.bounded_memory import BoundedMemory
from codeact.events import Input, Item
from sandbox_pool import json_size

__all__ = ["KnownHistories", "Part", "measured"]

MOST_BYTES, OF_OWNER_BYTES, OF_CONVERSATION_BYTES = 32_000_000, 8_000_000, 4_000_000
"""Limits for the process, for one owner, and for one conversation: a longer one is read at each turn."""
VALUE_BYTES = 100
"""What a decoded value takes beside its text."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one response adds to a history: its input and its output. Nobody may change the items."""

    items: tuple[Input | Item, ...]
    size_bytes: int

    @classmethod
    def of(cls, items: Sequence[Input | Item]) -> "Part":
        """Measures the items: the bytes of their JSON, and `VALUE_BYTES` for each value in it."""
        data = msgspec.json.encode(items)
        values = json_size.nodes(data, OF_CONVERSATION_BYTES // VALUE_BYTES)
        return cls(tuple(items), len(data) + VALUE_BYTES * values)


def measured(read: Iterable[tuple[str, Part | Sequence[Input | Item]]]) -> dict[str, Part]:
    """Measures what each of these responses adds to a history. Returns nothing if it is too large to be held: measuring
    all of it would only cost time.
    """
    parts: dict[str, Part] = {}
    size_bytes = 0
    for response_id, items in read:
        parts[response_id] = part = items if isinstance(items, Part) else Part.of(items)
        size_bytes += part.size_bytes
        if size_bytes > OF_CONVERSATION_BYTES:
            return {}
    return parts


class KnownHistories:
    """Holds the history of each conversation as it was last read: its parts by the ids of their responses, oldest
    first. See `BoundedMemory` for what makes room.
    """

    def __init__(self) -> None:
        self._held: BoundedMemory[Mapping[str, Part]] = BoundedMemory(
            most_bytes=MOST_BYTES, of_owner_bytes=OF_OWNER_BYTES, of_value_bytes=OF_CONVERSATION_BYTES
        )

    def __len__(self) -> int:
        return len(self._held)

    @property
    def size_bytes(self) -> int:
        """How many bytes all of them take."""
        return self._held.size_bytes

    def get(self, conversation_id: str) -> Mapping[str, Part]:
        """The parts of the conversation's history; empty if none is held."""
        return self._held.get(conversation_id) or {}

    def put(self, conversation_id: str, parts: Mapping[str, Part], *, owner: str) -> None:
        """Holds this history in place of the conversation's last one, unless it is empty or too large."""
        size_bytes = sum(part.size_bytes for part in parts.values())
        self._held.put(conversation_id, parts, size_bytes=size_bytes, owner=owner)

    def drop(self, conversation_id: str) -> None:
        """Drops the conversation's history, if it is held."""
        self._held.take(conversation_id)
