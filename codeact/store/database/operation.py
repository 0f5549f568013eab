"""Runs database operations: limits how many run at once, and never cancels one inside the driver.

If a task is cancelled while it waits inside PyMongo's pool (by a deadline, a client that disconnects, or a task group
that ends), the pool loses its lock and no operation of the process ever completes again. So each operation runs to
completion in a task of its own, which belongs to the connection; a caller that is cancelled only stops waiting.
"""

import functools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar

import anyio
from anyio.abc import TaskGroup

from codeact.errors import StoreUnavailable
from codeact.store.database.uri import describe

__all__ = ["Operations", "operation"]

PLACES = 24
"""How many operations run at once. The driver's pool has a connection for each, so none waits inside the driver."""
SILENCE_S = 10.0
"""If the database has answered nothing for this long, a waiting caller has it pinged."""
PING_S, PING_STEPS = 1.5, 30
OPERATION_S = 30.0
"""The driver's deadline for one operation. Only a hanging database reaches it."""
QUEUE_S = 60.0
CLOSE_S = 3.0

P = ParamSpec("P")
T = TypeVar("T")
_inside: ContextVar[bool] = ContextVar("inside_an_operation", default=False)


class HasOperations(Protocol):
    """An object whose methods can be decorated with `operation`."""

    _operations: "Operations"


class _Outcome(Generic[T]):
    """The result of an operation. `done` is set once there is a value or an error."""

    def __init__(self) -> None:
        self.done = anyio.Event()
        self.queued = anyio.CancelScope()
        self.value: T
        self.error: BaseException | None = None


class Operations:
    """The operations of one connection.

    Any number of calls may wait; `PLACES` of them run at once, in order of arrival.
    """

    def __init__(self, tasks: TaskGroup, uri: str) -> None:
        self.uri = uri
        self._tasks = tasks
        self._places = anyio.CapacityLimiter(PLACES)
        self._running: set[anyio.CancelScope] = set()
        self._background: set[anyio.CancelScope] = set()
        self._one_ended = anyio.Event()
        self._ping: Callable[[], Awaitable[None]] | None = None
        self._pinging: _Outcome[None] | None = None
        self._answered_at = time.monotonic()
        self._closed = False

    @classmethod
    @asynccontextmanager
    async def open(cls, uri: str) -> AsyncIterator["Operations"]:
        """Opens the operations of a connection, with their task group.

        On exit it waits up to `CLOSE_S` for running operations and then cancels what still hangs.
        """
        failure: Exception | None = None
        async with anyio.create_task_group() as tasks:
            operations = cls(tasks, uri)
            try:
                yield operations
            except Exception as error:  # Raised inside the group, it would become an ExceptionGroup.
                failure = error
            finally:
                await operations.close()
        if failure is not None:
            raise failure

    def note_answer(self) -> None:
        """Notes that the database has just answered."""
        self._answered_at = time.monotonic()

    def set_ping(self, ping: Callable[[], Awaitable[None]]) -> None:
        """Sets the call that checks the database: `ping` raises unless it answers. It needs no place."""
        self._ping = ping

    @property
    def silent_s(self) -> float:
        """How long ago the database last answered. Meaningless while no operation runs."""
        return time.monotonic() - self._answered_at

    async def run(self, call: Callable[[], Awaitable[T]], *, limit_s: float = OPERATION_S, placed: bool = True) -> T:
        """Runs `call` once a place is free and returns its result. `call` completes even if the caller is cancelled.

        Raises what `call` raises. Raises `StoreUnavailable` if the database has answered nothing for about 12 s; while
        it answers other operations, this one may take `limit_s`. Cancelling only ends the waiting.
        """
        if _inside.get():  # Called inside an operation: use that operation's place, task and deadline.
            return await call()
        self._check_open()
        outcome = _Outcome[T]()
        self._tasks.start_soon(self._drive, call, outcome, limit_s, placed)
        try:
            if not await self._ended(outcome, limit_s + QUEUE_S):
                raise StoreUnavailable(
                    f"No MongoDB answers at {describe(self.uri)}: it has been silent for {self.silent_s:.0f} s. Look"
                    " at its load and its disk, or correct CODEACT_MONGODB_URI."
                )
        finally:
            outcome.queued.cancel()  # If it has not begun, it need not begin: nobody waits for it.
        if outcome.error is not None:
            raise outcome.error
        return outcome.value

    def spawn(self, call: Callable[[], Awaitable[None]]) -> None:
        """Runs `call` to completion in the background. It must not raise, and must end soon after it is asked to."""
        self._check_open()
        self._tasks.start_soon(self._drive, call, _Outcome[None](), None, False)

    def run_in_background(self, work: Callable[[], Awaitable[None]]) -> None:
        """Runs `work` in the background until it ends or the connection closes.

        It must not raise, and must use operations for all its queries.
        """
        self._check_open()
        self._tasks.start_soon(self._run_in_background, work)

    async def is_alive(self) -> bool:
        """Whether the database answers a ping now. Concurrent callers share one ping."""
        pinging = self._pinging
        if pinging is None or pinging.done.is_set():
            if self._ping is None or self._closed:
                return False
            pinging = self._pinging = _Outcome[None]()
            self._tasks.start_soon(self._drive, self._ping, pinging, OPERATION_S, False)
        # Each step lasts longer while the event loop is busy, which is not the database's fault.
        for _ in range(PING_STEPS):
            with anyio.move_on_after(PING_S / PING_STEPS):
                await pinging.done.wait()
                return pinging.error is None
        return False

    async def drain(self) -> None:
        """Accepts no more operations and waits up to `CLOSE_S` for the running ones. It cancels none of them.

        Closing the client afterwards ends the rest: the driver refuses every operation that waits for a server. A
        cancelled operation could take the pool's lock with it, and closing would hang.
        """
        self._closed = True
        for scope in self._background:
            scope.cancel()
        with anyio.move_on_after(CLOSE_S, shield=True):
            while self._running:
                self._one_ended = anyio.Event()
                await self._one_ended.wait()

    async def close(self) -> None:
        """Drains, then cancels what still hangs. The client must be closed before."""
        await self.drain()
        for scope in self._running:
            scope.cancel()

    # ---- inside --------------------------------------------------------------------------------------

    async def _ended(self, outcome: _Outcome[Any], within_s: float) -> bool:
        """True once it has ended; False if the database was found silent, or `within_s` has passed, before that."""
        started = time.monotonic()
        while True:
            quiet_s = time.monotonic() - max(started, self._answered_at)
            with anyio.move_on_after(max(SILENCE_S - quiet_s, 0.1)):
                await outcome.done.wait()
                return True
            now = time.monotonic()
            silent = now - max(started, self._answered_at) >= SILENCE_S and not await self.is_alive()
            if outcome.done.is_set():
                return True
            if silent or now - started > within_s:
                return False

    async def _run_in_background(self, work: Callable[[], Awaitable[None]]) -> None:
        with anyio.CancelScope() as scope:
            self._background.add(scope)
            try:
                if not self._closed:
                    await work()
            finally:
                self._background.discard(scope)

    async def _drive(
        self, call: Callable[[], Awaitable[T]], outcome: _Outcome[T], limit_s: float | None, placed: bool
    ) -> None:
        import pymongo

        outcome.error = StoreUnavailable("The connection to the database has been closed: the server is stopping.")
        running = anyio.CancelScope(shield=True)
        try:
            if placed:
                with outcome.queued:
                    await self._places.acquire_on_behalf_of(outcome)
                if outcome.queued.cancelled_caught:
                    placed = False
                    return
            if self._closed and not self._running:
                return
            self._running.add(running)
            _inside.set(True)
            with running, pymongo.timeout(limit_s):
                try:
                    outcome.value = await call()
                    outcome.error = None
                except Exception as error:
                    outcome.error = error
        finally:
            self._running.discard(running)
            if placed:
                self._places.release_on_behalf_of(outcome)
            outcome.done.set()
            self._one_ended.set()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreUnavailable("The connection to the database has been closed: the server is stopping.")


S = TypeVar("S", bound=HasOperations)


def operation(
    method: Callable[Concatenate[S, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """Decorator: runs the method through `Operations.run` and maps the driver's errors to ours.

    If the connection breaks, the method runs once more, because nobody knows what the lost connection did. So every
    write of the store must be repeatable. If the caller is cancelled, the write may or may not happen.
    """

    @functools.wraps(method)
    async def guarded(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        from pymongo.errors import AutoReconnect

        from codeact.store.database.errors import FOREIGN, explain

        async def call() -> T:
            try:
                try:
                    return await method(self, *args, **kwargs)
                except AutoReconnect:
                    return await method(self, *args, **kwargs)
            except FOREIGN as error:
                raise explain(error, self._operations.uri) from error

        return await self._operations.run(call)

    return guarded
