"""Stores items and events of several runs in one batch, and reports which runs this server has lost.

A run belongs to the server that its response names as `process`, in the response's current `epoch`, which each
take-over increases. Everything that a run writes carries the epoch. A write counts only if the response, read
afterwards, still names that process and epoch: whoever takes over sees what was written before, and every reader
ignores what is written later. So no transaction is needed, and a write that was delayed while its server was suspended
does no harm.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from codeact.store.database.operation import Operations, operation
from codeact.store.documents.schema import EVENTS, FIELD
from codeact.store.repositories.event_batches import RunWrite
from codeact.store.repositories.events import batches

if TYPE_CHECKING:
    from codeact.store.documents.documents import Documents

__all__ = ["RunWrite", "RunWrites", "owned_by"]

DUPLICATE = 11000


class RunWrites:
    """The part of `Store` that runs write to.

    The guarantees of `Store` hold here too. `holder` is this server's name.
    """

    def __init__(self, documents: "Documents", operations: Operations, *, holder: str) -> None:
        self._documents = documents
        self._operations = operations
        self._holder = holder

    async def put(self, writes: Sequence[RunWrite], *, ttl_s: float) -> set[str]:
        """Stores the items and then the events; returns the ids of lost responses. May be repeated.

        It is undefined how much of a lost response was stored; no reader sees it.
        """
        if any(write.items for write in writes):
            await self._put_items(writes)
        lost = await self._put_events(writes, ttl_s)
        epochs = {write.response_id: write.epoch for write in writes if write.epoch is not None and write.is_awaited}
        return lost | await self._lost(epochs) if epochs else lost

    @operation
    async def adopt(self, response_id: str, epoch: int) -> None:
        """Completes a take-over: makes everything stored so far part of this epoch. May be repeated."""
        older = {"epoch": {"$not": {"$gte": epoch}}}
        ours = {"$set": {"epoch": epoch}}
        items = self._documents.items.get_pymongo_collection()
        await items.update_many({"response_id": response_id, **older}, ours)
        of_it = {"_id": {"$gt": f"{response_id}:", "$lt": f"{response_id};"}}
        await self._documents.events.get_pymongo_collection().update_many(of_it | older, ours)
        responses = self._documents.responses.get_pymongo_collection()
        await responses.update_one(owned_by(response_id, self._holder, epoch), {"$set": {"adopted": epoch}})

    @operation
    async def _put_items(self, writes: Sequence[RunWrite]) -> None:
        from pymongo import InsertOne

        items = self._documents.items
        found = [
            items.fields(write.response_id, index, item, epoch=write.epoch or 0)
            for write in writes
            for index, item in write.items
        ]
        inserts = [InsertOne({"_id": fields.pop("id"), **fields}) for fields in found]
        await _duplicates(self._documents.items.get_pymongo_collection(), inserts)

    @operation
    async def _put_events(self, writes: Sequence[RunWrite], ttl_s: float) -> set[str]:
        """Stores event batches. A batch replaces one with the same first event, unless that is of a later epoch."""
        from pymongo import ReplaceOne

        expires_at = datetime.now(UTC) + timedelta(seconds=ttl_s)
        found = [(write, batch) for write in writes if write.event_batch.frames for batch in batches(write.event_batch)]
        replaces = [
            ReplaceOne(
                {"_id": batch["_id"], "epoch": {"$not": {"$gt": write.epoch or 0}}},
                batch | {"expires_at": expires_at, "epoch": write.epoch or 0, FIELD: EVENTS.version},
                upsert=True,
            )
            for write, batch in found
        ]
        refused = await _duplicates(self._documents.events.get_pymongo_collection(), replaces) if replaces else []
        return {found[index][0].response_id for index in refused}

    @operation
    async def _lost(self, epochs: Mapping[str, int]) -> set[str]:
        """The responses that this server no longer owns in the given epoch."""
        place = {"_id": {"$in": list(epochs)}, "process": self._holder}
        found = self._documents.responses.get_pymongo_collection().find(place, {"epoch": 1})
        owned = {one["_id"] async for one in found if one.get("epoch", 0) == epochs[one["_id"]]}
        return epochs.keys() - owned


def owned_by(response_id: str, holder: str, epoch: int) -> dict[str, Any]:
    """A filter: the response, if this server holds it in this epoch. Older servers wrote no epoch."""
    return {"_id": response_id, "process": holder, "epoch": epoch or {"$in": [0, None]}}


async def _duplicates(collection: Any, writes: Sequence[Any]) -> list[int]:
    """Executes all writes; returns the indexes of those that found an existing document."""
    from pymongo.errors import BulkWriteError

    try:
        await collection.bulk_write(writes, ordered=False)
    except BulkWriteError as error:
        errors = error.details.get("writeErrors", [])
        if error.details.get("writeConcernErrors") or any(one["code"] != DUPLICATE for one in errors):
            raise
        return [one["index"] for one in errors]
    return []
