"""Runs the requests of one socket in lanes: in order of arrival for each key, concurrently for different keys."""

from collections import deque
from collections.abc import Awaitable, Callable, Hashable

from anyio.abc import TaskGroup

from codeact.errors import CodeActError

__all__ = ["Lanes", "TooMuch"]

Work = Callable[[], Awaitable[None]]


class TooMuch(CodeActError):
    """The socket has too many requests at a time. The request was not begun and may be repeated later."""

    code = "too_many_requests"
    status = 429
    retryable = True


class Lanes:
    """Runs work in lanes. A lane has one task, which ends with the last work of the lane.

    At most `most` lanes run at a time; at most `most_waiting` requests wait in one lane; all waiting requests together
    have at most `most_bytes`. Further requests raise `TooMuch`.
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
        """Runs `work` after all earlier work with the same key.

        `work` must not raise. Raises `TooMuch`; never waits.
        """
        lane = self._waiting.get(key)
        if lane is None and len(self._waiting) >= self._most:
            raise TooMuch(f"{self._most} {self._what} are under way on this socket; ask again when one has ended.")
        if lane is not None and len(lane) >= self._most_waiting:
            raise TooMuch(
                f"{self._most_waiting} {self._what} wait in line already; ask again when one has begun.",
                code="queue_full",
            )
        if self._bytes and self._bytes + size_bytes > self._most_bytes:
            raise TooMuch(f"The {self._what} that wait on this socket have more than {self._most_bytes} bytes.")
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
