"""All collections of one database: a database enters, and what is done to several of them at once leaves."""

from collections.abc import Sequence
from typing import Any

from beanie import Document
from beanie.odm.utils.init import Initializer
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from codeact.events import Input, Response
from codeact.store.access_documents import AuditDocument, CredentialDocument, UsageDocument
from codeact.store.conversation_documents import ConversationDocument
from codeact.store.file_documents import BlobDocument, ContainerDocument, FileDocument
from codeact.store.records import StoredResponse
from codeact.store.response_documents import EventBatchDocument, ItemDocument, ResponseDocument, TreeLink
from codeact.store.sharing_documents import FeedbackDocument, ShareDocument

__all__ = ["Documents"]


class Documents:
    """The document classes bound to one database.

    They are subclasses of its own: Beanie binds a class to one database for the whole process, and a second
    store would redirect the first one's writes.
    """

    def __init__(self) -> None:
        self.conversations: type[ConversationDocument] = type("Conversations", (ConversationDocument,), {})
        self.responses: type[ResponseDocument] = type("Responses", (ResponseDocument,), {})
        self.items: type[ItemDocument] = type("Items", (ItemDocument,), {})
        self.blobs: type[BlobDocument] = type("Blobs", (BlobDocument,), {})
        self.events: type[EventBatchDocument] = type("Events", (EventBatchDocument,), {})
        self.containers: type[ContainerDocument] = type("Containers", (ContainerDocument,), {})
        self.files: type[FileDocument] = type("Files", (FileDocument,), {})
        self.feedback: type[FeedbackDocument] = type("Feedback", (FeedbackDocument,), {})
        self.shares: type[ShareDocument] = type("Shares", (ShareDocument,), {})
        self.credentials: type[CredentialDocument] = type("Credentials", (CredentialDocument,), {})
        self.usage: type[UsageDocument] = type("Usage", (UsageDocument,), {})
        self.audit: type[AuditDocument] = type("Audit", (AuditDocument,), {})

    async def insert(self, document: Document) -> bool:
        """Inserts; False where it is there already, stored by a call whose connection broke, or must not be there."""
        try:
            await document.insert()
        except DuplicateKeyError:
            return False
        return True

    async def with_items(self, found: Sequence[ResponseDocument]) -> list[StoredResponse]:
        """The responses with their items, in the given order; in one query."""
        items: dict[str, list[ItemDocument]] = {document.id: [] for document in found}
        order = ("response_id", "output_index")
        for item in await self.items.find({"response_id": {"$in": list(items)}}).sort(*order).to_list():
            items[item.response_id].append(item)
        return [document.unpack(items[document.id]) for document in found]

    async def add(self, response: Response, messages: list[Input], *, owner: str) -> None:
        """Stores a response that has ended, with its output. May be repeated."""
        previous = response.previous_response_id
        link = await self.responses.link(previous, owner=owner) if previous is not None else None
        root_id = link.root_id if link is not None else response.id
        document = self.responses.pack(response, messages, owner=owner, root_id=root_id)
        for index, item in enumerate(response.output):
            await self.insert(self.items.pack(response.id, index, item))
        await self.insert(document)

    async def remove(self, conversation: ConversationDocument) -> None:
        """Removes the conversation and all that nothing else needs; the conversation last, so that a retry ends it."""
        responses = self.responses.find({"response.conversation.id": conversation.id}).project(TreeLink)
        ids = [link.id async for link in responses]
        await self.items.find({"response_id": {"$in": ids}}).delete()
        await self.responses.find({"_id": {"$in": ids}}).delete()
        for response_id in ids:
            await self.events.remove(response_id)
        of_it = {"conversation_id": conversation.id}
        kept = {file.sha256 async for file in self.files.find(of_it) if file.sha256 is not None}
        await self.files.find(of_it).delete()
        for documents in (self.containers, self.feedback, self.shares):
            await documents.find(of_it).delete()
        for sha256 in {*conversation.facets.blobs, *kept}:
            await self._remove_unused(sha256, conversation)
        await self.conversations.find({"_id": conversation.id}).delete()

    async def _remove_unused(self, sha256: str, conversation: ConversationDocument) -> None:
        owner = conversation.owner
        other = {"owner": owner, "facets.blobs": sha256, "_id": {"$ne": conversation.id}}
        if await self.conversations.find_one(other) is not None:
            return
        if await self.files.find_one({"owner": owner, "sha256": sha256}) is None:
            await self.blobs.find({"owner": owner, "sha256": sha256}).delete()

    @classmethod
    async def bind(cls, database: AsyncDatabase[dict[str, Any]]) -> "Documents":
        """Binds and creates missing indexes; on a database that grew without them this takes its time."""
        documents = cls()
        models = list(vars(documents).values())
        initializer = Initializer(database, document_models=models)
        # It would bind what they inherit from as well; `init_beanie` has no word against that.
        initializer.inited_classes += [model.__bases__[0] for model in models]
        await initializer
        return documents
