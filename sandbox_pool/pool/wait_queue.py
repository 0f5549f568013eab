"""Waiting without polling: for a change of the pool's state, or in a queue for a sandbox."""

from collections import Counter
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import anyio

__all__ = ["Changes", "Line"]

T = TypeVar("T")


class Changes:
    """Wakes tasks that wait for a state to change. For one event loop."""

    def __init__(self) -> None:
        self._next = anyio.Event()

    def notify(self) -> None:
        self._next.set()
        self._next = anyio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits until the condition holds. It returns without an await after the check, so it still holds then."""
        while not condition():
            await self._next.wait()


@dataclass(eq=False, slots=True)
class _Waiter(Generic[T]):
    owner: str
    served: anyio.Event = field(default_factory=anyio.Event)
    values: list[T] = field(default_factory=list)
    error: Exception | None = None


class Line(Generic[T]):
    """A queue of requests. `serve` chooses the owner to serve; the requests of one owner are served in order.

    Notifies `changes` when a request joins or leaves.
    """

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._waiters: list[_Waiter[T]] = []

    def __len__(self) -> int:
        return len(self._waiters)

    @property
    def owners(self) -> Counter[str]:
        """The number of waiting requests of each owner."""
        return Counter(waiter.owner for waiter in self._waiters)

    async def wait(self, owner: str, timeout_s: float, *, give_back: Callable[[T], None]) -> T:
        """Waits for a value from `serve`. Raises `TimeoutError`, or the error given to `fail` or `fail_last`.

        If the call is cancelled after it was served, it passes the value to `give_back`.
        """
        waiter = _Waiter[T](owner)
        self._waiters.append(waiter)
        self._changes.notify()
        try:
            with anyio.move_on_after(timeout_s):
                await waiter.served.wait()
        except BaseException:
            for value in waiter.values:
                give_back(value)
            raise
        finally:
            if not waiter.served.is_set():
                self._waiters.remove(waiter)
                self._changes.notify()
        if waiter.error is not None:
            raise waiter.error
        if not waiter.values:
            raise TimeoutError
        return waiter.values[0]

    def serve(self, value: T, *, rank: Callable[[str], int]) -> str:
        """Gives the value to the oldest request of the owner with the lowest rank, and returns that owner.

        At least one request must wait.
        """
        waiter = min(self._waiters, key=lambda waiter: rank(waiter.owner))
        self._waiters.remove(waiter)
        waiter.values.append(value)
        waiter.served.set()
        self._changes.notify()
        return waiter.owner

    def fail(self, error: Exception) -> None:
        """Makes every waiting request raise a copy of this error."""
        while self._waiters:
            self._send_away(self._waiters[-1], error)

    def fail_last(self, owner: str, error: Exception) -> None:
        """Makes the newest request of this owner raise a copy of the error. The owner must have one."""
        self._send_away(next(waiter for waiter in reversed(self._waiters) if waiter.owner == owner), error)

    def _send_away(self, waiter: _Waiter[T], error: Exception) -> None:
        self._waiters.remove(waiter)
        waiter.error = copy(error)
        waiter.served.set()
        self._changes.notify()
