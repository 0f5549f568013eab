"""The bin: deleted conversations, until their owner restores them, removes them for good, or their time is over."""

from typing import TYPE_CHECKING

from codeact.store.database.operation import Operations, operation
from codeact.store.missing import no_conversation
from codeact.store.records import Conversation

if TYPE_CHECKING:
    from codeact.store.documents.documents import Documents

__all__ = ["Bin"]


class Bin:
    """The part of `Store` with deleted conversations."""

    def __init__(self, documents: "Documents", operations: Operations) -> None:
        self._documents = documents
        self._operations = operations

    @operation
    async def find(self, *, owner: str, after: str | None = None, limit: int = 20) -> list[Conversation]:
        """The owner's deleted conversations, latest deleted first, beginning behind the one with the id `after`.

        Raises `NotFound` if `after` is not in the bin.
        """
        conversations = self._documents.conversations
        place: dict[str, object] = {"owner": owner, "deleted": True}
        if after is not None:
            last = await conversations.find_one({**place, "_id": after})
            if last is None:
                raise no_conversation(after, param="after")
            earlier = {"deleted_at": last.deleted_at, "_id": {"$lt": after}}
            place["$or"] = [{"deleted_at": {"$lt": last.deleted_at}}, earlier]
        found = conversations.find(place, hint="owner_deleted").sort(("deleted_at", -1), ("_id", -1)).limit(limit)  # type: ignore[arg-type]
        return [document.record() for document in await found.to_list()]

    @operation
    async def remove(self, conversation_id: str, *, owner: str) -> None:
        """Removes a deleted conversation for good, with everything in it. Raises `NotFound` if it is not in the bin.

        The owner's stored bytes are counted again by the next maintenance.
        """
        place = {"_id": conversation_id, "owner": owner, "deleted": True}
        document = await self._documents.conversations.find_one(place)
        if document is None:
            raise no_conversation(conversation_id)
        await self._documents.remove(document)
