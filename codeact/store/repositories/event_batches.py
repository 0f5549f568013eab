"""What runs write: batches of neighbouring events of one response, and finished items."""

from collections.abc import Sequence
from dataclasses import dataclass

from codeact.events import Item

__all__ = ["BATCH_BYTES", "EventBatch", "RunWrite"]

BATCH_BYTES = 256_000
"""Of one document with events."""


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Events of one response that follow each other: `frames[i]` has the number `first + i`."""

    response_id: str
    first: int
    frames: Sequence[str]

    @property
    def next(self) -> int:
        """The number after its last."""
        return self.first + len(self.frames)


@dataclass(frozen=True, slots=True)
class RunWrite:
    """What one run writes: items with their places in its output, and events.

    `is_awaited`: somebody waits until it is stored. Then, and where there is an `epoch`, the database is asked
    afterwards whether the run is still this server's.
    """

    event_batch: EventBatch
    epoch: int | None
    items: Sequence[tuple[int, Item]] = ()
    is_awaited: bool = True

    @property
    def response_id(self) -> str:
        return self.event_batch.response_id
