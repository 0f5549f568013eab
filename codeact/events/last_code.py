"""Finds in which container a conversation's code ran last, and whether that kernel is still alive."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from codeact.events import CodeInterpreterCall

__all__ = ["LastCode", "last_code"]


@dataclass(frozen=True, slots=True)
class LastCode:
    """`alive` is False where that code ended its kernel, which user and model were told then."""

    container_id: str
    alive: bool

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> "LastCode | None":
        """None for the empty mapping, which stands for no code at all."""
        return cls(stored["container_id"], stored["alive"]) if stored else None


def last_code(items: Iterable[Any]) -> LastCode | None:
    """Searches items in their order; returns None where none of them is code."""
    found = [item for item in items if isinstance(item, CodeInterpreterCall)]
    if not found:
        return None
    return LastCode(found[-1].container_id, found[-1].result is None or found[-1].result.kernel_alive)
