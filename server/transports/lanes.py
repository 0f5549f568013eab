"""Answers the requests of one socket in lanes: first in, first out for each key."""

from collections import deque
from collections.abc import Awaitable, Callable, Hashable

from anyio.abc import TaskGroup

from codeact.errors import CodeActError

__all__ = ["Lanes", "TooMuch"]

Work = Callable[[], Awaitable[None]]


class TooMuch(CodeActError):
    """A socket asks for more at a time than it may. Nothing was begun; it can be asked again later."""

    code = "too_many_requests"
    status = 429
    retryable = True


class Lanes:
    """A lane is there while it has work: one task for each, which ends with the last of its work.

    At most `most` lanes run at a time, `most_waiting` requests wait behind the first of a lane, and all that waits
    holds `most_bytes` together. What comes beyond is refused with `TooMuch`.
    """

    def __init__(self, tasks: TaskGroup, *, what: str, most: int, most_waiting: int, most_bytes: int) -> None:
        self._tasks = tasks
        self._what = what
        self._most = most
        self._most_waiting = most_waiting
        self._most_bytes = most_bytes
        self._waiting: dict[Hashable, deque[tuple[Work, int]]] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, key: Hashable, work: Work, *, size_bytes: int) -> None:
        """Has the work done once all of the same key is. `work` must not raise. Raises `TooMuch`; never waits."""
        lane = self._waiting.get(key)
        if lane is None and len(self._waiting) >= self._most:
            raise TooMuch(f"{self._most} {self._what} are under way on this socket; ask again when one has ended.")
        if lane is not None and len(lane) >= self._most_waiting:
            raise TooMuch(
                f"{self._most_waiting} {self._what} wait in line already; ask again when one has begun.",
                code="queue_full",
            )
        if self._bytes and self._bytes + size_bytes > self._most_bytes:
            raise TooMuch(f"The {self._what} that wait on this socket hold more than {self._most_bytes} bytes.")
        self._bytes += size_bytes
        if lane is not None:
            lane.append((work, size_bytes))
        else:
            lane = self._waiting[key] = deque([(work, size_bytes)])
            self._tasks.start_soon(self._serve, key, lane)

    async def _serve(self, key: Hashable, lane: deque[tuple[Work, int]]) -> None:
        try:
            while lane:
                work, size_bytes = lane.popleft()
                self._bytes -= size_bytes
                await work()
        finally:
            self._bytes -= sum(size_bytes for _, size_bytes in lane)
            del self._waiting[key]
