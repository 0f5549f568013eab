"""Event logs in the database: stretches of numbered frames enter in batches and leave from any number on."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from codeact.store.operation import operation

if TYPE_CHECKING:
    from codeact.store.documents import Documents

__all__ = ["Events", "Stretch"]

BATCH_BYTES = 256_000
PART_BYTES = 8_000_000
"""Half of what a document may hold."""
PAGE_BYTES = 2_000_000
PAGE_BATCHES = 100

POLL_S = 0.1
WATCH_MS = 1000
MOST_WATCHING = 20
"""Each holds a connection of the pool while it waits."""
IDS_ONLY = {"$project": {"documentKey": 1}}


@dataclass(frozen=True, slots=True)
class Stretch:
    """Events of one response that follow each other: `frames[i]` has the number `first + i`."""

    response_id: str
    first: int
    frames: Sequence[str]

    @property
    def next(self) -> int:
        """The number after its last."""
        return self.first + len(self.frames)


class Events:
    """A part of the `Store`. What `Store` promises holds here too; whoever asks has checked the owner."""

    def __init__(self, documents: "Documents", uri: str) -> None:
        self._events = documents.events
        self._uri = uri
        self._watching = 0
        self._replicated: bool | None = None

    @operation
    async def put(self, stretches: Sequence[Stretch], *, kept_s: float) -> None:
        """Stores all of them. One that begins where an earlier one began replaces it."""
        from pymongo import ReplaceOne

        expires_at = datetime.now(UTC) + timedelta(seconds=kept_s)
        batches = [batch | {"expires_at": expires_at} for stretch in stretches for batch in _batches(stretch)]
        writes = [ReplaceOne({"_id": batch["_id"]}, batch, upsert=True) for batch in batches]
        await self._collection.bulk_write(writes, ordered=False)

    @operation
    async def first(self, response_id: str) -> int | None:
        """The number of the first event that is still kept; None where there is none."""
        all_of_it = {"_id": {"$gt": f"{response_id}:", "$lt": f"{response_id};"}}
        batch = await self._collection.find_one(all_of_it, {"first": 1}, sort=[("_id", 1)])
        return None if batch is None else int(batch["first"])

    async def read(self, response_id: str, start: int) -> AsyncGenerator[Stretch, None]:
        """What is stored by now from the number `start` on, in order, a few MB at a time.

        Numbers that were given and never stored are left out: after a crash there can be a gap.
        """
        at = start
        while True:
            page = await self._page(response_id, at)
            for stretch in page:
                yield stretch
                at = stretch.next
            if not page:
                return

    @asynccontextmanager
    async def changes(self, response_id: str) -> AsyncIterator[Callable[[], Awaitable[None]]]:
        """Gives a call that returns when there may be more to read than when it was last called or entered.

        A replica set tells us, at once (change streams); elsewhere, or with too many readers for that, it
        returns ten times a second.
        """
        watch = {"$match": {"documentKey._id": {"$gt": f"{response_id}:", "$lt": f"{response_id};"}}}
        if self._watching >= MOST_WATCHING or not await self._is_replicated():
            yield partial(anyio.sleep, POLL_S)
            return
        self._watching += 1
        try:
            async with await self._watch([watch, IDS_ONLY]) as stream:
                yield partial(self._next, stream)
        finally:
            self._watching -= 1

    # ---- inside --------------------------------------------------------------------------------------

    @property
    def _collection(self) -> Any:
        return self._events.get_pymongo_collection()

    @operation
    async def _watch(self, pipeline: list[dict[str, Any]]) -> Any:
        return await self._collection.watch(pipeline, max_await_time_ms=WATCH_MS)

    @operation
    async def _next(self, stream: Any) -> None:
        await stream.try_next()

    @operation
    async def _is_replicated(self) -> bool:
        if self._replicated is None:
            hello = await self._collection.database.command("hello")
            self._replicated = "setName" in hello or hello.get("msg") == "isdbgrid"
        return self._replicated

    @operation
    async def _page(self, response_id: str, start: int) -> list[Stretch]:
        up_to = {"_id": {"$gt": f"{response_id}:", "$lte": f"{response_id}:{start:012d}:~"}}
        holds = await self._collection.find_one(up_to, {"first": 1}, sort=[("_id", -1)])
        first = start if holds is None else holds["first"]
        after = {"_id": {"$gte": f"{response_id}:{first:012d}:", "$lt": f"{response_id};"}}
        found: list[Stretch] = []
        size_bytes, at, held = 0, start, b""
        async for batch in self._collection.find(after).sort("_id").batch_size(PAGE_BATCHES):
            held = held + batch["frames"] if not batch["_id"].endswith(":0000") else batch["frames"]
            size_bytes += len(batch["frames"])
            if batch["size"] == 0:
                continue
            frames = held.decode().split("\n")[max(0, at - batch["first"]) :]
            if frames:
                stretch = Stretch(response_id, max(at, batch["first"]), frames)
                found.append(stretch)
                at = stretch.next
            if size_bytes >= PAGE_BYTES:
                break
        return found


def _batches(stretch: Stretch) -> Iterator[dict[str, Any]]:
    """Documents that hold the stretch. Their bounds depend on what comes before them alone."""
    first, held, size_bytes = stretch.first, list[bytes](), 0
    for frame in stretch.frames:
        encoded = frame.encode()
        if held and size_bytes + len(encoded) > BATCH_BYTES:
            yield from _parts(stretch.response_id, first, held)
            first, held, size_bytes = first + len(held), [], 0
        held.append(encoded)
        size_bytes += len(encoded)
    yield from _parts(stretch.response_id, first, held)


def _parts(response_id: str, first: int, frames: list[bytes]) -> Iterator[dict[str, Any]]:
    joined = b"\n".join(frames)
    starts = range(0, len(joined), PART_BYTES)
    for part, start in enumerate(starts):
        size = len(frames) if start == starts[-1] else 0
        data = joined[start : start + PART_BYTES]
        yield {"_id": f"{response_id}:{first:012d}:{part:04d}", "first": first, "size": size, "frames": data}
