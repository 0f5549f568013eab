"""Deletes for good what was deleted before a given time, and blobs that nothing uses any more."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from codeact.store.database.operation import Operations, operation
from codeact.store.repositories.stored_bytes import StoredBytes

if TYPE_CHECKING:
    from codeact.store.documents.documents import Documents

__all__ = ["UNUSED_FOR", "Purging"]

UNUSED_FOR = timedelta(days=2)
"""Longer than any response is under way: as long as a sandbox lives at most, and as much again."""


class Purging:
    """Part of a `Store`, with its promises."""

    def __init__(self, documents: "Documents", operations: Operations) -> None:
        self._documents = documents
        self._operations = operations

    @operation
    async def _purge_one(self, before: datetime) -> bool:
        document = await self._documents.conversations.find_one({"deleted": True, "deleted_at": {"$lt": before}})
        if document is None:
            return False
        await self._documents.remove(document)
        return True

    @operation
    async def _remove_blob(self, since: datetime) -> bool:
        return await self._documents.remove_unused_blob(since)

    @operation
    async def discard(self, conversation_id: str, *, owner: str) -> None:
        """Removes at once a conversation in which nothing was said; one that is not there is none."""
        place = {"_id": conversation_id, "owner": owner, "last_response_id": None}
        document = await self._documents.conversations.find_one(place)
        if document is not None:
            await self._documents.remove(document)

    async def purge(self, *, before: datetime, unused_for: timedelta = UNUSED_FOR) -> int:
        """Removes what was deleted before that time, with its items; returns how many conversations.

        Blobs that nothing else uses go by a call that comes `unused_for` later: a response that is under way may have
        put one of them, and is known to use it only once it has ended.
        """
        purged = 0
        while await self._purge_one(before):
            purged += 1
        while await self._remove_blob(datetime.now(UTC) - unused_for):
            pass
        if purged:
            await StoredBytes(self._documents, self._operations).measure()
        return purged
