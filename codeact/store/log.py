"""A response's event log: events enter in order and get their numbers; frames leave to any number of readers.

Memory holds what is not stored yet, and the newest megabyte of the rest, so that live readers never ask the
database; whoever is further behind reads from there. Events are stored in batches by one writer for all logs.
"""

import math
from collections.abc import AsyncGenerator, Awaitable, Callable

import anyio
import structlog

from codeact import events as e
from codeact.errors import StoreError
from codeact.store.events import Stretch
from codeact.store.store import Store

__all__ = ["RESTART_GAP", "EventLog", "EventWriter"]

log = structlog.get_logger(__name__)

MAX_AHEAD = 100_000
"""Events of a response that may wait for the database."""
RESTART_GAP = 1_000_000
"""After a crash, numbers go on so much later: more than could have been given without being stored."""
MAX_AHEAD_BYTES = 32_000_000
KEPT_BYTES = 1_000_000
CHUNK_BYTES = 256_000
GATHER_S = 0.08
UNNUMBERED = '"sequence_number":0'
PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0


class EventLog:
    """The log of one response, numbered from `first`. Appending never waits.

    `base` is the number of the first event in memory. Without a writer nothing is stored, and all stays in memory.
    """

    def __init__(self, response_id: str, writer: "EventWriter | None", *, first: int = 0) -> None:
        self.response_id = response_id
        self.ended = False
        self.writing = anyio.Lock()
        self._writer = writer
        self._frames: list[str] = []
        self.base = first
        self._published = first
        self._stored = first
        self._ahead_bytes = 0
        self._kept_bytes = 0
        self._deferred: list[str] | None = None
        self._readers = 0
        self._changed: anyio.Event | None = None

    @property
    def next(self) -> int:
        """The number of the next event."""
        return self.base + len(self._frames)

    @property
    def is_stored(self) -> bool:
        return self._writer is None or self._stored == self.next

    @property
    def is_full(self) -> bool:
        """Whether more waits for the database than memory should hold."""
        too_much = self._ahead_bytes > MAX_AHEAD_BYTES or self.next - self._stored >= MAX_AHEAD
        return self._writer is not None and too_much

    @property
    def readers(self) -> int:
        return self._readers

    def append(self, event: e.Event) -> None:
        """Numbers the event and gives it to readers; it is stored within 100 ms, where the database answers.

        While another one is being committed, it waits for that.
        """
        if self._deferred is not None:
            self._deferred.append(e.encode(event).decode())
            return
        self._add(e.encode(event).decode())
        self._publish()

    async def commit(self, event: e.Event) -> None:
        """Stores the event and all before it; only then do readers get it. To be called by one task at a time.

        Raises `StoreError`, or what cancels it; the event is withdrawn then, and its number given to the next one.
        """
        self._deferred = []
        self._add(e.encode(event).decode())
        try:
            await self.flush()
        except BaseException:
            self._ahead_bytes -= len(self._frames.pop())
            raise
        finally:
            self._published = self.next
            self._wake()
            deferred, self._deferred = self._deferred, None
            for frame in deferred:
                self._add(frame)
            if deferred:
                self._publish()

    async def flush(self) -> None:
        """Stores everything so far. Raises `StoreError`."""
        if self._writer is not None:
            await self._writer.write(self)

    async def room(self) -> None:
        """Returns once it is not full any more."""
        while self.is_full:
            await self._change()

    def end(self) -> None:
        """Readers return once they have read everything."""
        self.ended = True
        self._wake()

    async def read(self, start: int = 0, *, idle_s: float = math.inf) -> AsyncGenerator[list[str], None]:
        """The frames from the number `start` on, as they come, several at a time, until the log has ended.

        An empty list says that nothing has come for `idle_s`. Cancelling loses nothing: read again at the next number.
        Raises `StoreError` where the reader is so far behind that it needs the database.
        """
        self._readers += 1
        try:
            at = start
            while True:
                if at < self.base:
                    assert self._writer is not None
                    async for stretch in self._writer.read(self.response_id, at):
                        yield list(stretch.frames)
                        at = stretch.next
                    at = max(at, self.base)
                elif at < self._published:
                    chunk = self._chunk(at)
                    at += len(chunk)
                    yield chunk
                elif self.ended:
                    return
                elif not await self._change(idle_s):
                    yield []
        finally:
            self._readers -= 1
            self._wake()

    async def closed(self, *, to_readers: bool = False) -> None:
        """Returns once the log has ended; with `to_readers`, once all of them have read it to its end."""
        while not self.ended or (to_readers and self._readers):
            await self._change()

    # ---- for the writer ------------------------------------------------------------------------------

    def unstored(self) -> Stretch:
        return Stretch(self.response_id, self._stored, self._frames[self._stored - self.base :])

    def stored(self, stretch: Stretch) -> None:
        """Notes that it is in the database, and forgets what memory need not hold any more."""
        size_bytes = sum(map(len, stretch.frames))
        self._stored = stretch.next
        self._ahead_bytes -= size_bytes
        self._kept_bytes += size_bytes
        dropped = 0
        while self._kept_bytes > KEPT_BYTES and self.base + dropped < min(self._stored, self._published):
            self._kept_bytes -= len(self._frames[dropped])
            dropped += 1
        del self._frames[:dropped]
        self.base += dropped
        self._wake()

    # ---- inside --------------------------------------------------------------------------------------

    def _add(self, frame: str) -> None:
        """Takes an encoded event, which has no number yet: of the fields it is the first after the type."""
        frame = frame.replace(UNNUMBERED, f'"sequence_number":{self.next}', 1)
        self._frames.append(frame)
        self._ahead_bytes += len(frame)

    def _publish(self) -> None:
        self._published = self.next
        self._wake()
        if self._writer is not None:
            self._writer.note(self)

    def _chunk(self, at: int) -> list[str]:
        chunk: list[str] = []
        size_bytes = 0
        for index in range(at - self.base, self._published - self.base):
            chunk.append(self._frames[index])
            size_bytes += len(chunk[-1])
            if size_bytes >= CHUNK_BYTES:
                break
        return chunk

    async def _change(self, within_s: float = math.inf) -> bool:
        """Whether anything has changed within this time."""
        if self._changed is None:
            self._changed = anyio.Event()
        if within_s == math.inf:  # A deadline costs more than all else that a reader does for an event.
            await self._changed.wait()
            return True
        with anyio.move_on_after(within_s):
            await self._changed.wait()
            return True
        return False

    def _wake(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None


class EventWriter:
    """Writes the logs of all responses of this process, those with news in one go. `run` is its task."""

    def __init__(self, get_store: Callable[[], Awaitable[Store]], *, kept_s: float) -> None:
        self._get_store = get_store
        self._kept_s = kept_s
        self._waiting: set[EventLog] = set()
        self._noted = anyio.Event()

    def note(self, log: EventLog) -> None:
        """Has the log written soon."""
        self._waiting.add(log)
        self._noted.set()

    async def run(self) -> None:
        """Until cancelled. While no database answers it tries again and again; logs go on in memory."""
        pause_s = PAUSE_S
        while True:
            await self._noted.wait()
            await anyio.sleep(GATHER_S)
            self._noted = anyio.Event()
            logs = [waiting for waiting in self._waiting if not waiting.writing.statistics().locked]
            self._waiting.clear()
            try:
                await self._write(logs)
                pause_s = PAUSE_S
            except StoreError as error:
                log.warning("events are not stored yet", reason=error.message, responses=len(logs))
                for waiting in logs:
                    self.note(waiting)
                await anyio.sleep(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    async def write(self, log: EventLog) -> None:
        """Writes what this log holds, at once. Raises `StoreError`."""
        async with log.writing:
            try:
                await self._put([log])
            finally:
                if not log.is_stored:
                    self.note(log)

    async def read(self, response_id: str, start: int) -> AsyncGenerator[Stretch, None]:
        """See `Events.read`."""
        store = await self._get_store()
        async for stretch in store.events.read(response_id, start):
            yield stretch

    async def _write(self, logs: list[EventLog]) -> None:
        for each in logs:
            each.writing.acquire_nowait()
        try:
            await self._put(logs)
        finally:
            for each in logs:
                each.writing.release()

    async def _put(self, logs: list[EventLog]) -> None:
        news = [(each, stretch) for each in logs if (stretch := each.unstored()).frames]
        if news:
            store = await self._get_store()
            await store.events.put([stretch for _, stretch in news], kept_s=self._kept_s)
        for each, stretch in news:
            each.stored(stretch)
