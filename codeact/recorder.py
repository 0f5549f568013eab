"""What keeps a response's promises: its events enter; items and ends are stored before their events leave."""

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import anyio
import structlog

from codeact import events as e
from codeact.errors import StoreError, StoreUnavailable
from codeact.store import Store, offload
from codeact.store.log import EventLog, EventWriter

__all__ = ["Recorder"]

log = structlog.get_logger(__name__)

FIRST_ATTEMPT_S = 1.0
PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0


class Recorder:
    """Records one response. `log` is where its events go, numbered from `first`.

    While no database answers, the end of an item waits up to `patience_s`, and readers are told by an event.
    `late` is for a response that ends after its conversation may have gone on.
    """

    def __init__(
        self,
        response: e.Response,
        *,
        owner: str,
        store: Store,
        writer: EventWriter,
        patience_s: float,
        first: int = 0,
        late: bool = False,
    ) -> None:
        self.response = response
        self.log = EventLog(response.id, writer if response.store else None, first=first)
        self._owner = owner
        self._store = store
        self._patience_s = patience_s
        self._late = late
        self._gives_up_at: float | None = None
        self._stored_ids: set[str] = set()
        self._committing = anyio.Lock()
        self._is_counted = False
        self._has_ended = False
        self._abandoned = anyio.Event()

    async def emit(self, event: e.Event) -> None:
        """Stores what the event acknowledges, then gives it to readers. Several tasks may call it. Raises `StoreError`.

        What is being stored when the caller is cancelled is stored to its end.
        """
        if not self.response.store:
            self.log.append(event)
        elif isinstance(event, e.ResponseCreated):
            with anyio.CancelScope(shield=True):
                await self._insist(lambda: self.log.commit(event))
        elif isinstance(event, e.OutputItemDone):
            with anyio.CancelScope(shield=True):
                await self._insist(lambda: self._put_item(event.output_index))
                await self._insist(lambda: self._commit(event))
        elif isinstance(event, e.TerminalEvent):
            with anyio.CancelScope(shield=True):
                await self._insist(self._finish_response)
                await self._insist(lambda: self._commit(event))
            self._has_ended = True
        else:
            self.log.append(event)
            if self.log.is_full:
                await self._wait_for_room()

    def status(self, status: e.StatusName, message: str) -> None:
        """Tells readers why nothing happens."""
        self.log.append(e.StatusEvent(status=status, message=message))

    def fail(self, error: StoreError) -> None:
        """Ends the response for readers, although the database does not know it yet: `settle` tells it."""
        self.response.status = "failed"
        self.response.error = e.ResponseError(error.code, error.message)
        self.log.append(e.ResponseFailed(response=self.response))

    async def settle(self) -> None:
        """Stores what is missing after the end and gives the lease back; returns then, or after `abandon`."""
        pause_s = PAUSE_S
        while not self._abandoned.is_set():
            try:
                await self._count_tokens()
                if self.response.store:
                    await self._store_rest()
                return
            except StoreError as error:
                if not error.retryable:
                    log.error("response not stored", response=self.response.id, reason=error.message)
                    return
            await self._pause(pause_s)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    def abandon(self) -> None:
        """Stops waiting for the database, since the process ends. The lease passes to another one."""
        self._abandoned.set()

    # ---- storing -------------------------------------------------------------------------------------

    async def _commit(self, event: e.Event) -> None:
        async with self._committing:
            await self.log.commit(event)

    async def _put_item(self, index: int) -> None:
        item = self.response.output[index]
        await offload(item, self._put_blob)
        await self._store.add_item(self.response.id, index, item)
        self._stored_ids.add(item.id)

    async def _put_blob(self, data: bytes, media_type: str) -> str:
        return await self._store.put_blob(data, media_type, owner=self._owner)

    async def _finish_response(self) -> None:
        await self._store.finish_response(self.response, late=self._late)

    async def _store_rest(self) -> None:
        if not self._has_ended:
            for index, item in enumerate(self.response.output):
                if item.id not in self._stored_ids:
                    await self._put_item(index)
            await self._finish_response()
            await self.log.flush()
        await self._store.leases.release(self.response.id)

    async def _count_tokens(self) -> None:
        if self.response.usage is not None and not self._is_counted:
            await self._store.access.add_tokens(self._owner, self.response.usage.total_tokens, datetime.now(UTC))
            self._is_counted = True

    # ---- waiting -------------------------------------------------------------------------------------

    async def _insist(self, operation: Callable[[], Awaitable[None]]) -> None:
        """Until it succeeds or patience ends. A first attempt is short, so that readers are told soon."""
        pause_s = PAUSE_S
        try:
            with anyio.fail_after(FIRST_ATTEMPT_S):
                await operation()
            self._gives_up_at = None
            return
        except TimeoutError:
            failure: StoreError = StoreUnavailable("The database does not answer.")
        except StoreUnavailable as error:
            failure = error
        gives_up_at = self._gives_up_at = self._gives_up_at or time.monotonic() + self._patience_s
        log.warning("waiting for the database", response=self.response.id, reason=failure.message)
        self.status("waiting_for_database", f"The answer waits for the database. {failure.message}")
        while time.monotonic() < gives_up_at and not self._abandoned.is_set():
            try:
                await operation()
                self._gives_up_at = None
                return
            except StoreUnavailable as error:
                failure = error
            await self._pause(pause_s)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
        raise failure

    async def _wait_for_room(self) -> None:
        with anyio.move_on_after(self._patience_s):
            return await self.log.room()
        raise StoreUnavailable("The database takes no events, and memory holds no more of them.")

    async def _pause(self, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            await self._abandoned.wait()
