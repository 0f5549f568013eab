"""The answers collection: what a history stands for that a client sends back by its words, at whichever server."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from codeact.store.database.operation import Operations, operation
from codeact.store.documents.schema import ANSWER, FIELD

if TYPE_CHECKING:
    from codeact.store.documents.documents import Documents

__all__ = ["Answers"]

RETENTION = timedelta(days=30)


class Answers:
    """The part of `Store` with answers by their words. Keys are hashes, which contain the owner."""

    def __init__(self, documents: "Documents", operations: Operations) -> None:
        self._answers = documents.answers
        self._operations = operations

    @operation
    async def remember(
        self, key: str, value: str, *, conversation_id: str, owner: str, of_one_conversation: bool = False
    ) -> None:
        """Remembers for 30 days what the words stand for. May be repeated.

        With `of_one_conversation`, the words stand for nothing once a second conversation has them.
        """
        kept: Any = {"$literal": value}
        if of_one_conversation:
            is_new = {"$eq": [{"$type": "$conversation_id"}, "missing"]}
            is_same = {"$eq": ["$conversation_id", conversation_id]}
            is_known = {"$and": [is_same, {"$ne": ["$value", None]}]}
            kept = {"$cond": [{"$or": [is_new, is_known]}, kept, None]}
        fields = {
            "value": kept,
            "owner": {"$literal": owner},
            "conversation_id": {"$ifNull": ["$conversation_id", conversation_id]}
            if of_one_conversation
            else conversation_id,
            "expires_at": datetime.now(UTC) + RETENTION,
            FIELD: ANSWER.version,
        }
        await self._answers.get_pymongo_collection().update_one({"_id": key}, [{"$set": fields}], upsert=True)

    @operation
    async def find(self, key: str) -> str | None:
        """What the words stand for; None if that is not known for certain."""
        found = await self._answers.get_pymongo_collection().find_one({"_id": key}, {"value": 1})
        return found["value"] if found is not None else None
