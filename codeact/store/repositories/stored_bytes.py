"""Counts the bytes that each owner stores; maintenance recounts them.

Counted are blobs, responses with their items, input and certificates, conversations with the items that wait in them,
checkpoints, the names of files, profiles, and events as long as they are stored.
"""

from typing import TYPE_CHECKING, Any

from codeact.owners import account_of
from codeact.store.database.operation import Operations, operation
from codeact.store.documents.schema import FIELD, STORED_BYTES

if TYPE_CHECKING:
    from beanie import Document

    from codeact.store.documents.documents import Documents

__all__ = ["DOCUMENT_BYTES", "StoredBytes"]

BATCH = 500
DOCUMENT_BYTES = 500
"""The size of a small document, such as an empty conversation, until it is measured."""


class StoredBytes:
    """The sums of stored bytes. They are cheap to change and read, and may be slightly off until `measure` runs."""

    def __init__(self, documents: "Documents", operations: Operations) -> None:
        self._documents = documents
        self._operations = operations

    @operation
    async def add(self, owner: str, size_bytes: int) -> dict[str, int]:
        """Adds to the sums of the owner and of its account; returns them, with what other servers have added."""
        return await self.add_within(owner, size_bytes)

    async def add_within(self, owner: str, size_bytes: int) -> dict[str, int]:
        """Like `add`, for callers that are inside an operation already."""
        from pymongo import ReturnDocument

        sums: dict[str, int] = {}
        for each in sorted({owner, account_of(owner)}):
            place, change = (
                {"_id": each},
                {"$inc": {"bytes": size_bytes}, "$setOnInsert": {FIELD: STORED_BYTES.version}},
            )
            found = await self._documents.stored.get_pymongo_collection().find_one_and_update(
                place, change, upsert=True, return_document=ReturnDocument.AFTER
            )
            assert found is not None  # because of `upsert`
            sums[each] = max(0, found["bytes"])
        return sums

    @operation
    async def used(self, owner: str) -> int:
        """How many bytes the owner stores; for an account, including its users."""
        found = await self._documents.stored.get(owner)
        return max(0, found.bytes) if found is not None else 0

    async def measure(self) -> None:
        """Recounts what each owner stores. What is stored meanwhile may be missing until the next call."""
        accounts: dict[str, int] = {}
        events = await self._events()
        for owner in sorted({*await self._owners(), *events}):
            size_bytes = await self._measured(owner) + events.get(owner, 0)
            accounts[account_of(owner)] = accounts.get(account_of(owner), 0) + size_bytes
            if account_of(owner) != owner:
                await self._set(owner, size_bytes)
        for account, size_bytes in accounts.items():
            await self._set(account, size_bytes)

    @operation
    async def _owners(self) -> list[str]:
        documents = self._documents
        known = [one.id async for one in documents.stored.find_all()]
        for collection in (documents.conversations, documents.blobs, documents.profiles):
            known += await collection.get_pymongo_collection().distinct("owner")
        return sorted(set(known))

    @operation
    async def _events(self) -> dict[str, int]:
        """How many bytes of events are stored for each owner."""
        pipeline: list[dict[str, Any]] = [
            {
                "$group": {
                    "_id": {"$arrayElemAt": [{"$split": ["$_id", ":"]}, 0]},
                    "bytes": {"$sum": {"$bsonSize": "$$ROOT"}},
                }
            },
            {
                "$lookup": {
                    "from": "responses",
                    "localField": "_id",
                    "foreignField": "_id",
                    "pipeline": [{"$project": {"owner": 1}}],
                    "as": "response",
                }
            },
            {"$unwind": "$response"},
            {"$group": {"_id": "$response.owner", "bytes": {"$sum": "$bytes"}}},
        ]
        collection = self._documents.events.get_pymongo_collection()
        async with await collection.aggregate(pipeline, allowDiskUse=True) as found:
            return {one["_id"]: int(one["bytes"]) async for one in found}

    @operation
    async def _measured(self, owner: str) -> int:
        documents = self._documents
        total = await _sum(documents.blobs, {"owner": owner}, {"$binarySize": "$data"})
        of_owner = (documents.responses, documents.conversations, documents.files, documents.profiles)
        for collection in (*of_owner, documents.certificates, documents.checkpoints):
            total += await _sum(collection, {"owner": owner}, {"$bsonSize": "$$ROOT"})
        found = documents.responses.get_pymongo_collection().find({"owner": owner}, {"_id": 1})
        ids: list[str] = []
        async for one in found:
            ids.append(one["_id"])
            if len(ids) == BATCH:
                total += await _sum(documents.items, {"response_id": {"$in": ids}}, {"$bsonSize": "$$ROOT"})
                ids = []
        return total + await _sum(documents.items, {"response_id": {"$in": ids}}, {"$bsonSize": "$$ROOT"})

    @operation
    async def _set(self, owner: str, size_bytes: int) -> None:
        collection = self._documents.stored.get_pymongo_collection()
        if size_bytes:
            await collection.update_one(
                {"_id": owner}, {"$set": {"bytes": size_bytes, FIELD: STORED_BYTES.version}}, upsert=True
            )
        else:
            await collection.delete_one({"_id": owner})


async def _sum(documents: "type[Document]", place: dict[str, Any], size: dict[str, Any]) -> int:
    pipeline = [{"$match": place}, {"$group": {"_id": None, "bytes": {"$sum": size}}}]
    async with await documents.get_pymongo_collection().aggregate(pipeline) as found:
        return int(next(iter([one["bytes"] async for one in found]), 0))
