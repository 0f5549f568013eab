"""Queues audit entries between requests and the database until they are stored.

Pure: no I/O and no clock.
"""

from collections import deque

from codeact.store import AuditEntry

__all__ = ["AuditQueue"]


class AuditQueue:
    """Holds entries in order, at most `capacity` of them, until each is stored or refused.

    `take` returns the oldest entries. They stay in the queue, and `take` returns the same ones again, until `done` or
    `refused` is called. So a batch whose write was interrupted is written again and is never lost. When the queue is
    full, the oldest entry outside the current batch is dropped; `dropped` counts these.
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
        """Adds an entry. If the queue is full, drops the oldest one."""
        if len(self) >= self._capacity:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append(entry)

    def take(self) -> tuple[AuditEntry, ...]:
        """The oldest entries, at most a batch; empty if none wait."""
        if not self._taken:
            number = min(self._batch, len(self._waiting))
            self._taken = tuple(self._waiting.popleft() for _ in range(number))
        return self._taken

    def done(self) -> None:
        """Call it when the entries from `take` are stored."""
        self._taken = ()

    def refused(self) -> tuple[AuditEntry, ...]:
        """Call it when the database refuses the entries from `take`.

        A single entry is dropped, counted and returned. Of several, the next `take` returns half, so that in the end
        only the offending entry is dropped.
        """
        if len(self._taken) == 1:
            given_up, self._taken = self._taken, ()
            self.dropped += 1
            return given_up
        half = len(self._taken) // 2
        self._waiting.extendleft(reversed(self._taken[half:]))
        self._taken = self._taken[:half]
        return ()
