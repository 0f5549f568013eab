"""The database behind the agent: structs of `codeact.events` enter and leave; everything else stays inside."""

import hashlib
import importlib
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from operator import methodcaller
from typing import TYPE_CHECKING, Any

import anyio
import msgspec

from codeact.errors import ConversationLocked, NotFound
from codeact.events import Input, Item, Response
from codeact.ids import new_id
from codeact.store.access import Access
from codeact.store.conversation_items import ConversationItems
from codeact.store.events import Events
from codeact.store.files import ContainerFiles
from codeact.store.history import History
from codeact.store.leases import LEASE_S, Leases
from codeact.store.mishaps import Mishaps
from codeact.store.operation import operation
from codeact.store.records import Blob, Conversation, StoredResponse
from codeact.store.sharing import Sharing
from codeact.store.statistics import Statistics

if TYPE_CHECKING:
    from codeact.store.connection import Client
    from codeact.store.documents import Documents
    from codeact.store.response_documents import TreeLink

__all__ = ["Store"]

BLOB_PART_BYTES = 2_000_000
"""Far below the 16 MB of a document: encoding a part holds up the event loop for about 2 ms per MB."""


class Store:
    """Safe for concurrent calls of one event loop. What a call has written, when it returns, survives a crash.

    Every method raises `StoreUnavailable` within 8 s while no database answers, and works again once one
    does. Cancelling a call leaves open whether it was done; each can be repeated. What belongs to another
    owner is answered exactly like what does not exist.
    """

    def __init__(self, client: "Client", documents: "Documents", uri: str) -> None:
        self._client = client
        self._documents = documents
        self._conversations = documents.conversations
        self._responses = documents.responses
        self._items = documents.items
        self._blobs = documents.blobs
        self._uri = uri
        self.access = Access(documents, uri)
        self.events = Events(documents, uri)
        self.leases = Leases(documents, uri)
        self.history = History(documents, uri)
        self.conversation_items = ConversationItems(documents, uri)
        self.files = ContainerFiles(documents, uri, holder=self.leases.holder)
        self.sharing = Sharing(documents, uri)
        self.statistics = Statistics(documents, uri)
        self.mishaps = Mishaps(documents, uri)

    @classmethod
    @asynccontextmanager
    async def connect(cls, uri: str) -> AsyncIterator["Store"]:
        """Connects, creates missing indexes, and closes on leaving. The URI's database, or `codeact`.

        Raises `StoreUnavailable` with cause and remedy, and without the URI's secrets.
        """
        # Beanie takes half a second to import, in which the server should already listen.
        connection = await anyio.to_thread.run_sync(importlib.import_module, "codeact.store.connection")
        async with connection.open_documents(uri) as (client, documents):
            yield cls(client, documents, uri)

    @operation
    async def ping(self) -> None:
        """Returns if the database answers."""
        await self._client.admin.command("ping")

    # ---- conversations -------------------------------------------------------------------------------

    @operation
    async def create_conversation(self, *, owner: str, metadata: Mapping[str, str] | None = None) -> Conversation:
        now = time.time()
        document = self._conversations.pack(new_id("conv"), owner=owner, created_at=now, metadata=metadata or {})
        await document.insert()
        return document.record()

    @operation
    async def get_conversation(self, conversation_id: str, *, owner: str) -> Conversation:
        document = await self._conversations.find_one({"_id": conversation_id, "owner": owner, "deleted": False})
        if document is None:
            raise NotFound(f"There is no conversation '{conversation_id}'.", param="conversation")
        return document.record()

    # ---- responses -----------------------------------------------------------------------------------

    @operation
    async def begin_response(self, response: Response, input: list[Input], *, owner: str) -> None:
        """Stores the response and what the client sent.

        Raises `NotFound` for an unknown `previous_response_id`, and `ConversationLocked` while another response of
        the conversation is under way, at whichever server.
        """
        root_id = response.id
        if response.previous_response_id is not None:
            root_id = (await self._link(response.previous_response_id, owner)).root_id
        document = self._responses.pack(response, input, owner=owner, root_id=root_id, process=self.leases.holder)
        if not await self._documents.insert(document) and await self._responses.get(response.id) is None:
            raise ConversationLocked(
                "The conversation is answering another request, at another server; wait for its end or cancel it. If"
                f" that server has died, its answer is ended within {LEASE_S:g} s, and the conversation is free again.",
                param="conversation",
                retry_after_s=LEASE_S,
            )
        if response.conversation is not None:
            place = {"_id": response.conversation.id, "owner": owner}
            await self._conversations.change(place, methodcaller("begin", response, input))

    @operation
    async def add_item(self, response_id: str, output_index: int, item: Item) -> None:
        """Stores one finished item, in one round trip. Call `offload` with it first."""
        await self._documents.insert(self._items.pack(response_id, output_index, item))

    @operation
    async def finish_response(self, response: Response, *, late: bool = False) -> None:
        """Stores how the response ended (all but its output) and makes it its conversation's last.

        With `late`, only while no other response has been added to the conversation. The lease is kept: it is
        for `Leases.release`, once the end is in the event log too.
        """
        if response.conversation is not None:
            place: dict[str, Any] = {"_id": response.conversation.id}
            if late:  # Ids sort by time: a conversation that has gone on since stays where it is.
                place["last_response_id"] = {"$not": {"$gt": response.id}}
            await self._conversations.change(place, methodcaller("end", response))
        await self._responses.finish(response, process=self.leases.holder)

    async def end_response(self, response: Response) -> None:
        """`finish_response` for one without an event log."""
        await self.finish_response(response)
        await self.leases.release(response.id)

    @operation
    async def get_response(self, response_id: str, *, owner: str) -> StoredResponse:
        document = await self._responses.find_one({"_id": response_id, "owner": owner, "deleted": {"$ne": True}})
        if document is None:
            raise NotFound(f"There is no response '{response_id}'.", param="response_id")
        return (await self._documents.with_items([document]))[0]

    @operation
    async def get_item(self, item_id: str, *, owner: str) -> Item:
        """One finished item of an answer."""
        document = await self._items.find_one({"_id": item_id})
        if document is None or await self._responses.link(document.response_id, owner=owner) is None:
            raise NotFound(f"There is no item '{item_id}'.", param="input")
        item: Item = msgspec.convert(document.unpack(), Item)
        return item

    @operation
    async def response_of_call(self, call_id: str, *, owner: str) -> str | None:
        """The response that called a client's function under this id; None where there is none."""
        document = await self._items.find_one({"item.type": "function_call", "item.call_id": call_id})
        if document is None or await self._responses.link(document.response_id, owner=owner) is None:
            return None
        return document.response_id

    @operation
    async def conversation_of(self, item_id: str, *, owner: str) -> str | None:
        """The conversation in whose answers the item is; None where there is none, or it is deleted."""
        item = await self._items.find_one({"_id": item_id})
        response = item and await self._responses.find_one({"_id": item.response_id, "owner": owner})
        conversation = response and response.response.get("conversation")
        place = {"_id": conversation and conversation["id"], "owner": owner, "deleted": False}
        found = await self._conversations.find_one(place) if conversation else None
        return found.id if found is not None else None

    @operation
    async def delete_response(self, response_id: str, *, owner: str) -> None:
        """Forgets what was asked and answered. Its place in the tree stays: others may follow it."""
        place = {"_id": response_id, "owner": owner}
        document = await self._responses.find_one(place)
        if document is None:
            raise NotFound(f"There is no response '{response_id}'.", param="response_id")
        conversation = document.response["conversation"]
        if conversation and not document.deleted:
            await self.sharing.rate(response_id, None, None, owner=owner)
        await self._items.find({"response_id": response_id}).delete()
        await self._documents.events.remove(response_id)
        await self._responses.find_one(place).update({"$set": {"deleted": True, "input": [], "steers": []}})
        if conversation:
            await self.history.rebuild(conversation["id"])

    @operation
    async def thread(self, response_id: str, *, owner: str) -> list[StoredResponse]:
        """The response and its ancestors by `previous_response_id`, oldest first; in four queries."""
        chain = await self._responses.ancestors(await self._link(response_id, owner))
        found = {document.id: document async for document in self._responses.find({"_id": {"$in": chain}})}
        return await self._documents.with_items([found[ancestor] for ancestor in chain if ancestor in found])

    # ---- blobs ---------------------------------------------------------------------------------------

    @operation
    async def put_blob(self, data: bytes, media_type: str, *, owner: str) -> str:
        """Returns the SHA-256 of `data`, in hex; the same data is kept once per owner, as what it was first."""
        sha256 = await anyio.to_thread.run_sync(lambda: hashlib.sha256(data).hexdigest())
        starts = range(0, max(len(data), 1), BLOB_PART_BYTES)
        for part, start in enumerate(starts):
            chunk = data[start : start + BLOB_PART_BYTES]
            await self._documents.insert(
                self._blobs(owner=owner, sha256=sha256, part=part, parts=len(starts), media_type=media_type, data=chunk)
            )
        return sha256

    @operation
    async def get_blob(self, sha256: str, *, owner: str) -> Blob:
        parts = await self._blobs.find({"owner": owner, "sha256": sha256}).sort("part").to_list()
        if not parts or len(parts) < parts[0].parts:  # Fewer while it is being put.
            raise NotFound(f"There is no blob '{sha256}'.", param="sha256")
        return Blob(b"".join(part.data for part in parts), parts[0].media_type)

    # ---- inside --------------------------------------------------------------------------------------

    async def _link(self, response_id: str, owner: str) -> "TreeLink":
        link = await self._responses.link(response_id, owner=owner)
        if link is None:
            raise NotFound(
                f"There is no response '{response_id}' to continue.",
                param="previous_response_id",
                code="previous_response_not_found",
            )
        return link
