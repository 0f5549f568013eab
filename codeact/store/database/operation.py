"""Guards database operations: limits how many run at once, and never cancels one inside the driver.

PyMongo's pool loses its lock when a waiter is cancelled inside it (by a deadline, a client that leaves, a group that
ends), and then no operation of the process ends any more. So each operation runs to its end in a task of its own,
which belongs to the connection; whoever waits for it gives up waiting.
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
"""Operations under way at once. The driver's pool has a connection for each, so that none waits inside the driver."""
SILENCE_S = 10.0
"""Nothing was heard of the database for so long: whoever waits has it asked whether it lives."""
PING_S, PING_STEPS = 1.5, 30
OPERATION_S = 30.0
"""What the driver may take for one operation. Only a database that hangs takes so long."""
QUEUE_S = 60.0
CLOSE_S = 3.0

P = ParamSpec("P")
T = TypeVar("T")
_inside: ContextVar[bool] = ContextVar("inside_an_operation", default=False)


class HasOperations(Protocol):
    """What `operation` decorates the methods of."""

    _operations: "Operations"


class _Outcome(Generic[T]):
    """What becomes of an operation. `done` is set once there is a value or an error."""

    def __init__(self) -> None:
        self.done = anyio.Event()
        self.queued = anyio.CancelScope()
        self.value: T
        self.error: BaseException | None = None


class Operations:
    """The operations of one connection. Any number may be asked for; `PLACES` run at once, first in, first out."""

    def __init__(self, tasks: TaskGroup, uri: str) -> None:
        self.uri = uri
        self._tasks = tasks
        self._places = anyio.CapacityLimiter(PLACES)
        self._running: set[anyio.CancelScope] = set()
        self._companions: set[anyio.CancelScope] = set()
        self._one_ended = anyio.Event()
        self._ping: Callable[[], Awaitable[None]] | None = None
        self._pinging: _Outcome[None] | None = None
        self._heard_at = time.monotonic()
        self._closed = False

    @classmethod
    @asynccontextmanager
    async def open(cls, uri: str) -> AsyncIterator["Operations"]:
        """Owns the tasks. On leaving it waits `CLOSE_S` for those that run, and cancels what hangs then."""
        failure: Exception | None = None
        async with anyio.create_task_group() as tasks:
            operations = cls(tasks, uri)
            try:
                yield operations
            except Exception as error:  # It would leave the group as an ExceptionGroup.
                failure = error
            finally:
                await operations.close()
        if failure is not None:
            raise failure

    def heard(self) -> None:
        """Notes that the database has just answered."""
        self._heard_at = time.monotonic()

    def ask_by(self, ping: Callable[[], Awaitable[None]]) -> None:
        """`ping` raises unless the database answers. It needs no place."""
        self._ping = ping

    @property
    def silent_s(self) -> float:
        """How long ago the database answered last. It means nothing while no operation runs."""
        return time.monotonic() - self._heard_at

    async def run(self, call: Callable[[], Awaitable[T]], *, limit_s: float = OPERATION_S, placed: bool = True) -> T:
        """The result of `call`, which runs to its end whatever becomes of the caller, once it has its place.

        Raises what `call` raises, and `StoreUnavailable` once the database has answered nobody for about 12 s: while
        it answers others, an operation may take `limit_s`. Cancelling ends the waiting.
        """
        if _inside.get():  # A part of an operation: it has that one's place, task and deadline.
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
            outcome.queued.cancel()  # What nobody waits for need not begin.
        if outcome.error is not None:
            raise outcome.error
        return outcome.value

    def spawn(self, call: Callable[[], Awaitable[None]]) -> None:
        """Runs `call` beside all others, to its end. It must not raise, and must end soon after it is asked to."""
        self._check_open()
        self._tasks.start_soon(self._drive, call, _Outcome[None](), None, False)

    def accompany(self, work: Callable[[], Awaitable[None]]) -> None:
        """Runs `work` beside the operations; closing cancels it. It must not raise, and asks by operations alone."""
        self._check_open()
        self._tasks.start_soon(self._accompany, work)

    async def is_alive(self) -> bool:
        """Whether the database answers a ping just now. All who ask at the same time share one."""
        pinging = self._pinging
        if pinging is None or pinging.done.is_set():
            if self._ping is None or self._closed:
                return False
            pinging = self._pinging = _Outcome[None]()
            self._tasks.start_soon(self._drive, self._ping, pinging, OPERATION_S, False)
        for _ in range(PING_STEPS):  # Each lasts longer while the event loop is busy: that is no fault of the database.
            with anyio.move_on_after(PING_S / PING_STEPS):
                await pinging.done.wait()
                return pinging.error is None
        return False

    async def drain(self) -> None:
        """Takes no more operations, and waits for those under way: `CLOSE_S` at most. It cancels none of them.

        Closing the client then ends what is still under way: the driver refuses each operation that waits for a
        server. An operation that is cancelled instead may leave with the driver's lock, and then closing hangs.
        """
        self._closed = True
        for scope in self._companions:
            scope.cancel()
        with anyio.move_on_after(CLOSE_S, shield=True):
            while self._running:
                self._one_ended = anyio.Event()
                await self._one_ended.wait()

    async def close(self) -> None:
        """Drains, and cancels what still hangs. The client is closed before."""
        await self.drain()
        for scope in self._running:
            scope.cancel()

    # ---- inside --------------------------------------------------------------------------------------

    async def _ended(self, outcome: _Outcome[Any], within_s: float) -> bool:
        """Whether it has ended before the database was found silent."""
        started = time.monotonic()
        while True:
            quiet_s = time.monotonic() - max(started, self._heard_at)
            with anyio.move_on_after(max(SILENCE_S - quiet_s, 0.1)):
                await outcome.done.wait()
                return True
            now = time.monotonic()
            silent = now - max(started, self._heard_at) >= SILENCE_S and not await self.is_alive()
            if outcome.done.is_set():
                return True
            if silent or now - started > within_s:
                return False

    async def _accompany(self, work: Callable[[], Awaitable[None]]) -> None:
        with anyio.CancelScope() as scope:
            self._companions.add(scope)
            try:
                if not self._closed:
                    await work()
            finally:
                self._companions.discard(scope)

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
    """Runs the method by `Operations.run`; it raises our errors instead of the driver's.

    Where the connection breaks it runs once more, since what a lost connection did is unknown: every write
    of the store may therefore be repeated. Cancelling the caller leaves open whether it was done.
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
