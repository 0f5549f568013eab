"""Streams the events of a response from a given sequence number on, on whichever server it runs."""

import math
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import TYPE_CHECKING

from codeact import events as e
from codeact.errors import InvalidRequest
from codeact.runs.event_log import EventLog
from codeact.runs.manager import RunManager
from codeact.store.repositories.event_batches import EventBatch

if TYPE_CHECKING:
    from codeact.store import Store

__all__ = ["EventsExpired", "open_stream", "read_events"]

TERMINAL = tuple(f'{{"type":"response.{end}"' for end in ("completed", "incomplete", "failed"))


class EventsExpired(InvalidRequest):
    """Raised if the requested events were deleted; a response is kept longer than its events."""

    code = "events_expired"
    status = 410


async def open_stream(
    runs: RunManager, store: "Store", response_id: str, *, owner: str, start: int, idle_s: float = math.inf
) -> AsyncGenerator[list[str], None]:
    """Returns a generator of lists of frames: from the number `start` on, until the response has ended.

    An empty list means that nothing has arrived for `idle_s` seconds. The frames come from memory, or from the database
    if the response has ended or another server runs it. Only after a crash can numbers be missing. Raises `NotFound`,
    also for a response of another owner, and `EventsExpired`.
    """
    run = runs.find(response_id, owner=owner)
    if run is not None and start >= run.log.base:
        return run.log.read(start, idle_s=idle_s)
    under_way = await store.leases.is_under_way(response_id, owner=owner)
    first = await store.events.first(response_id)
    if (first or 0) > start or (first is None and not under_way):
        raise EventsExpired(
            f"The events of '{response_id}' from {start} on are no longer kept (CODEACT_EVENTS_TTL_S); what is there is"
            f" the response itself: GET /v1/responses/{response_id} without 'stream'.",
            param="starting_after",
        )
    return (
        run.log.read(start, idle_s=idle_s)
        if run is not None
        else _stored(store, response_id, owner, start, under_way, idle_s)
    )


async def read_events(
    log: EventLog, start: int = 0, *, idle_s: float = math.inf
) -> AsyncGenerator[list[e.Event], None]:
    """Reads like `EventLog.read`, but yields events instead of frames, for a reader in this process.

    If the log has `unread` events, it yields those objects without decoding: the run itself uses them, so their items
    change until they are done. Only one reader can get them; other readers, and one that is too far behind, get decoded
    events. When the generator is closed, the log stops collecting unread events.
    """
    number = start
    try:
        async with aclosing(log.read(start, idle_s=idle_s)) as chunks:
            async for frames in chunks:
                events: list[e.Event] = []
                for frame in frames:
                    event = log.unread.take(number) if log.unread is not None else None
                    events.append(event := event or e.decode_event(frame))
                    number = event.sequence_number + 1
                if log.unread is not None and log.unread.most < math.inf:
                    log.changed.send()  # The run may be waiting because the buffer was full.
                    log.forget(number)
                yield events
    finally:
        log.unread = None
        log.changed.send()


async def _stored(
    store: "Store", response_id: str, owner: str, start: int, under_way: bool, idle_s: float
) -> AsyncGenerator[list[str], None]:
    async with AsyncExitStack() as stack:
        changes = await stack.enter_async_context(store.events.changes(response_id)) if under_way else None
        at, idle_since = start, time.monotonic()
        fresh: Sequence[EventBatch] | None = None
        while True:
            event_batches = store.events.read(response_id, at) if fresh is None else _each(fresh)
            async with aclosing(event_batches):
                async for event_batch in event_batches:
                    yield list(event_batch.frames)
                    at, idle_since = event_batch.next, time.monotonic()
                    if event_batch.frames[-1].startswith(TERMINAL):
                        return
            if not under_way or changes is None:
                return
            while not await changes(max(0.0, idle_since + idle_s - time.monotonic())):
                idle_since = time.monotonic()
                yield []
            fresh = changes.fresh(at)
            if changes.has_ended:
                under_way, fresh = await store.leases.is_under_way(response_id, owner=owner), None


async def _each(event_batches: Sequence[EventBatch]) -> AsyncGenerator[EventBatch, None]:
    for event_batch in event_batches:
        yield event_batch
