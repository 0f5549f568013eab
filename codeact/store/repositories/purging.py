"""Deletes for good what was marked as deleted before a given time, and blobs that nothing uses any more."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from codeact.store.database.operation import Operations, operation
from codeact.store.repositories.stored_bytes import StoredBytes

if TYPE_CHECKING:
    from codeact.store.documents.documents import Documents

__all__ = ["UNUSED_FOR", "Purging"]

UNUSED_FOR = timedelta(days=2)
"""Longer than any response can run: twice the longest life of a sandbox."""


class Purging:
    """The part of `Store` that deletes for good."""

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
    async def _remove_expired_upload(self) -> bool:
        return await self._documents.remove_expired_upload(datetime.now(UTC))

    @operation
    async def discard(self, conversation_id: str, *, owner: str) -> None:
        """Removes a conversation without any finished response, at once.

        Does nothing if there is no such conversation.
        """
        place = {"_id": conversation_id, "owner": owner, "last_response_id": None}
        document = await self._documents.conversations.find_one(place)
        if document is not None:
            await self._documents.remove(document)

    async def purge(self, *, before: datetime, unused_for: timedelta = UNUSED_FOR) -> int:
        """Removes conversations that were deleted before that time, with their items; returns how many. Also removes
        uploaded files that have expired.

        A blob that becomes unused is removed by a call at least `unused_for` later: a running response may have stored
        it, and counts as using it only after it has ended.
        """
        purged = 0
        while await self._purge_one(before):
            purged += 1
        while await self._remove_expired_upload():
            pass
        while await self._remove_blob(datetime.now(UTC) - unused_for):
            pass
        if purged:
            await StoredBytes(self._documents, self._operations).measure()
        return purged
