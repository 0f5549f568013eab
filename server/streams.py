"""The events of a response, wherever it is produced: its id and a number enter, the rest of its frames leave."""

import math
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from codeact.errors import InvalidRequest
from codeact.store import Store
from server.runs import Runs

__all__ = ["EventsExpired", "open_stream"]

LOOK_S = 2.0
TERMINAL = tuple(f'{{"type":"response.{end}"' for end in ("completed", "incomplete", "failed"))


class EventsExpired(InvalidRequest):
    """The response is kept longer than its events."""

    code = "events_expired"
    status = 410


async def open_stream(
    runs: Runs, store: Store, response_id: str, *, owner: str, start: int, idle_s: float = math.inf
) -> AsyncGenerator[list[str], None]:
    """Frames from the number `start` on: those there are, then each new one until the response has ended.

    An empty list says that nothing has come for `idle_s`. The same from memory, from the database after the end or a
    restart, and while another server process is at work on the response. Numbers leave out what a crash has
    swallowed, nothing else. Raises `NotFound`, also for another owner's, and `EventsExpired`.
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


async def _stored(
    store: Store, response_id: str, owner: str, start: int, under_way: bool, idle_s: float
) -> AsyncGenerator[list[str], None]:
    at, idle_since, looked = start, time.monotonic(), time.monotonic()
    async with store.events.changes(response_id) as change:
        while True:
            async with aclosing(store.events.read(response_id, at)) as stretches:
                async for stretch in stretches:
                    yield list(stretch.frames)
                    at, idle_since = stretch.next, time.monotonic()
                    if stretch.frames[-1].startswith(TERMINAL):
                        return
            if not under_way:
                return
            await change()
            now = time.monotonic()
            if now - looked >= LOOK_S:
                under_way, looked = await store.leases.is_under_way(response_id, owner=owner), now
            if now - idle_since >= idle_s:
                idle_since = now
                yield []
