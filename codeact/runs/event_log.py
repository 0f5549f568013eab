"""The event log of one response: numbers events, and gives their frames to any number of readers.

Memory holds what is not stored yet, and the newest megabyte of the rest, so that live readers never ask the
database; whoever is further behind reads from there. Events are stored by one writer for all logs.
"""

import math
from collections.abc import AsyncGenerator

from codeact import events as e
from codeact.concurrency.signal import Signal
from codeact.errors import StoreError
from codeact.runs.event_writer import EventWriter, PendingWrite
from codeact.runs.frames import chunk_of, numbered
from codeact.runs.unread_events import UnreadEvents
from codeact.store.repositories.event_batches import BATCH_BYTES, EventBatch, RunWrite

__all__ = ["RESTART_GAP", "EventLog", "EventWriter"]

MAX_AHEAD = 100_000
"""Events of a response that may wait for the database."""
RESTART_GAP = 1_000_000
"""After a crash, numbers go on so much later: more than could have been given without being stored."""
MAX_AHEAD_BYTES = 32_000_000
FAIR_AHEAD_BYTES = 1_000_000
"""What each may hold where all together hold more than the writer takes."""
KEPT_BYTES = 1_000_000
Encoded = tuple[str, e.Event]  # An event without a number, as JSON and as it is.


class EventLog:
    """The log of one response, numbered from `first`. Appending never waits.

    `base` is the number of the first event in memory. Without a writer nothing is stored, and all stays in memory.
    Without an `epoch` nobody else can take the response over. `unread` is for `codeact.runs.streams.read_events`.
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
        self._kept_bytes = 0
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
        """The bytes of its events that are to be stored; `stored_bytes` counts those that are."""
        return self.stored_bytes + self._ahead_bytes

    @property
    def is_stored(self) -> bool:
        return self._writer is None or (self._stored == self.next and not self._items)

    @property
    def is_full(self) -> bool:
        """Whether more waits for the database than memory should hold."""
        if self._writer is None:
            return False
        most_bytes = FAIR_AHEAD_BYTES if self._writer.is_full else MAX_AHEAD_BYTES
        return self._ahead_bytes > most_bytes or self.next - self._stored >= MAX_AHEAD

    @property
    def readers(self) -> int:
        return self._readers

    def append(self, event: e.Event, whole: e.Event | None = None) -> None:
        """Numbers the event and gives it to readers; it is stored within 200 ms, where the database answers.

        While another one is being committed, it waits for that. `whole`: the event itself, if this is for the encoder.
        """
        if self._deferred is not None:
            self._deferred.append((e.encode(event).decode(), whole or event))
            return
        event.sequence_number = number = self.next
        if self.unread is not None:
            self.unread.put(number, whole or event)
        self._frames.append(frame := e.encode(event).decode())
        self._count(len(frame))
        self._publish()

    async def prepare(self, event: e.Event) -> None:
        """Stores what may become the event number 0, for `commit_prepared`. To commit another event replaces it.

        Raises `StoreError`.
        """
        if self._writer is not None:
            frame = e.encode(event).decode()
            await self._writer.write(RunWrite(EventBatch(self.response_id, 0, [frame]), None))
            self._prepared = frame

    def commit_prepared(self, event: e.Event) -> bool:
        """Gives the event to readers if it was prepared, and is the first one; returns whether it was."""
        prepared, self._prepared = self._prepared, None
        if prepared is None or self.next or e.encode(event).decode() != prepared:
            return False
        if self.unread is not None:
            self.unread.put(0, event)
        self._frames.append(prepared)
        self._stored = self._published = self.next
        self._kept_bytes += len(prepared)
        self.changed.send()
        return True

    async def commit(self, event: e.Event, whole: e.Event | None = None) -> None:
        """Stores the event and all before it; only then do readers get it. To be called by one task at a time.

        Waits as long as the database takes. Raises the `StoreError` that trying again cannot mend; cancelled or
        failed, the event is withdrawn, and its number given to the next one.
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
        """Appends an event before the one that is being committed, without waiting for it."""
        if self._deferred is None or self._committing is None:
            self.append(event)
            return
        self._withdraw()
        self._add((e.encode(event).decode(), event))
        self._publish()
        self._add(self._committing)

    def put_item(self, index: int, item: e.Item) -> None:
        """Has a finished item stored, before the events that come after this call. Call `offload` with it first."""
        self._items.append((index, item))

    async def flush(self) -> None:
        """Returns once everything so far is stored. Raises the `StoreError` that trying again cannot mend."""
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
        """Returns once it is not full any more, or has failed."""
        while self.is_full and self.failure is None:
            await self.changed.wait()

    def part_with(self, error: StoreError) -> None:
        """Ends it for readers with the error instead of an end: they get what there is, then it is raised to them."""
        self._last_error = error
        self.end()

    def end(self) -> None:
        """Readers return once they have read everything."""
        self.ended = True
        self.changed.send()

    async def read(self, start: int = 0, *, idle_s: float = math.inf) -> AsyncGenerator[list[str], None]:
        """The frames from the number `start` on, as they come, several at a time, until the log has ended.

        An empty list says that nothing has come for `idle_s`. Cancelling loses nothing: read again at the next number.
        Raises `StoreError` where the reader is so far behind that it needs the database, and `ResponseTakenOver` at the
        end of what there is where this server has lost the run.
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
        """Lets go of the frames before this number, of a log that is not stored and has one reader."""
        if self._writer is None:
            del self._frames[: upto - self.base]
            self.base = upto

    async def closed(self, *, to_readers: bool = False) -> None:
        """Returns once the log has ended; with `to_readers`, once all of them have read it to its end."""
        while not self.ended or (to_readers and self._readers):
            await self.changed.wait()

    # ---- for the writer ------------------------------------------------------------------------------

    def pending_write(self) -> PendingWrite:
        """What comes next, as much as one document holds."""
        at = self._stored - self.base
        end, size_bytes = at, 0
        while end < len(self._frames) and (end == at or size_bytes + len(self._frames[end]) <= BATCH_BYTES):
            size_bytes += len(self._frames[end])
            end += 1
        event_batch = EventBatch(self.response_id, self._stored, self._frames[at:end])
        # A response's first events come right after the response itself, and say nothing that a take-over makes untrue.
        is_first = self._stored == 0 and not self._items
        epoch = None if is_first else self._epoch
        write = RunWrite(event_batch, epoch, tuple(self._items), is_awaited=self._flushing > 0 or bool(self._items))
        return PendingWrite(write, self._withdrawn, is_cut=end < len(self._frames))

    def stored(self, part: PendingWrite) -> None:
        """Notes that it is in the database, and forgets what memory need not hold any more."""
        del self._items[: len(part.write.items)]
        if part.version != self._withdrawn:  # It holds an event that no reader may see: it is written once more.
            self.changed.send()
            return
        self._stored = part.write.event_batch.next
        self._count(-part.size_bytes)
        self._kept_bytes += part.size_bytes
        self.stored_bytes += part.size_bytes
        dropped = 0
        while self._kept_bytes > KEPT_BYTES and self.base + dropped < min(self._stored, self._published):
            self._kept_bytes -= len(self._frames[dropped])
            dropped += 1
        del self._frames[:dropped]
        if self.unread is not None:
            self.unread.forget(range(self.base, self.base + dropped))
        self.base += dropped
        self.changed.send()

    def failed(self, error: StoreError) -> None:
        """Notes that it can never be stored."""
        self._count(-self._ahead_bytes)
        self.failure = error
        self.changed.send()

    def _add(self, encoded: Encoded) -> None:
        frame, event = encoded
        if self.unread is not None:
            self.unread.put(self.next, event)
        self._frames.append(frame := numbered(frame, self.next))
        self._count(len(frame))

    def _withdraw(self) -> None:
        """Takes back the event that is being committed: its number is given to the next one."""
        self._count(-len(self._frames.pop()))
        if self.unread is not None:
            self.unread.withdraw(self.next)
        self._withdrawn += 1

    def _count(self, size_bytes: int) -> None:
        if self._writer is not None and self.failure is None:
            self._ahead_bytes += size_bytes
            self._writer.ahead_bytes += size_bytes

    def _publish(self) -> None:
        self._published = self.next
        self.changed.send()
        if self._writer is not None and self.failure is None:
            self._writer.note(self)
