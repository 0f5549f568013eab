"""The values that runs write: batches of consecutive events of one response, and finished items."""

from collections.abc import Sequence
from dataclasses import dataclass

from codeact.events import Item

__all__ = ["BATCH_BYTES", "EventBatch", "RunWrite"]

BATCH_BYTES = 256_000
"""The size of one document with events."""


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Consecutive events of one response: `frames[i]` has the number `first + i`."""

    response_id: str
    first: int
    frames: Sequence[str]

    @property
    def next(self) -> int:
        """The number after the last event."""
        return self.first + len(self.frames)


@dataclass(frozen=True, slots=True)
class RunWrite:
    """One write of a run: events, and items with their index in the output.

    `is_awaited`: somebody waits until it is stored. In that case, if there is an `epoch`, the database is asked
    afterwards whether this server still owns the run.
    """

    event_batch: EventBatch
    epoch: int | None
    items: Sequence[tuple[int, Item]] = ()
    is_awaited: bool = True

    @property
    def response_id(self) -> str:
        return self.event_batch.response_id
