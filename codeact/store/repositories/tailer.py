"""Follows the event logs that other servers write, once for all readers.

One task polls all followed responses together, at most ten times a second, and only while there are readers. So the
load on the database does not grow with the number of readers.
"""

import math
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio

from codeact.errors import CodeActError, StoreError
from codeact.store.database.operation import Operations, operation
from codeact.store.documents.schema import EVENTS, FIELD
from codeact.store.repositories.changes import Changes, Followed, Head
from codeact.store.repositories.event_batches import EventBatch
from sandbox_pool.logs import Logger

if TYPE_CHECKING:
    from codeact.store.documents.documents import Documents

__all__ = ["Tailer"]

log = Logger(__name__)

POLL_S = 0.1
IDLE_POLL_S = 2.0
"""How often the tailer asks which responses are still running and, if it has a change stream, also for their events."""
WATCH_MS = 1000
IDS_PER_QUERY = 500
MOST_HEADS = 10_000
FRESH_BYTES = 4_000_000
"""How much the tailer reads at a time for all readers; anything beyond that they read themselves."""
WRITTEN = {"$match": {"operationType": {"$in": ["insert", "replace", "update"]}}}
IDS_ONLY = {"$project": {"documentKey": 1}}


class Tailer:
    """Part of `Store`. Any number of readers may follow any number of responses."""

    def __init__(self, documents: "Documents", operations: Operations) -> None:
        self._events = documents.events
        self._responses = documents.responses
        self._operations = operations
        self._followed: dict[str, Followed] = {}
        self._running = False
        self._wake = anyio.Event()
        self._replicated: bool | None = None

    @asynccontextmanager
    async def follow(self, response_id: str) -> AsyncIterator[Changes]:
        """Yields the response's changes from now on. Read the events that are already stored after entering."""
        followed = self._followed.setdefault(response_id, Followed())
        followed.followers += 1
        try:
            if followed.newest is None:
                newest = await self._newest(response_id)
                followed.newest = followed.newest or newest
            changes = Changes(followed)
            if not self._running:
                self._operations.run_in_background(self._run)
                self._running = True
            yield changes
        finally:
            followed.followers -= 1
            if not followed.followers and self._followed.get(response_id) is followed:
                del self._followed[response_id]

    # ---- the task ------------------------------------------------------------------------------------

    async def _run(self) -> None:
        """Polls while there are readers. Reports a failure to the readers and continues."""
        watch: _Watch | None = None
        polled_at = -math.inf
        try:
            while self._followed:
                began_at = time.monotonic()
                self._wake = anyio.Event()
                try:
                    if watch is None and await self.is_replicated():
                        watch = _Watch(self)
                        self._operations.spawn(watch.run)
                    await self._look_for_events()
                    self._recovered()
                    if began_at - polled_at >= IDLE_POLL_S:
                        polled_at = began_at
                        await self._look_for_ends()
                except CodeActError as error:
                    self._fail(error)
                except Exception:
                    log.exception("following other servers' logs failed because of an internal error")
                    self._fail(StoreError("Following the log of another server failed because of an internal error."))
                await self._pause(began_at, IDLE_POLL_S if watch is not None and watch.works else POLL_S)
        finally:
            self._running = False
            if watch is not None:
                watch.ended = True

    async def _pause(self, began_at: float, longest_s: float) -> None:
        with anyio.move_on_after(longest_s):
            await self._wake.wait()
        await anyio.sleep(max(0.0, began_at + POLL_S - time.monotonic()))

    async def _look_for_events(self) -> None:
        known = {response_id: one.newest for response_id, one in self._followed.items() if one.newest is not None}
        ids = list(known)
        for start in range(0, len(ids), IDS_PER_QUERY):
            some = {response_id: known[response_id] for response_id in ids[start : start + IDS_PER_QUERY]}
            news = await self._news(some)
            if not news:
                continue
            fresh = await self._fresh(news)
            for response_id, heads in news.items():
                one = self._followed.get(response_id)
                if one is not None and one.newest is not None:
                    one.newest = max(heads)
                    one.wake(fresh.get(response_id))

    async def _look_for_ends(self) -> None:
        ids = list(self._followed)
        for start in range(0, len(ids), IDS_PER_QUERY):
            some = ids[start : start + IDS_PER_QUERY]
            under_way = await self._under_way(some)
            for response_id in some:
                one = self._followed.get(response_id)
                if one is not None:
                    one.ended = response_id not in under_way
                    if one.ended:
                        one.wake()

    def _fail(self, error: CodeActError) -> None:
        for one in self._followed.values():
            one.error = error
            one.wake()

    def _recovered(self) -> None:
        for one in self._followed.values():
            one.error = None

    def wake_for(self, response_ids: set[str] | None) -> None:
        """Makes the task poll at once if one of these responses is followed; None: any response."""
        if response_ids is None or not response_ids.isdisjoint(self._followed):
            self._wake.set()

    # ---- what it asks --------------------------------------------------------------------------------

    @property
    def collection(self) -> Any:
        return self._events.get_pymongo_collection()

    @operation
    async def is_replicated(self) -> bool:
        """Whether the database has change streams."""
        if self._replicated is None:
            hello = await self.collection.database.command("hello")
            self._replicated = "setName" in hello or hello.get("msg") == "isdbgrid"
        return self._replicated

    @operation
    async def _newest(self, response_id: str) -> Head:
        of_it = {"_id": {"$gt": f"{response_id}:", "$lt": f"{response_id};"}}
        found = await self.collection.find_one(of_it, {"size": 1, "epoch": 1}, sort=[("_id", -1)])
        return Head(f"{response_id}:") if found is None else _head(found)

    @operation
    async def _news(self, known: Mapping[str, Head]) -> dict[str, list[Head]]:
        """For each response that has changed: its batches that are new since the last poll."""
        of_them = [{"_id": {"$gte": head.id, "$lt": f"{response_id};"}} for response_id, head in known.items()]
        found = self.collection.find({"$or": of_them}, {"size": 1, "epoch": 1}).limit(MOST_HEADS)
        news: dict[str, list[Head]] = {}
        async for each in found.batch_size(MOST_HEADS):
            head, response_id = _head(each), _response_id(each["_id"])
            if head != known[response_id]:
                news.setdefault(response_id, []).append(head)
        return news

    @operation
    async def _fresh(self, news: Mapping[str, Sequence[Head]]) -> dict[str, list[EventBatch]]:
        """Reads these batches, by response. Omits responses of which not all batches could be read.

        Omits what a server wrote after its run was taken over (`run_writes`); the epochs are read afterwards.
        """
        ids = [head.id for heads in news.values() for head in heads]
        batches: dict[str, list[dict[str, Any]]] = {}
        size_bytes = 0
        fields = {"first": 1, "size": 1, "epoch": 1, "frames": 1, FIELD: 1}
        async for stored in self.collection.find({"_id": {"$in": ids}}, fields).sort("_id").batch_size(MOST_HEADS):
            if EVENTS.is_newer(stored):
                continue
            batch = EVENTS.upgrade(stored)
            batches.setdefault(_response_id(batch["_id"]), []).append(batch)
            size_bytes += len(batch["frames"])
            if size_bytes >= FRESH_BYTES:
                break
        epochs = {each["_id"]: each.get("epoch", 0) async for each in self._of(list(batches), {"epoch": 1})}
        return {
            response_id: [
                EventBatch(response_id, batch["first"], batch["frames"].decode().split("\n"))
                for batch in found
                if batch.get("epoch", 0) >= epochs.get(response_id, 0)
            ]
            for response_id, found in batches.items()
            if len(found) == len(news[response_id]) and all(_is_whole(batch) for batch in found)
        }

    @operation
    async def _under_way(self, response_ids: list[str]) -> set[str]:
        found = self._of(response_ids, {"process": 1, "deleted": 1})
        return {each["_id"] async for each in found if each.get("process") is not None and not each.get("deleted")}

    def _of(self, response_ids: list[str], fields: dict[str, int]) -> Any:
        responses = self._responses.get_pymongo_collection()
        return responses.find({"_id": {"$in": response_ids}}, fields).batch_size(MOST_HEADS)


class _Watch:
    """A change stream over the events of all responses, if the database has them. Only `run` uses the driver."""

    def __init__(self, tailer: Tailer) -> None:
        self.works = False
        self.ended = False
        self._tailer = tailer

    async def run(self) -> None:
        """Wakes the tailer at each change, until `ended` is set (noticed within `WATCH_MS`) or the stream fails.

        After that the tailer polls as often as without a change stream.
        """
        from codeact.store.database.errors import FOREIGN

        stages = [WRITTEN, IDS_ONLY]
        try:
            async with await self._tailer.collection.watch(stages, max_await_time_ms=WATCH_MS) as stream:
                self.works = True
                self._tailer.wake_for(None)
                while not self.ended:
                    change = await stream.try_next()
                    if change is not None:
                        self._tailer.wake_for({_response_id(str(change["documentKey"]["_id"]))})
        except FOREIGN as error:
            log.warning("the change stream has ended", reason=str(error))
        finally:
            self.works = False
            self._tailer.wake_for(None)


def _head(found: Mapping[str, Any]) -> Head:
    return Head(found["_id"], found["size"], found.get("epoch", 0))


def _response_id(batch_id: str) -> str:
    return batch_id.partition(":")[0]


def _is_whole(batch: Mapping[str, Any]) -> bool:
    """Whether it is complete, not a part of a frame that is too long for one document."""
    return batch["size"] > 0 and str(batch["_id"]).endswith(":0000")
