"""Records a response: stores each item and the end before it publishes the events that acknowledge them."""

import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import get_args

import anyio

from codeact import events as e
from codeact.disclosure import disclosed
from codeact.errors import CodeActError, ResponseTakenOver, StoreError, StoreUnavailable
from codeact.runs.event_log import EventLog, EventWriter
from codeact.runs.frames import encoded_size, is_large, light
from codeact.store.allowance import Allowance
from codeact.store.run_store import RunStore
from sandbox_pool.backoff import Backoff
from sandbox_pool.logs import Logger

__all__ = ["Recorder"]

log = Logger(__name__)

NOTICE_DELAY_S = 1.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0
COUNT_BYTES, COUNT_TIMEOUT_S = 4_000_000, 1.0
"""After each so many bytes of events, the owner's sum in the database is updated, if that takes no longer than this."""
ACKNOWLEDGING = frozenset({e.ResponseCreated, e.OutputItemDone, *get_args(e.TerminalEvent)})
"""Events that are published only after their content is stored. See `_goes_on`, too."""


class Recorder:
    """Records one response in `log`, with numbers from `first`.

    While no database answers, the end of an item waits up to `store_timeout_s` seconds, and an event informs readers.
    `epoch` is that of this server's lease: once another server has taken the response over, `emit` raises
    `ResponseTakenOver`, and nothing more is stored. `allowance` counts the bytes of every event before it is stored,
    and outputs of code twice, since the item contains them again.
    """

    def __init__(
        self,
        response: e.Response,
        *,
        owner: str,
        store: RunStore,
        writer: EventWriter,
        store_timeout_s: float,
        first: int = 0,
        epoch: int = 0,
        allowance: Allowance | None = None,
    ) -> None:
        self.response = response
        self._is_written = response.store and not store.in_memory
        self.log = EventLog(response.id, writer if self._is_written else None, first=first, epoch=epoch)
        self._owner = owner
        self._store = store
        self._epoch = epoch
        self._store_timeout_s = store_timeout_s
        self._gives_up_at: float | None = None
        self._stored_ids: set[str] = set()
        self._committing = anyio.Lock()
        self._waits: set[anyio.CancelScope] = set()
        self._is_counted = False
        self._is_measured = False
        self._allowance = allowance or Allowance()
        self._taken_bytes = self._counted_bytes = 0
        self._count_at = COUNT_BYTES
        self.input_bytes = 0
        self._has_ended = False
        self.before_end: Callable[[], Awaitable[None]] | None = None
        """Called when the end is stored, before readers hear of it."""
        self._abandoned = anyio.Event()

    async def emit(self, event: e.Event) -> None:
        """Stores what the event acknowledges, then publishes it. Several tasks may call it. Raises `StoreError`.

        A cancellation does not interrupt a write that has begun.
        """
        if self.log.failure is not None:
            raise self.log.failure
        whole = event
        if is_large(event):
            event = await light(event)
        if _goes_on(event) and self._is_written:
            with anyio.CancelScope(shield=True):
                await self._commit(event, whole)
        elif type(event) not in ACKNOWLEDGING or not self._is_written:
            if isinstance(event, e.TerminalEvent) and self.response.store:
                await self._finish_response()
            self.log.append(event, whole)
            self._take(event)
            while self.log.unread is not None and self.log.unread.is_full:
                await self.log.changed.wait()
            if self.log.stored_bytes >= self._count_at:
                await self._count_events()
            if self.log.is_full:
                await self._wait_for_room()
        elif isinstance(event, e.ResponseCreated):
            if not self.log.commit_prepared(event):
                with anyio.CancelScope(shield=True):
                    await self._commit(event, whole)
        elif isinstance(event, e.OutputItemDone):
            with anyio.CancelScope(shield=True):
                item = self.response.output[event.output_index]
                await self._retry(partial(self._store.offload, item, owner=self._owner))
                await self._commit(event, whole, event.output_index)
        else:
            with anyio.CancelScope(shield=True):
                await self._retry(self._finish_response)
                # Counted before readers get the end, so that the client's next question is checked against the sum.
                with contextlib.suppress(StoreError):  # `settle` tries again.
                    await self._count_tokens()
                    if self.before_end is not None:
                        await self.before_end()
                await self._commit(event, whole)
            self._has_ended = True

    async def store_created(self) -> None:
        """Stores `response.created` in advance, while the response is stored, so that emitting it needs no write.

        It never raises: if it fails, or the event changes until it is emitted, `emit` stores it.
        """
        with contextlib.suppress(CodeActError):
            await self.log.prepare(e.ResponseCreated(response=self.response))

    def status(self, status: e.StatusName, message: str) -> None:
        """Informs readers why nothing happens at the moment."""
        self.log.append(e.StatusEvent(status=status, message=message))

    def fail(self, error: CodeActError) -> None:
        """Ends the response for readers as failed, before that is stored: `settle` stores it.

        If another server has taken the response over, readers get this error instead of a terminal event.
        """
        if isinstance(error, ResponseTakenOver):
            self.log.end_with_error(error)
            return
        self.response.status = "failed"
        self.response.error = e.ResponseError(*disclosed(error))
        self.log.append(e.ResponseFailed(response=self.response))

    async def settle(self) -> None:
        """Stores what is missing after the end and releases the lease; returns then, or after `abandon`."""
        try:
            await self._settle()
        finally:
            self._allowance.close()

    async def _settle(self) -> None:
        backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        while not self._abandoned.is_set():
            try:
                with anyio.CancelScope() as waiting:
                    self._waits = {waiting}  # After the end nothing else waits.
                    await self._count_tokens()
                    await self._count_bytes()
                    if self._is_written:
                        await self._store_rest()
                return
            except ResponseTakenOver:
                return
            except StoreError as error:
                if not error.retryable:
                    log.error("response not stored", response=self.response.id, reason=error.message)
                    return
            await self._pause(backoff.next_s())

    def abandon(self) -> None:
        """Stops waiting for the database, since the process ends. Another one takes over when the lease expires."""
        self._abandoned.set()
        for scope in self._waits:
            scope.cancel()

    # ---- storing -------------------------------------------------------------------------------------

    async def _commit(self, event: e.Event, whole: e.Event, index: int | None = None) -> None:
        """Stores the event, after the item at `index`, and publishes it."""
        async with self._committing, self._waiting_for_store():
            if index is not None:
                self._put_item(index)
            await self.log.commit(event, whole)

    def _put_item(self, index: int) -> None:
        item = self.response.output[index]
        if item.id not in self._stored_ids:
            self._stored_ids.add(item.id)
            self.log.put_item(index, item)

    async def _finish_response(self) -> None:
        await self._store.finish_response(self.response, epoch=self._epoch)

    async def _store_rest(self) -> None:
        if self.log.failure is not None:
            raise self.log.failure
        if not self._has_ended:
            for index, item in enumerate(self.response.output):
                await self._store.offload(item, owner=self._owner)
                self._put_item(index)
            await self.log.flush()
            await self._finish_response()
        await self._store.leases.release(self.response.id, epoch=self._epoch)

    async def _count_tokens(self) -> None:
        if self.response.usage is not None and not self._is_counted and self.log.failure is None:
            await self._store.access.add_tokens(self._owner, self.response.usage.total_tokens, datetime.now(UTC))
            self._is_counted = True

    async def _count_bytes(self) -> None:
        if self._is_written and not self._is_measured and self.log.failure is None:
            await self._add_bytes(self.input_bytes + await encoded_size(self.response))
            self._is_measured = True

    def _take(self, event: e.Event) -> None:
        grown_bytes = self.log.size_bytes - self._taken_bytes
        self._taken_bytes += grown_bytes
        self._allowance.take(2 * grown_bytes if isinstance(event, e.CodeOutput) else grown_bytes)

    async def _count_events(self) -> None:
        """Updates the owner's sum if the database is quick; otherwise the end of the answer does."""
        self._count_at = self.log.stored_bytes + COUNT_BYTES
        with contextlib.suppress(StoreError), anyio.move_on_after(COUNT_TIMEOUT_S):
            await self._add_bytes(0)

    async def _add_bytes(self, size_bytes: int) -> None:
        """Adds these bytes, and those of events stored since the last call, to the owner's sum."""
        events_bytes = self.log.stored_bytes - self._counted_bytes
        sums = await self._store.stored.add(self._owner, size_bytes + events_bytes)
        self._counted_bytes += events_bytes
        self._allowance.counted(size_bytes + events_bytes, sums)

    # ---- waiting -------------------------------------------------------------------------------------

    async def _retry(self, operation: Callable[[], Awaitable[None]]) -> None:
        """Repeats the operation until it succeeds; raises `StoreUnavailable` after the timeout."""
        backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        async with self._waiting_for_store():
            while True:
                try:
                    await operation()
                    return
                except StoreUnavailable as error:
                    self._report_waiting(error)
                await backoff.pause()

    @asynccontextmanager
    async def _waiting_for_store(self) -> AsyncIterator[None]:
        """Cancels the `with` block once the database has not answered for too long; a slow database has no timeout.

        Raises `StoreUnavailable` in that case, and after `abandon`.
        """
        failure: Exception | None = None
        is_done = False
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch_silence, tasks.cancel_scope)
            self._waits.add(tasks.cancel_scope)
            try:
                if self._abandoned.is_set():
                    tasks.cancel_scope.cancel()
                yield
                is_done, self._gives_up_at = True, None
            except Exception as error:  # The task group would raise it inside an ExceptionGroup.
                failure = error
            finally:
                self._waits.discard(tasks.cancel_scope)
            tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure
        if not is_done:
            raise self.log.failure or StoreUnavailable("The database did not store the answer in time.")

    async def _watch_silence(self, scope: anyio.CancelScope) -> None:
        """Informs readers once that the database does not answer, and cancels `scope` after the timeout."""
        while True:
            if self._gives_up_at is not None:
                await anyio.sleep(max(self._gives_up_at - time.monotonic(), 0))
                if self._gives_up_at is not None and self._gives_up_at <= time.monotonic():
                    scope.cancel()
                    return
                continue
            await anyio.sleep(NOTICE_DELAY_S)
            if self._store.silent_s >= NOTICE_DELAY_S:
                try:
                    await self._store.ping()
                except StoreUnavailable as error:
                    self._report_waiting(error)

    def _report_waiting(self, failure: StoreError) -> None:
        if self._gives_up_at is None:
            self._gives_up_at = time.monotonic() + self._store_timeout_s
            log.warning("waiting for the database", response=self.response.id, reason=failure.message)
            message = f"The answer waits for the database. {disclosed(failure)[1]}"
            self.log.interrupt(e.StatusEvent(status="waiting_for_database", message=message))

    async def _wait_for_room(self) -> None:
        with anyio.move_on_after(self._store_timeout_s):
            await self.log.room()
            return
        raise StoreUnavailable("The database takes no events, and memory holds no more of them.")

    async def _pause(self, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            await self._abandoned.wait()


def _goes_on(event: e.Event) -> bool:
    """Whether code that waited goes on after this event. That is stored first: the code must not go on twice."""
    if not isinstance(event, e.OutputItemAdded) or not isinstance(event.item, e.CodeInterpreterCall):
        return False
    return event.item.continues is not None
