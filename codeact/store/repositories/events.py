"""Stores event logs in batches of numbered frames, and reads them from any number on."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

from codeact.store.database.operation import Operations, operation
from codeact.store.documents.schema import EVENTS
from codeact.store.repositories.changes import Changes
from codeact.store.repositories.event_batches import BATCH_BYTES, EventBatch
from codeact.store.repositories.tailer import Tailer

if TYPE_CHECKING:
    from codeact.store.documents.documents import Documents

__all__ = ["Events", "batches"]

PART_BYTES = 8_000_000
"""Half of what a document may contain."""
PAGE_BYTES = 2_000_000
PAGE_BATCHES = 100


class Events:
    """The part of `Store` with the event logs.

    The guarantees of `Store` hold here too; the caller must check the owner.
    """

    def __init__(self, documents: "Documents", operations: Operations) -> None:
        self._events = documents.events
        self._responses = documents.responses
        self._operations = operations
        self._tailer = Tailer(documents, operations)

    @operation
    async def first(self, response_id: str) -> int | None:
        """The number of the first event that is still stored; None if there is none."""
        all_of_it = {"_id": {"$gt": f"{response_id}:", "$lt": f"{response_id};"}}
        batch = await self._collection.find_one(all_of_it, {"first": 1}, sort=[("_id", 1)])
        return None if batch is None else int(batch["first"])

    async def read(self, response_id: str, start: int) -> AsyncGenerator[EventBatch, None]:
        """Yields the stored events from number `start` on, in order, a few MB at a time.

        Skips numbers that were never stored: a crash can leave a gap.
        """
        at = start
        while True:
            page = await self._page(response_id, at)
            for event_batch in page:
                yield event_batch
                at = event_batch.next
            if not page:
                return

    def changes(self, response_id: str) -> AbstractAsyncContextManager[Changes]:
        """Reports the response's events that any server stores from now on; see `Tailer`."""
        return self._tailer.follow(response_id)

    # ---- inside --------------------------------------------------------------------------------------

    @property
    def _collection(self) -> Any:
        return self._events.get_pymongo_collection()

    @operation
    async def _page(self, response_id: str, start: int) -> list[EventBatch]:
        """Reads one page, without events that a server wrote after its run was taken over (`run_writes`).

        Repeats the query if a take-over happens meanwhile.
        """
        while True:
            epoch = await self._epoch(response_id)
            page = await self._page_since(response_id, start, {"epoch": {"$gte": epoch}} if epoch else {})
            if await self._epoch(response_id) == epoch:
                return page

    async def _epoch(self, response_id: str) -> int:
        found = await self._responses.get_pymongo_collection().find_one({"_id": response_id}, {"epoch": 1})
        return 0 if found is None else int(found.get("epoch", 0))

    async def _page_since(self, response_id: str, start: int, since: dict[str, Any]) -> list[EventBatch]:
        up_to = {"_id": {"$gt": f"{response_id}:", "$lte": f"{response_id}:{start:012d}:~"}}
        holds = await self._collection.find_one(up_to | since, {"first": 1}, sort=[("_id", -1)])
        first = start if holds is None else holds["first"]
        after = {"_id": {"$gte": f"{response_id}:{first:012d}:", "$lt": f"{response_id};"}}
        found: list[EventBatch] = []
        size_bytes, at, frames_bytes = 0, start, b""
        async for stored in self._collection.find(after | since).sort("_id").batch_size(PAGE_BATCHES):
            batch = EVENTS.upgrade(stored)
            frames_bytes = frames_bytes + batch["frames"] if not batch["_id"].endswith(":0000") else batch["frames"]
            size_bytes += len(batch["frames"])
            if batch["size"] == 0:
                continue
            frames = frames_bytes.decode().split("\n")[max(0, at - batch["first"]) :]
            if frames:
                event_batch = EventBatch(response_id, max(at, batch["first"]), frames)
                found.append(event_batch)
                at = event_batch.next
            if size_bytes >= PAGE_BYTES:
                break
        return found


def batches(event_batch: EventBatch) -> Iterator[dict[str, Any]]:
    """Splits the events into documents. Where one document ends depends only on the events before it."""
    first, frames_bytes, size_bytes = event_batch.first, list[bytes](), 0
    for frame in event_batch.frames:
        encoded = frame.encode()
        if frames_bytes and size_bytes + len(encoded) > BATCH_BYTES:
            yield from _parts(event_batch.response_id, first, frames_bytes)
            first, frames_bytes, size_bytes = first + len(frames_bytes), [], 0
        frames_bytes.append(encoded)
        size_bytes += len(encoded)
    yield from _parts(event_batch.response_id, first, frames_bytes)


def _parts(response_id: str, first: int, frames: list[bytes]) -> Iterator[dict[str, Any]]:
    joined = b"\n".join(frames)
    starts = range(0, len(joined), PART_BYTES)
    for part, start in enumerate(starts):
        size = len(frames) if start == starts[-1] else 0
        data = joined[start : start + PART_BYTES]
        yield {"_id": f"{response_id}:{first:012d}:{part:04d}", "first": first, "size": size, "frames": data}
