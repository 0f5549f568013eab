"""Adds, lists and removes items of a conversation, including those that wait for its next response."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from codeact.errors import InvalidRequest, NotFound
from codeact.events import Input
from codeact.store.database.operation import Operations, operation
from codeact.store.missing import no_conversation
from codeact.store.records import Conversation
from codeact.store.repositories.stored_bytes import StoredBytes

if TYPE_CHECKING:
    from codeact.store.documents.conversations import ConversationDocument
    from codeact.store.documents.documents import Documents

__all__ = ["MOST_WAITING", "ConversationItems", "TooManyWaiting"]

MOST_WAITING, WAITING_BYTES = 200, 8_000_000
"""Limits of the items that wait in one conversation: its document, of at most 16 MB, contains them."""


class TooManyWaiting(InvalidRequest):
    """More items would wait in a conversation than are allowed."""

    code = "too_many_waiting_items"

    def __init__(self) -> None:
        super().__init__(
            f"At most {MOST_WAITING} items of {WAITING_BYTES:,} bytes wait in a conversation; create a response, which"
            " takes them in, or delete some.",
            param="items",
        )


class ConversationItems:
    """The part of `Store` with the items of conversations.

    Items added outside of a response wait in the conversation and become the beginning of the next response's input.
    """

    def __init__(self, documents: "Documents", operations: Operations, stored: StoredBytes) -> None:
        self._documents = documents
        self._operations = operations
        self._stored = stored

    @operation
    async def add(self, conversation_id: str, items: Sequence[Input], *, owner: str) -> None:
        """Adds waiting items. Raises `NotFound`, and `TooManyWaiting` if too many would wait."""

        def change(document: "ConversationDocument") -> None:
            known = {item["id"] for item in document.pending}
            pending = document.pending + msgspec.to_builtins([item for item in items if item.id not in known])
            if len(pending) > MOST_WAITING or len(msgspec.json.encode(pending)) > WAITING_BYTES:
                raise TooManyWaiting
            document.pending = pending

        await self._change(conversation_id, owner, change)
        await self._stored.add_within(owner, len(msgspec.json.encode(items)))

    @operation
    async def withdraw(self, conversation_id: str, item_ids: Sequence[str], *, owner: str) -> bool:
        """Removes waiting items; returns False if some are gone already, for example used by a response."""
        waited = False

        def change(document: "ConversationDocument") -> None:
            nonlocal waited
            left = [item for item in document.pending if item["id"] not in item_ids]
            waited = len(document.pending) - len(left) == len(item_ids)
            document.pending = left

        await self._change(conversation_id, owner, change)
        return waited

    @operation
    async def delete(self, conversation_id: str, item_id: str, *, owner: str) -> Conversation:
        """Removes one item, so that no model reads it any more. Raises `NotFound`."""
        document = await self._existing(conversation_id, owner)
        chain = await self._chain(document)
        if any(item["id"] == item_id for item in document.pending):

            def change(document: "ConversationDocument") -> None:
                document.pending = [item for item in document.pending if item["id"] != item_id]

            return await self._change(conversation_id, owner, change)
        deleted = await self._documents.items.find_one({"_id": item_id, "response_id": {"$in": chain}}).delete()
        if deleted is None or not deleted.deleted_count:
            place = {"_id": {"$in": chain}, "input.id": item_id}
            pulled = await self._documents.responses.get_pymongo_collection().update_one(
                place, {"$pull": {"input": {"id": item_id}}}
            )
            if not pulled.matched_count:
                # An earlier request may have removed it, and have failed before it could say so to other servers.
                await self._change(conversation_id, owner, _unchanged)
                raise NotFound(f"There is no item '{item_id}' in this conversation.", param="item_id")
        # Servers that have read the item find that the conversation has changed, and read it again.
        return await self._change(conversation_id, owner, _unchanged)

    @operation
    async def set_metadata(self, conversation_id: str, metadata: Mapping[str, str], *, owner: str) -> Conversation:
        """Replaces the conversation's metadata. A `title` in it becomes the conversation's title."""
        text = msgspec.json.encode(metadata).decode()

        def change(document: "ConversationDocument") -> None:
            document.metadata = text
            if title := metadata.get("title"):
                document.rename(title)

        return await self._change(conversation_id, owner, change)

    async def _change(
        self, conversation_id: str, owner: str, change: Callable[["ConversationDocument"], None]
    ) -> Conversation:
        place = {"_id": conversation_id, "owner": owner, "deleted": False}
        document = await self._documents.conversations.change(place, change)
        return _found(document, conversation_id).record()

    async def _existing(self, conversation_id: str, owner: str) -> "ConversationDocument":
        place = {"_id": conversation_id, "owner": owner, "deleted": False}
        return _found(await self._documents.conversations.find_one(place), conversation_id)

    async def _chain(self, document: "ConversationDocument") -> list[str]:
        if document.last_response_id is None:
            return []
        link = await self._documents.responses.link(document.last_response_id, owner=document.owner)
        return [] if link is None else await self._documents.responses.ancestors(link)


def _unchanged(document: "ConversationDocument") -> None: ...


def _found(document: "ConversationDocument | None", conversation_id: str) -> "ConversationDocument":
    if document is None:
        raise no_conversation(conversation_id)
    return document
