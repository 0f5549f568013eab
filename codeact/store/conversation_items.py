"""The items of a conversation: what was said before its next response enters; all of its items, in order, leave."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from codeact.errors import NotFound
from codeact.events import Input, Item
from codeact.store.operation import operation
from codeact.store.records import Conversation

if TYPE_CHECKING:
    from codeact.store.conversation_documents import ConversationDocument
    from codeact.store.documents import Documents

__all__ = ["ConversationItems"]


class ConversationItems:
    """Part of a `Store`, with its promises.

    Items that came outside of a response wait in the conversation, and are the beginning of its next one's input.
    """

    def __init__(self, documents: "Documents", uri: str) -> None:
        self._documents = documents
        self._uri = uri

    @operation
    async def find(self, conversation_id: str, *, owner: str) -> list[Input | Item]:
        """Of its last response and that one's ancestors input and output, then what waits; oldest first."""
        document = await self._existing(conversation_id, owner)
        stored = await self._documents.with_items(
            await self._documents.responses.find({"_id": {"$in": await self._chain(document)}}).sort("_id").to_list()
        )
        items: list[Input | Item] = [item for one in stored for item in (*one.input, *one.response.output)]
        return [*items, *document.waiting()]

    @operation
    async def waiting(self, conversation_id: str, *, owner: str) -> list[Input]:
        """What waits for the next response."""
        return (await self._existing(conversation_id, owner)).waiting()

    @operation
    async def add(self, conversation_id: str, items: Sequence[Input], *, owner: str) -> None:
        def change(document: "ConversationDocument") -> None:
            known = {item["id"] for item in document.pending}
            document.pending += msgspec.to_builtins([item for item in items if item.id not in known])

        await self._change(conversation_id, owner, change)

    @operation
    async def delete(self, conversation_id: str, item_id: str, *, owner: str) -> Conversation:
        """Takes one item out, so that no model reads it any more. Raises `NotFound`."""
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
                raise NotFound(f"There is no item '{item_id}' in this conversation.", param="item_id")
        return document.record()

    @operation
    async def set_metadata(self, conversation_id: str, metadata: Mapping[str, str], *, owner: str) -> Conversation:
        """Replaces the conversation's metadata; a `title` in it becomes the conversation's."""
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


def _found(document: "ConversationDocument | None", conversation_id: str) -> "ConversationDocument":
    if document is None:
        raise NotFound(f"There is no conversation '{conversation_id}'.", param="conversation")
    return document
