"""Queues audit entries between requests and the database, and keeps them until they are stored.

Pure: no I/O and no clock.
"""

from collections import deque

from codeact.store import AuditEntry

__all__ = ["AuditQueue"]


class AuditQueue:
    """Keeps entries in order, at most `capacity` of them, until each is stored or refused.

    `take` hands out the oldest entries. They stay in the queue until `done` or `refused`, and `take` hands out the
    same ones until then: a batch whose write was cut off is written again, never lost and never replaced by others.
    When the queue is full, the oldest entry that is not handed out makes room, and `dropped` counts it.
    """

    def __init__(self, *, capacity: int, batch: int) -> None:
        if not 0 < batch < capacity:
            raise ValueError("a batch must be smaller than the queue")
        self.dropped = 0
        self._capacity = capacity
        self._batch = batch
        self._taken: tuple[AuditEntry, ...] = ()
        self._waiting: deque[AuditEntry] = deque()

    def __len__(self) -> int:
        return len(self._taken) + len(self._waiting)

    def put(self, entry: AuditEntry) -> None:
        """Never refuses: a full queue drops its oldest entry."""
        if len(self) >= self._capacity:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append(entry)

    def take(self) -> tuple[AuditEntry, ...]:
        """The oldest entries, at most a batch; empty when nothing waits."""
        if not self._taken:
            number = min(self._batch, len(self._waiting))
            self._taken = tuple(self._waiting.popleft() for _ in range(number))
        return self._taken

    def done(self) -> None:
        """The entries that `take` handed out are stored."""
        self._taken = ()

    def refused(self) -> tuple[AuditEntry, ...]:
        """The database cannot hold what `take` handed out as it is.

        A single entry is given up, counted as dropped, and returned. Of several the next `take` hands out half, so
        that in the end only the entry that is at fault is given up.
        """
        if len(self._taken) == 1:
            given_up, self._taken = self._taken, ()
            self.dropped += 1
            return given_up
        half = len(self._taken) // 2
        self._waiting.extendleft(reversed(self._taken[half:]))
        self._taken = self._taken[:half]
        return ()
