"""The store: saves and loads conversations, responses and blobs, and hides the database from its callers."""

import hashlib
import importlib
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from codeact.concurrency.slices import Slices
from codeact.errors import NotFound, ResponseTakenOver, StoreUnavailable
from codeact.events import Input, Item, Response
from codeact.ids import new_id
from codeact.store.blobs import offload
from codeact.store.database.operation import Operations, operation
from codeact.store.database.uri import describe
from codeact.store.missing import no_blob, no_conversation, no_response, no_response_to_continue
from codeact.store.records import Blob, Conversation, StoredResponse
from codeact.store.repositories.access import Access
from codeact.store.repositories.answers import Answers
from codeact.store.repositories.approvals import Approvals
from codeact.store.repositories.bin import Bin
from codeact.store.repositories.blob_parts import BLOB_PART_BYTES, BlobParts
from codeact.store.repositories.certificates import Certificates
from codeact.store.repositories.checkpoints import Checkpoints
from codeact.store.repositories.deliveries import Deliveries
from codeact.store.repositories.events import Events
from codeact.store.repositories.excerpts import Excerpts
from codeact.store.repositories.failure_stats import FailureStats
from codeact.store.repositories.files import ContainerFiles
from codeact.store.repositories.history import History
from codeact.store.repositories.items import ConversationItems
from codeact.store.repositories.people import People
from codeact.store.repositories.profiles import Profiles
from codeact.store.repositories.purging import Purging
from codeact.store.repositories.repeatable import RepeatableRequests
from codeact.store.repositories.response_leases import LEASE_S, Leases
from codeact.store.repositories.run_writes import RunWrites, owned_by
from codeact.store.repositories.sealing import Sealing
from codeact.store.repositories.servers import Servers
from codeact.store.repositories.sharing import Sharing
from codeact.store.repositories.skills import Skills
from codeact.store.repositories.slots import Slots
from codeact.store.repositories.statistics import Statistics
from codeact.store.repositories.stored_bytes import DOCUMENT_BYTES, StoredBytes
from codeact.store.repositories.threads import Attachment, Threads
from codeact.store.repositories.turns import BATCH, Turns
from codeact.store.repositories.upload_parts import UploadParts
from codeact.store.repositories.uploads import Uploads

if TYPE_CHECKING:
    from codeact.store.database.connection import Client
    from codeact.store.documents.documents import Documents
    from codeact.store.documents.responses import ResponseDocument, TreeLink

__all__ = ["Store"]

PING_CACHED_S = 1.0


class Store:
    """Safe for concurrent calls in one event loop. When a call returns, what it has written survives a crash.

    If no database answers, every method raises `StoreUnavailable` within about 12 s; it works again as soon as one
    does. Cancelling a call only ends the waiting: the change may or may not happen. Every call may be repeated. What
    belongs to another owner raises the same `NotFound` as what does not exist.
    """

    in_memory = False

    def __init__(
        self, client: "Client", documents: "Documents", operations: Operations, *, lease_s: float = LEASE_S
    ) -> None:
        self._client = client
        self._documents = documents
        self._conversations = documents.conversations
        self._responses = documents.responses
        self._items = documents.items
        self._blobs = documents.blobs
        self._operations = operations
        self.access = Access(documents, operations)
        self.approvals = Approvals(documents, operations)
        self.certificates = Certificates(documents, operations, StoredBytes(documents, operations))
        self.people = People(documents, operations)
        self.stored = StoredBytes(documents, operations)
        self.blob_parts = BlobParts(documents, operations, self.stored)
        self.checkpoints = Checkpoints(documents, operations, self.stored)
        self.uploads = Uploads(documents, operations, self.blob_parts, self.stored)
        self.upload_parts = UploadParts(documents, operations, self.blob_parts, self.uploads)
        self.events = Events(documents, operations)
        self.leases = Leases(documents, operations)
        self.run_writes = RunWrites(documents, operations, holder=self.leases.holder)
        self.history = History(documents, operations)
        self.excerpts = Excerpts(documents, operations)
        self.bin = Bin(documents, operations)
        self.purging = Purging(documents, operations)
        self.conversation_items = ConversationItems(documents, operations, self.stored)
        self.files = ContainerFiles(documents, operations, holder=self.leases.holder, lease_s=lease_s)
        self.profiles = Profiles(documents, operations, self.stored)
        self.skills = Skills(documents, operations)
        self.deliveries = Deliveries(documents, operations)
        self.has_webhooks = False
        self.sealing = Sealing(documents, operations)
        self.sharing = Sharing(documents, operations)
        self.answers = Answers(documents, operations)
        self.repeatable = RepeatableRequests(documents, operations, holder=self.leases.holder)
        self.slots = Slots(documents, operations, holder=self.leases.holder)
        self.servers = Servers(documents, operations, holder=self.leases.holder)
        self.threads = Threads(documents, operations, holder=self.leases.holder, lease_s=lease_s)
        self.turns = Turns(documents, operations)
        self.statistics = Statistics(documents, operations)
        self.failure_stats = FailureStats(documents, operations)

    @classmethod
    @asynccontextmanager
    async def connect(cls, uri: str, *, lease_s: float = LEASE_S) -> AsyncIterator["Store"]:
        """Connects to the URI's database (default `codeact`), creates missing indexes, and closes on exit.

        Raises `StoreUnavailable`, which says what is wrong and what to do, without the URI's secrets.
        """
        # In a thread: importing Beanie takes half a second, while the server should already listen.
        connection = await anyio.to_thread.run_sync(importlib.import_module, "codeact.store.database.connection")
        async with Operations.open(uri) as operations, connection.open_documents(operations) as (client, documents):
            yield cls(client, documents, operations, lease_s=lease_s)

    async def ping(self) -> None:
        """Returns if the database has answered within the last second, or answers now. Raises `StoreUnavailable`.

        It is cheap to call often: concurrent calls share one ping, which waits 1.5 s for its answer.
        """
        if self._operations.silent_s > PING_CACHED_S and not await self._operations.is_alive():
            raise StoreUnavailable(f"No MongoDB answers at {describe(self._operations.uri)}.")

    @property
    def silent_s(self) -> float:
        """How long ago the database last answered."""
        return self._operations.silent_s

    # ---- conversations -------------------------------------------------------------------------------

    @operation
    async def create_conversation(
        self,
        *,
        owner: str,
        metadata: Mapping[str, str] | None = None,
        container: Mapping[str, Any] | None = None,
    ) -> Conversation:
        """Creates an empty conversation. `container` are the options of its sandboxes (`ContainerOptions.shown`)."""
        now = time.time()
        document = self._conversations.pack(
            new_id("conv"), owner=owner, created_at=now, metadata=metadata or {}, container=container
        )
        await document.insert()
        await self.stored.add_within(owner, DOCUMENT_BYTES + sum(map(len, (metadata or {}).values())))
        return document.record()

    @operation
    async def get_conversation(self, conversation_id: str, *, owner: str) -> Conversation:
        document = await self._conversations.find_one({"_id": conversation_id, "owner": owner, "deleted": False})
        if document is None:
            raise no_conversation(conversation_id)
        return document.record()

    # ---- responses -----------------------------------------------------------------------------------

    @operation
    async def decided_end(self, response_id: str) -> Response | None:
        """The end of the response (without its output), if its server stored that but not all of the rest; otherwise
        None.
        """
        document = await self._responses.get(response_id)
        if document is None or document.end is None:
            return None
        document.response = document.end
        return document.unpack([]).response

    async def begin_response(self, response: Response, input: list[Input], *, owner: str) -> None:
        """Stores the response and its input at the current end of its conversation, which is created if necessary.

        Raises `NotFound` for an unknown `previous_response_id`, and `ConversationLocked` while another response of the
        conversation runs, on any server. To begin at an `Attachment` that was read before, use `threads.begin`.
        """
        at = Attachment()
        if response.conversation is not None:
            with suppress(NotFound):  # It is created below.
                at = await self.threads.of_conversation(response.conversation.id, owner=owner)
        if response.previous_response_id is not None:
            previous = (await self.threads.of_response(response.previous_response_id, owner=owner)).previous
            at = replace(at, previous=previous)
        code = await self.threads.last_code(at.previous) if at.previous is not None else None
        await self.threads.begin(response, input, owner=owner, at=at, last_code=code)

    @operation
    async def add_item(self, response_id: str, output_index: int, item: Item) -> None:
        """Stores one finished item, in one round trip. Call `offload` with it first."""
        await self._documents.insert(self._items.pack(response_id, output_index, item))

    async def offload(self, item: Item, *, owner: str) -> None:
        """Moves large parts of a finished item into blobs, in place; see `codeact.store.blobs`."""
        await offload(item, partial(self.put_blob, owner=owner))

    async def finish_response(self, response: Response, *, epoch: int = 0) -> None:
        """Stores how the response ended (without its output) and makes it the last one of its conversation. May be
        repeated.

        The first of three writes decides: a server that takes over after it ends the response in the same way. If
        another response has begun in the conversation since, the conversation is not changed. The lease is retained;
        call `Leases.release` when the end is in the event log too. Raises `ResponseTakenOver`.
        """
        from codeact.store.documents.responses import pack_end  # Beanie takes half a second to import.

        owned = owned_by(response.id, self.leases.holder, epoch)
        end = pack_end(response)
        await self._change_owned(owned, {"$set": {"end": end["response"]}})
        if response.conversation is not None:
            await self.threads.end_in_conversation(response, response.conversation.id)
        if self.has_webhooks:
            await self.deliveries.mark(response.id)
        await self._change_owned(owned, {"$set": end, "$unset": {"end": ""}})
        self.threads.note_end(response.id, end)

    @operation
    async def _change_owned(self, owned: dict[str, Any], change: dict[str, Any]) -> None:
        responses = self._responses.get_pymongo_collection()
        changed = await responses.update_one(owned, change)
        # A repeated call may find that it has released the lease already; nobody took over in this epoch then.
        if not changed.matched_count and await responses.find_one(owned | {"process": None}, {"_id": 1}) is None:
            raise ResponseTakenOver()

    async def end_response(self, response: Response) -> None:
        """`finish_response` and `Leases.release`, for a response without an event log."""
        await self.finish_response(response)
        await self.leases.release(response.id)

    @operation
    async def get_response(self, response_id: str, *, owner: str) -> StoredResponse:
        document = await self._responses.find_one({"_id": response_id, "owner": owner, "deleted": {"$ne": True}})
        if document is None:
            raise no_response(response_id)
        return (await self._documents.with_items([document]))[0]

    @operation
    async def delete_response(self, response_id: str, *, owner: str) -> None:
        """Deletes the response's input and output.

        Its place in the tree stays, because other responses may follow it. If none does, what follows later continues
        with the state of the kernel before the deleted response.
        """
        place = {"_id": response_id, "owner": owner}
        document = await self._responses.find_one(place)
        if document is None:
            raise no_response(response_id)
        conversation = document.response["conversation"]
        if conversation and not document.deleted:
            await self.sharing.rate(response_id, None, None, owner=owner)
        change: dict[str, Any] = {"deleted": True, "input": [], "steers": []}
        if not document.deleted and (before := await self._before(document)):
            change |= before
            async for checkpoint in self._documents.checkpoints.find({"response_id": response_id}):
                await self._documents.remove_checkpoint(checkpoint)
        await self._items.find({"response_id": response_id}).delete()
        await self._documents.events.remove(response_id)
        await self._responses.find_one(place).update({"$set": change})
        await self._documents.certificates.find({"_id": response_id}).delete()
        await self._documents.approvals.find({"response_id": response_id}).delete()
        if conversation:
            await self.history.rebuild(conversation["id"])

    @operation
    async def thread(self, response_id: str, *, owner: str) -> list[StoredResponse]:
        """The response and its ancestors (`previous_response_id`), oldest first; four queries."""
        return await self._some(await self._responses.ancestors(await self._link(response_id, owner)), owner)

    @operation
    async def some(self, response_ids: Sequence[str], *, owner: str) -> list[StoredResponse]:
        """Those of these responses that the owner has, in this order; two queries."""
        return await self._some(response_ids, owner)

    # ---- blobs ---------------------------------------------------------------------------------------

    @operation
    async def put_blob(self, data: bytes, media_type: str, *, owner: str) -> str:
        """Stores the data; returns its SHA-256 in hex.

        The same data is stored once per owner, with its first media type.
        """
        sha256 = await anyio.to_thread.run_sync(lambda: hashlib.sha256(data).hexdigest())
        starts = range(0, max(len(data), 1), BLOB_PART_BYTES)
        for part, start in enumerate(starts):
            chunk = data[start : start + BLOB_PART_BYTES]
            await self.blob_parts.put_part_within(owner, sha256, part, len(starts), media_type, chunk)
        return sha256

    @operation
    async def get_blob(self, sha256: str, *, owner: str) -> Blob:
        parts = await self._blobs.find({"owner": owner, "sha256": sha256}).sort("part").to_list()
        if not parts or len(parts) < parts[0].parts:  # Some parts are missing while it is being stored.
            raise no_blob(sha256)
        return Blob(b"".join(part.data for part in parts), parts[0].media_type)

    # ---- inside --------------------------------------------------------------------------------------

    async def _some(self, response_ids: Sequence[str], owner: str) -> list[StoredResponse]:
        found: dict[str, ResponseDocument] = {}
        slices = Slices()
        place = {"_id": {"$in": [*response_ids]}, "owner": owner}
        async for document in self._responses.find(place, batch_size=BATCH):
            found[document.id] = document
            await slices.pause()
        return await self._documents.with_items([found[one] for one in response_ids if one in found])

    async def _before(self, document: "ResponseDocument") -> dict[str, Any]:
        """Where code ran before this response, as fields of its document; none if other responses follow it."""
        tree = {"root_id": document.root_id, "response.previous_response_id": document.id}
        responses = self._responses.get_pymongo_collection()
        if await responses.find_one(tree, {"_id": 1}) is not None:
            return {}
        previous = {"_id": document.response.get("previous_response_id"), "owner": document.owner}
        found = await responses.find_one(previous, {"last_code": 1, "code_response_id": 1}) or {"last_code": {}}
        return {"last_code": found.get("last_code"), "code_response_id": found.get("code_response_id")}

    async def _link(self, response_id: str, owner: str) -> "TreeLink":
        link = await self._responses.link(response_id, owner=owner)
        if link is None:
            raise no_response_to_continue(response_id)
        return link
