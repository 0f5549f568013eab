"""Finds the container in which a conversation's code ran last, and whether that execution ended its kernel."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from codeact.events import CodeInterpreterCall

__all__ = ["LastCode", "last_code"]


@dataclass(frozen=True, slots=True)
class LastCode:
    """Where code ran last. `alive` is False if that code ended its kernel; user and model were informed then."""

    container_id: str
    alive: bool

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> "LastCode | None":
        """Reads the stored form; returns None for an empty mapping, which means that no code has run."""
        return cls(stored["container_id"], stored["alive"]) if stored else None


def last_code(items: Iterable[Any]) -> LastCode | None:
    """Returns the last item that is code, in the order of `items`, or None if no item is code."""
    found = [item for item in items if isinstance(item, CodeInterpreterCall) and not _waits_to_run(item)]
    if not found:
        return None
    return LastCode(found[-1].container_id, found[-1].result is None or found[-1].result.kernel_alive)


def _waits_to_run(item: CodeInterpreterCall) -> bool:
    """Whether the code waits for its approval: it has not run in that container."""
    return bool(item.waits_for) and item.started_s is None
