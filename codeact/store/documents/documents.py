"""All collections of one database, and changes that span several of them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from beanie import Document
from beanie.odm.utils.init import Initializer
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from codeact.concurrency.slices import Slices
from codeact.events import Input, Response
from codeact.events.last_code import last_code
from codeact.owners import account_of
from codeact.store.documents.access import (
    AuditDocument,
    CredentialDocument,
    PersonDocument,
    SecretDocument,
    StoredDocument,
    UsageDocument,
)
from codeact.store.documents.answers import AnswerDocument, RepeatableDocument
from codeact.store.documents.approvals import ApprovalDocument
from codeact.store.documents.certificates import CertificateDocument
from codeact.store.documents.checkpoints import CheckpointDocument
from codeact.store.documents.conversations import ConversationDocument
from codeact.store.documents.deliveries import DeliveryDocument
from codeact.store.documents.files import BlobDocument, ContainerDocument, FileDocument
from codeact.store.documents.profiles import ProfileDocument
from codeact.store.documents.responses import EventBatchDocument, ItemDocument, ResponseDocument, TreeLink
from codeact.store.documents.servers import ServerDocument, SlotsDocument
from codeact.store.documents.sharing import FeedbackDocument, ShareDocument
from codeact.store.documents.skills import SkillDocument, SkillVersionDocument
from codeact.store.records import StoredResponse

__all__ = ["Documents"]

BATCH = 5
"""How many items the driver decodes at a time. An item has at most 8 MB, usually a few KB."""

MARKED_AT_ONCE = 1_000


class Documents:
    """The document classes, bound to one database.

    Each instance makes its own subclasses, because Beanie binds a class to one database for the whole process: a second
    store would otherwise redirect the writes of the first.
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
        self.people: type[PersonDocument] = type("People", (PersonDocument,), {})
        self.profiles: type[ProfileDocument] = type("Profiles", (ProfileDocument,), {})
        self.usage: type[UsageDocument] = type("Usage", (UsageDocument,), {})
        self.stored: type[StoredDocument] = type("Stored", (StoredDocument,), {})
        self.secrets: type[SecretDocument] = type("Secrets", (SecretDocument,), {})
        self.answers: type[AnswerDocument] = type("Answers", (AnswerDocument,), {})
        self.repeatable: type[RepeatableDocument] = type("Repeatables", (RepeatableDocument,), {})
        self.slots: type[SlotsDocument] = type("Slots", (SlotsDocument,), {})
        self.servers: type[ServerDocument] = type("Servers", (ServerDocument,), {})
        self.skills: type[SkillDocument] = type("Skills", (SkillDocument,), {})
        self.skill_versions: type[SkillVersionDocument] = type("SkillVersions", (SkillVersionDocument,), {})
        self.deliveries: type[DeliveryDocument] = type("Deliveries", (DeliveryDocument,), {})
        self.audit: type[AuditDocument] = type("Audit", (AuditDocument,), {})
        self.certificates: type[CertificateDocument] = type("Certificates", (CertificateDocument,), {})
        self.approvals: type[ApprovalDocument] = type("Approvals", (ApprovalDocument,), {})
        self.checkpoints: type[CheckpointDocument] = type("Checkpoints", (CheckpointDocument,), {})

    async def insert(self, document: Document) -> bool:
        """Inserts the document.

        Returns False if it exists already (stored by a call whose connection broke) or if a unique index forbids it.
        """
        try:
            # Beanie's own `insert` takes several times as long to encode a document of plain values.
            fields = document.model_dump(exclude={"revision_id"})
            named = {"_id": id} if (id := fields.pop("id")) is not None else {}
            await document.get_pymongo_collection().insert_one(named | fields)
        except DuplicateKeyError:
            return False
        return True

    async def is_disabled(self, owner: str) -> bool:
        """Whether the account of this owner is that of a person whom an admin has disabled."""
        place = {"_id": account_of(owner), "disabled": True}
        return await self.people.get_pymongo_collection().find_one(place, {"_id": 1}) is not None

    async def with_items(self, found: Sequence[ResponseDocument]) -> list[StoredResponse]:
        """Loads the items of these responses in one query; returns the responses in the given order."""
        items: dict[str, list[ItemDocument]] = {document.id: [] for document in found}
        order = ("response_id", "output_index")
        slices = Slices()
        cursor = self.items.find({"response_id": {"$in": list(items)}}, batch_size=BATCH).sort(*order)
        async for item in cursor:
            items[item.response_id].append(item)
            await slices.pause()
        read: list[StoredResponse] = []
        for document in found:
            stored = document.unpack([])
            for item in items.pop(document.id):
                stored.response.output += document.counted(item)
                await slices.pause()
            read.append(stored)
        return read

    async def add(self, response: Response, messages: list[Input], *, owner: str) -> None:
        """Stores a response that has ended, with its output. May be repeated."""
        previous = response.previous_response_id
        before = await self.responses.find_one({"_id": previous, "owner": owner}) if previous is not None else None
        root_id = before.root_id if before is not None else response.id
        document = self.responses.pack(response, messages, owner=owner, root_id=root_id)
        if last_code(response.output) is not None:
            document.code_response_id = response.id
        elif before is not None:
            document.code_response_id = before.code_response_id
        for index, item in enumerate(response.output):
            await self.insert(self.items.pack(response.id, index, item))
        await self.insert(document)

    async def remove(self, conversation: ConversationDocument) -> None:
        """Removes the conversation and everything that belongs to it; the conversation itself last, so that a retry
        completes it.

        Marks the blobs that nothing else seems to use, for `remove_unused_blob`.
        """
        responses = self.responses.find({"response.conversation.id": conversation.id}).project(TreeLink)
        ids = [link.id async for link in responses]
        await self.items.find({"response_id": {"$in": ids}}).delete()
        await self.responses.find({"_id": {"$in": ids}}).delete()
        for response_id in ids:
            await self.events.remove(response_id)
        of_it = {"conversation_id": conversation.id}
        used = {file.sha256 async for file in self.files.find(of_it) if file.sha256 is not None}
        await self.files.find(of_it).delete()
        of_answers = (self.answers, self.feedback, self.approvals, self.certificates)
        for documents in (*of_answers, self.containers, self.shares):
            await documents.find(of_it).delete()
        async for checkpoint in self.checkpoints.find(of_it):
            await self.remove_checkpoint(checkpoint)
        for sha256 in {*conversation.facets.blobs, *used}:
            await self._mark_unused(conversation.owner, sha256, but=conversation.id)
        await self.conversations.find({"_id": conversation.id}).delete()

    async def remove_unused_blob(self, since: datetime) -> bool:
        """Removes one blob that has been unused since `since`; returns False if there is none left."""
        blobs = self.blobs.get_pymongo_collection()
        unused = {"unused_at": {"$lte": since}}
        found = await blobs.find_one(unused, {"owner": 1, "sha256": 1})
        if found is None:
            return False
        of_it = {"owner": found["owner"], "sha256": found["sha256"]}
        if await self._is_used(**of_it):
            await blobs.update_many(of_it, {"$unset": {"unused_at": ""}})
        else:
            # If somebody has just put it again, `unused_at` is gone and nothing is deleted.
            await blobs.delete_many(of_it | unused)
        return True

    async def remove_upload(self, file: FileDocument) -> None:
        """Removes an uploaded file, and marks its blob if nothing else seems to use that."""
        await self.files.find({"_id": file.id}).delete()
        if file.sha256 is not None:
            await self._mark_unused(file.owner, file.sha256)

    async def remove_expired_upload(self, before: datetime) -> bool:
        """Removes one file that has expired before that time; returns False if there is none left."""
        file = await self.files.find_one({"expires_at": {"$lte": before}})
        if file is not None:
            await self.remove_upload(file)
        return file is not None

    async def remove_skill_version(self, version: SkillVersionDocument) -> None:
        """Removes a version of a skill, and marks its blob if nothing else seems to use that."""
        await self.skill_versions.find({"_id": version.id}).delete()
        await self._mark_unused(version.owner, version.sha256)

    async def remove_checkpoint(self, checkpoint: CheckpointDocument) -> None:
        """Removes a checkpoint, after it has marked the blobs that nothing else seems to use."""
        await self.mark_parts_unused(checkpoint.owner, checkpoint.parts, but=checkpoint.id)
        await self.checkpoints.find({"_id": checkpoint.id}).delete()
        if checkpoint.newest:
            left = {"conversation_id": checkpoint.conversation_id, "complete": True}
            collection, latest = self.checkpoints.get_pymongo_collection(), [("_id", -1)]
            await collection.find_one_and_update(left, {"$set": {"newest": True}}, {"_id": 1}, sort=latest)

    async def mark_parts_unused(self, owner: str, parts: Sequence[str], *, but: str) -> None:
        """Marks the blobs of the checkpoint `but` that nothing else seems to use: with a few queries for 1,000."""
        left = sorted(set(parts))
        for start in range(0, len(left), MARKED_AT_ONCE):
            batch = set(left[start : start + MARKED_AT_ONCE])
            for documents, field in (
                (self.checkpoints, "parts"),
                (self.conversations, "facets.blobs"),
                (self.files, "sha256"),
                (self.skill_versions, "sha256"),
            ):
                place = {"owner": owner, field: {"$in": list(batch)}, "_id": {"$ne": but}}
                async for found in documents.get_pymongo_collection().find(place, {field: 1}):
                    batch -= set(_values(found, field))
            blobs = self.blobs.get_pymongo_collection()
            place = {"owner": owner, "sha256": {"$in": list(batch)}}
            await blobs.update_many(place, {"$set": {"unused_at": datetime.now(UTC)}})

    async def _mark_unused(self, owner: str, sha256: str, *, but: str = "") -> None:
        of_it = {"owner": owner, "sha256": sha256}
        if not await self._is_used(**of_it, but=but):
            blobs = self.blobs.get_pymongo_collection()
            await blobs.update_many(of_it, {"$set": {"unused_at": datetime.now(UTC)}})

    async def _is_used(self, owner: str, sha256: str, *, but: str = "") -> bool:
        """Whether a conversation, a checkpoint, a file or a skill uses the blob.

        A blob of a running response counts only once that has ended.
        """
        other = {"owner": owner, "facets.blobs": sha256, "_id": {"$ne": but}}
        if await self.conversations.find_one(other) is not None:
            return True
        if await self.checkpoints.find_one({"owner": owner, "parts": sha256, "_id": {"$ne": but}}) is not None:
            return True
        of_it = {"owner": owner, "sha256": sha256}
        return await self.files.find_one(of_it) is not None or await self.skill_versions.find_one(of_it) is not None

    @classmethod
    async def bind(cls, database: AsyncDatabase[dict[str, Any]]) -> "Documents":
        """Binds the classes and creates missing indexes, which takes long on a large database that lacks them."""
        documents = cls()
        models = list(vars(documents).values())
        initializer = Initializer(database, document_models=models)
        # Otherwise Beanie would bind the base classes too; `init_beanie` has no option against that.
        initializer.inited_classes += [model.__bases__[0] for model in models]
        await initializer
        return documents


def _values(found: dict[str, Any], field: str) -> Sequence[str]:
    """The text, or the texts, in this field, whose name may have a dot."""
    value: Any = found
    for name in field.split("."):
        value = value[name]
    return [value] if isinstance(value, str) else value
