"""A signal that tasks of one event loop wait for: each call of `send` wakes all waiting tasks."""

import asyncio
import math
from contextlib import suppress

import anyio

__all__ = ["Signal"]


class Signal:
    """Wakes a waiter at a third of what a new `anyio.Event` for each change costs. Nothing is remembered: who waits
    later waits for the next change.
    """

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[None]] = []

    def send(self) -> None:
        """Wakes all who wait now."""
        waiting, self._waiting = self._waiting, []
        for change in waiting:
            if not change.done():
                change.set_result(None)

    async def wait(self, within_s: float = math.inf) -> bool:
        """Returns True after the next `send`, and False after `within_s` without one. May be cancelled."""
        change = asyncio.get_running_loop().create_future()
        self._waiting.append(change)
        try:
            if within_s == math.inf:  # A deadline costs more than all the rest.
                await change
                return True
            with anyio.move_on_after(within_s):
                await change
            return change.done() and not change.cancelled()
        finally:
            if not change.done() or change.cancelled():
                with suppress(ValueError):
                    self._waiting.remove(change)
