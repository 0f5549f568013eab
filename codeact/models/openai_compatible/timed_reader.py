"""Reads an answer piece by piece, and ends it when the next piece is overdue."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Self

__all__ = ["TimedReader"]

TIMER_GRAIN_S = 0.05


class TimedReader:
    """Reads with `receive`, and calls `close` when the next piece is overdue: cheaper than a timeout around each read.

    `deadline` is in the event loop's time. `close` must end a waiting `receive`. On exit, `leave` is called.
    """

    def __init__(
        self,
        receive: Callable[[], Awaitable[bytes]],
        *,
        close: Callable[[], object],
        leave: Callable[[], object],
        deadline: float,
    ) -> None:
        self.is_over = False
        self._receive = receive
        self._close = close
        self._leave = leave
        self._deadline = deadline
        self._reads = False
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_at(deadline, self._look)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._leave()

    def until(self, deadline: float) -> None:
        """Sets a new deadline. Only time spent inside `read` can exceed it."""
        self._deadline = deadline
        if deadline < self._timer.when():
            self._timer.cancel()
            self._timer = self._loop.call_at(deadline, self._look)

    async def read(self) -> bytes:
        """Returns what has arrived since the last call; empty at the end, or when the deadline has
        passed (`is_over`).
        """
        self._reads = True
        try:
            return await self._receive()
        except Exception:
            if self.is_over:
                return b""
            raise
        finally:
            self._reads = False

    def _look(self) -> None:
        now = self._loop.time()
        if self._reads and now >= self._deadline:
            self.is_over = True
            self._close()
        else:
            self._timer = self._loop.call_at(max(self._deadline, now + TIMER_GRAIN_S), self._look)
