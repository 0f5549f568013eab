"""The event log of one response: numbers events, and passes their frames on to any number of readers.

Memory contains the events that are not stored yet and the newest megabyte of the others, so that live readers need no
database; readers that are further behind read from there. One writer stores the events of all logs.
"""

import math
from collections.abc import AsyncGenerator

from codeact import events as e
from codeact.concurrency.signal import Signal
from codeact.errors import StoreError
from codeact.runs.event_writer import EventWriter, PendingWrite
from codeact.runs.frames import bytes_of, chunk_of, numbered
from codeact.runs.unread_events import UnreadEvents
from codeact.store.repositories.event_batches import BATCH_BYTES, EventBatch, RunWrite

__all__ = ["RESTART_GAP", "EventLog", "EventWriter"]

MAX_AHEAD = 100_000
"""How many events of a response may wait for the database."""
RESTART_GAP = 1_000_000
"""After a crash, numbers continue with this gap: it is larger than the number of events that may be unstored."""
MAX_AHEAD_BYTES = 32_000_000
FAIR_AHEAD_BYTES = 1_000_000
"""Limit for each log's unstored events if those of all logs exceed the writer's limit."""
RETAINED_BYTES = 1_000_000
Encoded = tuple[str, e.Event]  # An event's JSON without a number, and the event.


class EventLog:
    """The log of one response, numbered from `first`. `append` never waits.

    `base` is the number of the first event in memory. Without a `writer` nothing is stored. `epoch` is that of this
    server's lease; None if no server can take the response over. `unread` is for `codeact.runs.streams.read_events`.
    """

    def __init__(
        self, response_id: str, writer: EventWriter | None, *, first: int = 0, epoch: int | None = None
    ) -> None:
        self.response_id = response_id
        self.ended = False
        self.failure: StoreError | None = None
        self._last_error: StoreError | None = None
        self._writer = writer
        self._epoch = epoch
        self._frames: list[str] = []
        self.base = first
        self._published = first
        self._stored = first
        self._items: list[tuple[int, e.Item]] = []
        self._withdrawn = 0
        self._ahead_bytes = 0
        self.stored_bytes = 0
        self._retained_bytes = 0
        self._deferred: list[Encoded] | None = None
        self._committing: Encoded | None = None
        self._prepared: str | None = None
        self._readers = 0
        self._flushing = 0
        self.changed = Signal()
        self.unread: UnreadEvents | None = None

    @property
    def next(self) -> int:
        """The number of the next event."""
        return self.base + len(self._frames)

    @property
    def size_bytes(self) -> int:
        """The bytes of all events that are or will be stored; `stored_bytes` counts only the stored ones."""
        return self.stored_bytes + self._ahead_bytes

    @property
    def is_stored(self) -> bool:
        return self._writer is None or (self._stored == self.next and not self._items)

    @property
    def is_full(self) -> bool:
        """Whether more events wait for the database than memory should contain."""
        if self._writer is None:
            return False
        if self._ahead_bytes > FAIR_AHEAD_BYTES and (self._writer.is_full or self._ahead_bytes > MAX_AHEAD_BYTES):
            return True
        return self.next - self._stored >= MAX_AHEAD

    @property
    def readers(self) -> int:
        return self._readers

    def append(self, event: e.Event, whole: e.Event | None = None) -> None:
        """Numbers the event and publishes it; the writer stores it within 200 ms, if the database answers.

        During a `commit` it is published after that. `whole` is the event itself if `event` was made by `frames.light`.
        """
        if self._deferred is not None:
            self._deferred.append((e.encode(event).decode(), whole or event))
            return
        event.sequence_number = number = self.base + len(self._frames)
        if self.unread is not None:
            self.unread.put(number, whole or event)
        self._frames.append(frame := e.encode(event).decode())
        self._count(bytes_of(frame))
        self._publish()

    async def prepare(self, event: e.Event) -> None:
        """Stores the probable event number 0 in advance, for `commit_prepared`. Another first event replaces it.

        Raises `StoreError`.
        """
        if self._writer is not None:
            frame = e.encode(event).decode()
            await self._writer.write(RunWrite(EventBatch(self.response_id, 0, [frame]), None))
            self._prepared = frame

    def commit_prepared(self, event: e.Event) -> bool:
        """Publishes the event and returns True if it is the first one and `prepare` has stored exactly this event."""
        prepared, self._prepared = self._prepared, None
        if prepared is None or self.next or e.encode(event).decode() != prepared:
            return False
        if self.unread is not None:
            self.unread.put(0, event)
        self._frames.append(prepared)
        self._stored = self._published = self.next
        self._retained_bytes += bytes_of(prepared)
        self.changed.send()
        return True

    async def commit(self, event: e.Event, whole: e.Event | None = None) -> None:
        """Stores the event and all before it, and then publishes it. Only one task may call it at a time.

        It waits until the database answers. Raises a `StoreError` that retries cannot correct. If it fails or is
        cancelled, the event is withdrawn, and the next event gets its number.
        """
        self._deferred, self._committing = [], (e.encode(event).decode(), whole or event)
        self._add(self._committing)
        try:
            while not self.is_stored:
                await self.flush()
        except BaseException:
            self._withdraw()
            raise
        finally:
            self._published = self.next
            self.changed.send()
            deferred, self._deferred = self._deferred, None
            for encoded in deferred:
                self._add(encoded)
            if deferred:
                self._publish()

    def interrupt(self, event: e.Event) -> None:
        """Appends an event before the one that is being committed, without waiting."""
        if self._deferred is None or self._committing is None:
            self.append(event)
            return
        self._withdraw()
        self._add((e.encode(event).decode(), event))
        self._publish()
        self._add(self._committing)

    def put_item(self, index: int, item: e.Item) -> None:
        """Adds a finished item for the writer, stored before any later event. Call the store's `offload` first."""
        self._items.append((index, item))

    async def flush(self) -> None:
        """Returns once all events and items so far are stored. Raises a `StoreError` that retries cannot correct."""
        if self._writer is None:
            return
        self._flushing += 1
        try:
            self._writer.note(self, urgent=True)
            upto = self.next
            while self._stored < min(upto, self.next) or self._items:
                if self.failure is not None:
                    raise self.failure
                await self.changed.wait()
        finally:
            self._flushing -= 1

    async def room(self) -> None:
        """Returns once the log is no longer full, or has failed."""
        while self.is_full and self.failure is None:
            await self.changed.wait()

    def end_with_error(self, error: StoreError) -> None:
        """Ends the log without a terminal event: readers get the events so far, then `read` raises the error."""
        self._last_error = error
        self.end()

    def end(self) -> None:
        """Ends the log: `read` returns once a reader has read everything."""
        self.ended = True
        self.changed.send()

    async def read(self, start: int = 0, *, idle_s: float = math.inf) -> AsyncGenerator[list[str], None]:
        """Yields lists of frames from the number `start` on, as they arrive, until the log has ended.

        An empty list means that nothing has arrived for `idle_s` seconds. After a cancellation the caller can read on
        from the next number. Raises `StoreError` if the reader is so far behind that it needs the database and that
        fails, and `ResponseTakenOver` after the last frame if this server has lost the run.
        """
        self._readers += 1
        try:
            at = start
            while True:
                if at < self.base:
                    assert self._writer is not None
                    async for event_batch in self._writer.read(self.response_id, at):
                        yield list(event_batch.frames)
                        at = event_batch.next
                    at = max(at, self.base)
                elif at < self._published:
                    chunk = chunk_of(self._frames, at - self.base, self._published - self.base)
                    at += len(chunk)
                    yield chunk
                elif self.ended and self._last_error is not None:
                    raise self._last_error
                elif self.ended:
                    return
                elif not await self.changed.wait(idle_s):
                    yield []
        finally:
            self._readers -= 1
            self.changed.send()

    def forget(self, upto: int) -> None:
        """Drops the frames before this number, for a log that is not stored and has only one reader."""
        if self._writer is None:
            del self._frames[: upto - self.base]
            self.base = upto

    async def closed(self, *, to_readers: bool = False) -> None:
        """Returns once the log has ended; with `to_readers`, once all current readers have read everything."""
        while not self.ended or (to_readers and self._readers):
            await self.changed.wait()

    # ---- for the writer ------------------------------------------------------------------------------

    def pending_write(self) -> PendingWrite:
        """Returns the next events and items to store, at most as many as fit into one document."""
        at = self._stored - self.base
        end, size_bytes = at, 0
        while end < len(self._frames):
            frame_bytes = bytes_of(self._frames[end])
            if end > at and size_bytes + frame_bytes > BATCH_BYTES:
                break
            size_bytes += frame_bytes
            end += 1
        event_batch = EventBatch(self.response_id, self._stored, self._frames[at:end])
        # The first events follow the response's own creation, and are correct even if a server took it over since.
        is_first = self._stored == 0 and not self._items
        epoch = None if is_first else self._epoch
        write = RunWrite(event_batch, epoch, tuple(self._items), is_awaited=self._flushing > 0 or bool(self._items))
        return PendingWrite(write, size_bytes, self._withdrawn, is_cut=end < len(self._frames))

    def stored(self, part: PendingWrite) -> None:
        """Records that `part` is stored, and drops frames that memory no longer needs."""
        del self._items[: len(part.write.items)]
        if part.version != self._withdrawn:  # It contains an event that was withdrawn since, so it is written again.
            self.changed.send()
            return
        self._stored = part.write.event_batch.next
        self._count(-part.size_bytes)
        self._retained_bytes += part.size_bytes
        self.stored_bytes += part.size_bytes
        dropped = 0
        while self._retained_bytes > RETAINED_BYTES and self.base + dropped < min(self._stored, self._published):
            self._retained_bytes -= bytes_of(self._frames[dropped])
            dropped += 1
        del self._frames[:dropped]
        if self.unread is not None:
            self.unread.forget(range(self.base, self.base + dropped))
        self.base += dropped
        self.changed.send()

    def failed(self, error: StoreError) -> None:
        """Records that the rest of the log can never be stored."""
        self._count(-self._ahead_bytes)
        self.failure = error
        self.changed.send()

    def _add(self, encoded: Encoded) -> None:
        frame, event = encoded
        if self.unread is not None:
            self.unread.put(self.next, event)
        self._frames.append(frame := numbered(frame, self.next))
        self._count(bytes_of(frame))

    def _withdraw(self) -> None:
        """Removes the event that is being committed; the next event gets its number."""
        self._count(-bytes_of(self._frames.pop()))
        if self.unread is not None:
            self.unread.withdraw(self.next)
        self._withdrawn += 1

    def _count(self, size_bytes: int) -> None:
        if self._writer is not None and self.failure is None:
            self._ahead_bytes += size_bytes
            self._writer.ahead_bytes += size_bytes

    def _publish(self) -> None:
        self._published = self.base + len(self._frames)
        self.changed.send()
        if self._writer is not None and self.failure is None:
            self._writer.note(self)
