"""Keeps the events of a run as objects until a reader in this process has taken them. Pure."""

import math

from codeact import events as e

__all__ = ["UnreadEvents"]


class UnreadEvents:
    """The events of one log that nobody has taken yet, by number. `most`: so many may wait before the run does."""

    def __init__(self, *, most: float = math.inf) -> None:
        self.most = most
        self._events: dict[int, e.Event] = {}

    @property
    def is_full(self) -> bool:
        return len(self._events) >= self.most

    def put(self, number: int, event: e.Event) -> None:
        """Keeps the event under its number, which it learns; an event that had the number before is replaced."""
        event.sequence_number = number
        self._events[number] = event

    def take(self, number: int) -> e.Event | None:
        """The event of this number, once; None where it is not kept."""
        return self._events.pop(number, None)

    def withdraw(self, number: int) -> None:
        """Takes back an event that no reader may see: it will get another number."""
        if (event := self._events.pop(number, None)) is not None:
            event.sequence_number = 0

    def forget(self, numbers: range) -> None:
        """Lets go of events whose reader is so far behind, unless the run waits for it."""
        if self.most == math.inf and self._events:
            for number in numbers:
                self._events.pop(number, None)
