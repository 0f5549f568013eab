"""Wakes the readers of a response's event log when it grows; each reads at its own pace."""

import math
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field

import anyio

from codeact.errors import CodeActError
from codeact.store.repositories.event_batches import EventBatch

__all__ = ["Changes", "Followed", "Head"]


@dataclass(frozen=True, slots=True, order=True)
class Head:
    """Identifies a state of an event batch. A batch can be replaced by a longer one with the same id."""

    id: str
    size: int = 0
    epoch: int = 0


@dataclass(eq=False, slots=True)
class Followed:
    """A response that readers follow.

    `newest` is its newest batch, None until known. `fresh` holds the latest events, if the tailer has read them for all
    readers.
    """

    newest: Head | None = None
    fresh: Sequence[EventBatch] | None = None
    followers: int = 0
    version: int = 0
    ended: bool = False
    error: CodeActError | None = None
    changed: anyio.Event = field(default_factory=anyio.Event)

    def wake(self, fresh: Sequence[EventBatch] | None = None) -> None:
        self.fresh = fresh
        self.version += 1
        self.changed.set()
        self.changed = anyio.Event()


class Changes:
    """One reader's view of a followed response. Use it in one task."""

    def __init__(self, followed: Followed) -> None:
        self._followed = followed
        self._seen = followed.version
        self._missed = False

    async def __call__(self, within_s: float = math.inf) -> bool:
        """Waits until there may be more to read than at the previous call (or on entering); returns False after
        `within_s`.

        Raises `StoreError` if the query to the database failed. Cancelling loses nothing.
        """
        if self._seen == self._followed.version:
            with anyio.move_on_after(within_s):
                await self._followed.changed.wait()
        if self._seen == self._followed.version:
            return False
        self._missed = self._followed.version - self._seen > 1
        self._seen = self._followed.version
        if self._followed.error is not None:
            raise copy(self._followed.error)  # A copy, because each raise extends the exception's traceback.
        return True

    @property
    def has_ended(self) -> bool:
        """Whether no server was running the response any more when the tailer last looked."""
        return self._followed.ended

    def fresh(self, at: int) -> Sequence[EventBatch] | None:
        """The new events from number `at` on; None if they must be read from the database."""
        fresh = self._followed.fresh
        if fresh is None or self._missed or self._seen != self._followed.version:
            return None
        found: list[EventBatch] = []
        for event_batch in fresh:
            if event_batch.first > at:
                return None
            if event_batch.next > at:
                found.append(EventBatch(event_batch.response_id, at, event_batch.frames[at - event_batch.first :]))
                at = event_batch.next
        return found
