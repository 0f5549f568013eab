"""Keeps the events of a run as objects until a reader in this process has taken them."""

import math

from codeact import events as e

__all__ = ["UnreadEvents"]


class UnreadEvents:
    """The events of one log that the reader has not taken yet, by number. `most`: at this number the run waits."""

    def __init__(self, *, most: float = math.inf) -> None:
        self.most = most
        self._events: dict[int, e.Event] = {}

    @property
    def is_full(self) -> bool:
        return len(self._events) >= self.most

    def put(self, number: int, event: e.Event) -> None:
        """Keeps the event and sets its number; it replaces an event that had this number before."""
        event.sequence_number = number
        self._events[number] = event

    def take(self, number: int) -> e.Event | None:
        """Removes and returns the event with this number; None if there is no such event."""
        return self._events.pop(number, None)

    def withdraw(self, number: int) -> None:
        """Removes an event that was not published; it will get another number."""
        if (event := self._events.pop(number, None)) is not None:
            event.sequence_number = 0

    def forget(self, numbers: range) -> None:
        """Drops events that the log no longer has in memory, unless the run waits for its reader."""
        if self.most == math.inf and self._events:
            for number in numbers:
                self._events.pop(number, None)
