"""The collection of requests with an `Idempotency-Key`: whichever server a repetition reaches, it is executed once."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from codeact.store.database.operation import Operations, operation
from codeact.store.documents.schema import FIELD, REPEATABLE

if TYPE_CHECKING:
    from codeact.store.documents.documents import Documents

__all__ = ["Repeatable", "RepeatableRequests"]

RETENTION = timedelta(days=1)
MOST_PER_OWNER = 2_000
BATCH = 50
"""How many of an owner's oldest requests are forgotten at a time, if there are too many."""


@dataclass(frozen=True, slots=True)
class Repeatable:
    """One request. `response_id` is the id for the response that it begins; `content` its answer, if that is short."""

    body_hash: str
    is_done: bool
    response_id: str | None
    status: int
    content: bytes | None
    media_type: str | None


class RepeatableRequests:
    """The part of `Store` with requests that clients may repeat. `holder` is this server's name."""

    def __init__(self, documents: "Documents", operations: Operations, *, holder: str) -> None:
        self._requests = documents.repeatable
        self._holder = holder
        self._operations = operations

    @operation
    async def begin(self, key: str, *, owner: str, body_hash: str, response_id: str) -> Repeatable | None:
        """Remembers the request for a day; returns the earlier request with this key, if there is one."""
        from pymongo import ReturnDocument

        now = datetime.now(UTC)
        first = {
            "owner": owner,
            "process": self._holder,
            "body_hash": body_hash,
            "response_id": response_id,
            "is_done": False,
            "begun_at": now,
            "expires_at": now + RETENTION,
            FIELD: REPEATABLE.version,
        }
        found = await self._requests.get_pymongo_collection().find_one_and_update(
            {"_id": key}, {"$setOnInsert": first}, upsert=True, return_document=ReturnDocument.AFTER
        )
        assert found is not None  # because of `upsert`
        if found["response_id"] == response_id:
            await self._drop_oldest(owner)
            return None
        return Repeatable(
            found["body_hash"],
            found["is_done"],
            found["response_id"],
            found.get("status", 200),
            found.get("content"),
            found.get("media_type"),
        )

    @operation
    async def end(self, key: str, *, status: int, content: bytes | None, media_type: str | None) -> None:
        """Remembers that the request was answered, and its answer if that is short."""
        change = {"is_done": True, "status": status, "content": content, "media_type": media_type}
        await self._requests.get_pymongo_collection().update_one({"_id": key}, {"$set": change})

    @operation
    async def forget(self, key: str) -> None:
        """Forgets the request, so that the next one with its key is executed."""
        await self._requests.get_pymongo_collection().delete_one({"_id": key})

    async def _drop_oldest(self, owner: str) -> None:
        requests = self._requests.get_pymongo_collection()
        place: dict[str, Any] = {"owner": owner}
        if await requests.count_documents(place, limit=MOST_PER_OWNER + 1) <= MOST_PER_OWNER:
            return
        oldest = requests.find(place, {"_id": 1}).sort("begun_at").limit(BATCH)
        await requests.delete_many({"_id": {"$in": [one["_id"] async for one in oldest]}})
