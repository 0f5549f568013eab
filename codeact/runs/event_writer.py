"""Stores the events of all runs of this process in a few batches, in order for each run.

A batch combines events of many runs; while the database is quick, it has few logs, so that the event loop never stands
still for long. Each log adds at most one document to a batch, so that a retry replaces what a
failed attempt may have written. After a failure the next batch is half as large.
"""

import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import anyio

from codeact.errors import CodeActError, ResponseTakenOver, StoreError
from codeact.store.repositories.event_batches import EventBatch, RunWrite
from codeact.store.run_store import RunStore
from sandbox_pool.backoff import Backoff
from sandbox_pool.logs import Logger

__all__ = ["EventWriter", "PendingWrite"]

log = Logger(__name__)

BATCH_DELAY_S, MAX_BATCH_DELAY_S = 0.2, 0.5
"""How long events are collected before a batch; three times the duration of the last batch if that is longer."""
BATCH_BYTES, MIN_BATCH_BYTES = 4_000_000, 64_000
"""The size of one batch, which the part of its last log may exceed, and the smallest size after failures."""
BATCH_LOGS = 50
"""How many logs a batch has at most while the database is quick: to encode a batch holds the event loop."""
QUICK_S = 0.1
MAX_AHEAD_BYTES = 256_000_000
"""Limit for the unstored events of all logs; above it, each run waits as soon as it has a few of its own."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0


@dataclass(frozen=True, slots=True)
class PendingWrite:
    """The next part of a log to store.

    `size_bytes` is that of its events. The log uses `version` to detect that an event was withdrawn meanwhile.
    `is_cut`: the log has more than this part.
    """

    write: RunWrite
    size_bytes: int
    version: int
    is_cut: bool


class Log(Protocol):
    """The part of `EventLog` that the writer uses."""

    response_id: str

    @property
    def is_stored(self) -> bool: ...

    def pending_write(self) -> PendingWrite: ...

    def stored(self, part: PendingWrite) -> None: ...

    def failed(self, error: StoreError) -> None: ...


Batch = Sequence[tuple[Log, PendingWrite]]


class EventWriter:
    """Stores the logs of all responses of this process, in its task `run`, which the owner has to start."""

    def __init__(self, get_store: Callable[[], Awaitable[RunStore]], *, ttl_s: float) -> None:
        self.ahead_bytes = 0
        self._get_store = get_store
        self._ttl_s = ttl_s
        self._waiting: dict[Log, None] = {}
        self._urgent: dict[Log, None] = {}
        self._noted = anyio.Event()
        self._hurry = anyio.Event()
        self._due_at = 0.0
        self._batch_bytes = BATCH_BYTES
        self._batch_logs: float = BATCH_LOGS

    @classmethod
    @asynccontextmanager
    async def open(cls, get_store: Callable[[], Awaitable[RunStore]], *, ttl_s: float) -> AsyncIterator["EventWriter"]:
        """Yields a writer whose task runs until the `with` block ends."""
        writer = cls(get_store, ttl_s=ttl_s)
        failure: Exception | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(writer.run)
            try:
                yield writer
            except Exception as error:  # The task group would raise it inside an ExceptionGroup.
                failure = error
            tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure

    @property
    def is_full(self) -> bool:
        return self.ahead_bytes > MAX_AHEAD_BYTES

    def note(self, log: Log, *, urgent: bool = False) -> None:
        """Schedules the log for the next batch, or with `urgent` for a batch right now."""
        if log not in self._waiting:
            self._waiting[log] = None
            self._noted.set()
        if urgent:
            self._urgent.setdefault(log)
            self._hurry.set()

    async def run(self) -> None:
        """Stores batches until cancelled. While no database answers it retries, and logs grow in memory.

        It may be started again after a cancellation: nothing that waits to be stored is lost.
        """
        backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        while True:
            await self._noted.wait()
            if not self._urgent:
                with anyio.move_on_after(max(0.0, self._due_at - time.monotonic())):
                    await self._hurry.wait()
            self._hurry = anyio.Event()
            batch = self._batch()
            try:
                await self._store_all(batch)
                backoff.reset()
                self._batch_bytes = min(self._batch_bytes * 2, BATCH_BYTES)
            except CodeActError as error:
                log.warning("events are not stored yet", reason=error.message, responses=len(self._waiting))
                self._batch_bytes = max(self._batch_bytes // 2, MIN_BATCH_BYTES)
                for waiting, _ in batch:  # A log that takes too long must not block the others for ever.
                    self._move_to_end(waiting)
                await backoff.pause()

    async def write(self, write: RunWrite) -> None:
        """Stores a new response's first event at once, outside of batches. Raises `StoreError`."""
        store = await self._get_store()
        await store.run_writes.put([write], ttl_s=self._ttl_s)

    async def read(self, response_id: str, start: int) -> AsyncGenerator[EventBatch, None]:
        """See `Events.read`."""
        store = await self._get_store()
        async for event_batch in store.events.read(response_id, start):
            yield event_batch

    # ---- private -------------------------------------------------------------------------------------

    def _batch(self) -> Batch:
        """Collects parts of the urgent logs and, once the delay is over, of the logs that have waited longest."""
        now = time.monotonic()
        is_due = now >= self._due_at
        parts: list[tuple[Log, PendingWrite]] = []
        size_bytes = 0
        for waiting in dict.fromkeys((*self._urgent, *self._waiting) if is_due else self._urgent):
            if size_bytes >= self._batch_bytes or len(parts) >= self._batch_logs:
                break
            if waiting in self._urgent or waiting in self._waiting:
                part = waiting.pending_write()
                parts.append((waiting, part))
                size_bytes += part.size_bytes
                self._urgent.pop(waiting, None)
                self._move_to_end(waiting)
        return parts

    async def _store_all(self, batch: Batch) -> None:
        """Stores the batch; raises only errors after which a retry may succeed."""
        started = time.monotonic()
        try:
            await self._put(batch)
        except Exception as error:
            if isinstance(error, CodeActError) and (error.retryable or not isinstance(error, StoreError)):
                raise
            await self._store_each(batch)
        now = time.monotonic()
        if any(part.is_cut for _, part in batch):
            self._due_at = now
        elif started >= self._due_at:
            delay_s = min(max(BATCH_DELAY_S, 3 * (now - started)), MAX_BATCH_DELAY_S)
            # Batches of many logs are spread over the delay, so that each log is still stored once in that time.
            self._due_at = now + delay_s * len(batch) / max(len(batch), len(self._waiting))
        self._batch_logs = BATCH_LOGS if now - started < QUICK_S else math.inf

    async def _store_each(self, batch: Batch) -> None:
        """Stores one log after the other, so that a log that cannot be stored does not prevent the others."""
        for waiting, part in batch:
            try:
                await self._put([(waiting, part)])
            except CodeActError as error:
                if error.retryable or not isinstance(error, StoreError):
                    raise
                log.error("a run cannot be stored", response=waiting.response_id, reason=error.message)
                self._give_up(waiting, error)
            except Exception as error:
                log.exception("a run cannot be stored because of an internal error", response=waiting.response_id)
                self._give_up(waiting, StoreError(f"The answer cannot be stored: {type(error).__name__}."))

    async def _put(self, batch: Batch) -> None:
        writes = [part.write for _, part in batch if part.write.event_batch.frames or part.write.items]
        lost = set[str]()
        if writes:
            store = await self._get_store()
            lost = await store.run_writes.put(writes, ttl_s=self._ttl_s)
        for waiting, part in batch:
            if waiting.response_id in lost:
                self._give_up(waiting, ResponseTakenOver())
                continue
            waiting.stored(part)
            if waiting.is_stored:
                self._forget(waiting)

    def _give_up(self, waiting: Log, error: StoreError) -> None:
        waiting.failed(error)
        self._forget(waiting)

    def _move_to_end(self, waiting: Log) -> None:
        self._waiting.pop(waiting, None)
        self._waiting[waiting] = None

    def _forget(self, waiting: Log) -> None:
        self._waiting.pop(waiting, None)
        self._urgent.pop(waiting, None)
        if not self._waiting:
            self._noted = anyio.Event()
