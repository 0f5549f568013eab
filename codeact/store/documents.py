"""What MongoDB holds: structs of `codeact.events` enter as Beanie documents and leave as structs again.

A document has the wire's field names. Free-form JSON (what code displayed, a client's metadata and tools)
is kept as JSON text: BSON takes neither every key nor every number, and nothing of it is queried.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar, Self

import msgspec
from beanie import Document
from beanie.odm.utils.init import Initializer
from pydantic import BaseModel, Field
from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from codeact.events import Input, InputMessage, Item, Response
from codeact.store.access_documents import AuditDocument, CredentialDocument, UsageDocument
from codeact.store.facets import VERSION, Facets, begun, ended, labels_of, more_words, title_of
from codeact.store.file_documents import ContainerDocument, FileDocument
from codeact.store.records import Conversation, StoredResponse
from codeact.store.sharing_documents import FeedbackDocument, ShareDocument

__all__ = [
    "BlobDocument",
    "ConversationDocument",
    "Documents",
    "EventBatchDocument",
    "ItemDocument",
    "ResponseDocument",
    "TreeLink",
    "time_of",
]

LATEST = [("updated_at", DESCENDING), ("_id", DESCENDING)]
"""The order of every list, and the end of every index that serves one."""

RANGES = {"tokens": "facets.tokens", "cost": "facets.cost_usd", "duration": "facets.duration_s"}

HISTORY = {
    "latest": [("deleted", ASCENDING), *LATEST, *((path, ASCENDING) for path in RANGES.values())],
    "labels": [("labels", ASCENDING), *LATEST],
    "words": [("words", ASCENDING), *LATEST],
    **{name: [("deleted", ASCENDING), (path, ASCENDING), *LATEST] for name, path in RANGES.items()},
}
"""The keys of the history's indexes; each is there with the owner in front and without."""


COUNTED = [
    "created_at",
    "owner",
    *(f"response.{name}" for name in ("status", "model", "error.code")),
    *(f"response.codeact:ledger.{name}_s" for name in ("first_token", "first_output", "total")),
    *(f"response.usage.{name}" for name in ("input_tokens", "input_tokens_details.cached_tokens", "output_tokens")),
    "response.usage.codeact:cost_usd",
]
"""All that statistics ask of responses, so that they read their index alone."""


class ConversationDocument(Document):
    """A conversation and what the history is searched and filtered by (docs/history.md).

    `labels` and `words` are empty once it is deleted, so that their indexes need not know of it. `revision`
    counts the changes, `version` says which rules the facets follow: both are `change`'s and `rebuild`'s.
    """

    id: str  # type: ignore[assignment]  # ours, not an ObjectId
    owner: str
    created_at: datetime
    updated_at: datetime
    metadata: str
    last_response_id: str | None = None
    pending: list[dict[str, Any]] = Field(default_factory=list)
    deleted: bool = False
    deleted_at: datetime | None = None
    title: str | None = None
    pinned: bool = False
    tags: list[str] = Field(default_factory=list)
    ratings: list[str] = Field(default_factory=list)
    facets: Facets = Field(default_factory=Facets)
    labels: list[str] = Field(default_factory=list)
    words: list[str] = Field(default_factory=list)
    revision: int = 0
    version: int = 0

    class Settings:
        name = "conversations"
        indexes: ClassVar = [
            *(
                IndexModel([*scope, *keys], name=f"{'owner' if scope else 'all'}_{name}")
                for scope in ([("owner", ASCENDING)], [])
                for name, keys in HISTORY.items()
            ),
            IndexModel([("version", ASCENDING)], name="version"),
            IndexModel([("deleted_at", ASCENDING)], name="deleted", partialFilterExpression={"deleted": {"$eq": True}}),
            IndexModel([("owner", ASCENDING), ("facets.blobs", ASCENDING)], name="owner_blobs"),
        ]

    @classmethod
    def pack(
        cls, conversation_id: str, *, owner: str, created_at: float, metadata: Mapping[str, str]
    ) -> "ConversationDocument":
        now = time_of(created_at)
        return cls(
            id=conversation_id,
            owner=owner,
            created_at=now,
            updated_at=now,
            metadata=_text(metadata),
            title=metadata.get("title"),
            version=VERSION,
        )

    @classmethod
    async def change(cls, place: Mapping[str, Any], change: Callable[[Self], object]) -> Self | None:
        """Lets `change` alter the one at `place`, and stores what differs; again on what is there if others did.

        None where there is no such conversation. `change` has to bear being called again, also when it was stored.
        """
        collection = cls.get_pymongo_collection()
        while (stored := await collection.find_one(place)) is not None:
            document: Self = cls.model_validate(stored)
            change(document)
            document.labels = document._labels()
            if document.deleted:
                document.labels, document.words = [], []
            wanted = document.model_dump(exclude={"id", "revision"})
            # What an older server left out has no value in `stored`.
            values = {name: value for name, value in wanted.items() if name not in stored or value != stored[name]}
            same = {"_id": document.id, "revision": stored.get("revision")}
            done = await collection.update_one(same, {"$set": values, "$inc": {"revision": 1}})
            if done.matched_count:
                return document
        return None

    def begin(self, response: Response, given: list[Input]) -> None:
        """Takes in what a response knows when it begins."""
        messages = [item for item in given if isinstance(item, InputMessage)]
        self.title = self.title or title_of(messages)
        taken = {item.id for item in given}
        self.pending = [item for item in self.pending if item["id"] not in taken]
        self.words = begun(self.facets, self.words, response, messages)

    def end(self, response: Response) -> None:
        """Takes in what a response knows when it has ended, and makes it the last one; once."""
        if self.last_response_id != response.id:
            self.last_response_id = response.id
            self.words = ended(self.facets, self.words, response)
        self.facets.status = response.status
        self.updated_at = time_of(time.time())

    def waiting(self) -> list[Input]:
        """What was said outside of a response, for the next one."""
        return msgspec.convert(self.pending, list[Input])

    def rename(self, title: str) -> None:
        self.title = title
        self.words = more_words(self.words, [title])

    def mark_deleted(self) -> None:
        """The first call says when."""
        self.deleted_at = self.deleted_at or time_of(time.time())
        self.deleted = True

    def mark_restored(self) -> None:
        """Undoes `mark_deleted`, but for the words, which only `rebuild` knows."""
        self.deleted, self.deleted_at = False, None

    def rebuild(self, stored: list[StoredResponse]) -> None:
        """Takes in all of its responses anew."""
        self.facets, self.version = Facets(), VERSION
        self.words = more_words([], [self.title or ""])
        for one in stored:
            self.begin(one.response, one.input)
            if one.response.status not in ("queued", "in_progress"):
                self.words = ended(self.facets, self.words, one.response)

    def _labels(self) -> list[str]:
        return labels_of(self.facets, pinned=self.pinned, tags=self.tags, ratings=self.ratings)

    def record(self) -> Conversation:
        return Conversation(
            id=self.id,
            owner=self.owner,
            created_at=self.created_at.timestamp(),
            updated_at=self.updated_at.timestamp(),
            metadata=msgspec.json.decode(self.metadata, type=dict[str, str]),
            last_response_id=self.last_response_id,
            title=self.title,
            pinned=self.pinned,
            tags=tuple(self.tags),
            ratings=tuple(self.ratings),
            facets=self.facets,
        )


class ResponseDocument(Document):
    """A response without its output, which is in `ItemDocument`s: 200 items of 100 KB do not fit into one document.

    `root_id` is the oldest ancestor, the same for a whole tree of branches. `process` names the server that
    produces it, and is absent once it has ended; `beat` grows while that server lives; `cancel` and `steers`
    are what other processes ask of it.
    """

    id: str  # type: ignore[assignment]
    owner: str
    created_at: datetime
    root_id: str
    process: str | None = None
    beat: int = 0
    cancel: bool = False
    steers: list[dict[str, Any]] = Field(default_factory=list)
    input: list[dict[str, Any]]
    response: dict[str, Any]
    deleted: bool = False

    class Settings:
        name = "responses"
        indexes: ClassVar = [
            IndexModel(
                [("root_id", ASCENDING), ("_id", ASCENDING), ("response.previous_response_id", ASCENDING)],
                name="tree",
            ),
            IndexModel([("response.conversation.id", ASCENDING), ("_id", ASCENDING)], name="conversation"),
            IndexModel(
                [("response.conversation.id", ASCENDING)],
                name="one_at_a_time",
                unique=True,
                partialFilterExpression={
                    "response.conversation.id": {"$type": "string"},
                    "response.status": {"$in": ["queued", "in_progress"]},
                },
            ),
            IndexModel(
                [("process", ASCENDING), ("_id", ASCENDING)],
                name="unfinished",
                partialFilterExpression={"process": {"$exists": True}},
            ),
            IndexModel([(path, ASCENDING) for path in COUNTED], name="statistics"),
        ]

    @classmethod
    def pack(
        cls, response: Response, messages: list[Input], *, owner: str, root_id: str, process: str | None = None
    ) -> "ResponseDocument":
        return cls(
            id=response.id,
            owner=owner,
            created_at=time_of(response.created_at),
            root_id=root_id,
            process=process,
            input=msgspec.to_builtins(messages),
            response=_pack(response),
        )

    @classmethod
    async def link(cls, response_id: str, *, owner: str) -> "TreeLink | None":
        return await cls.find_one({"_id": response_id, "owner": owner}).project(TreeLink)

    @classmethod
    async def ancestors(cls, link: "TreeLink") -> list[str]:
        """The ids of its ancestors and its own, oldest first."""
        tree = await cls.find({"root_id": link.root_id}).project(TreeLink).to_list()
        previous = {node.id: node.previous_response_id for node in tree}
        chain: list[str] = []
        at: str | None = link.id
        while at is not None:
            chain.append(at)
            at = previous.get(at)
        return chain[::-1]

    @classmethod
    async def finish(cls, response: Response, *, process: str) -> None:
        """Stores how it ended, while this server holds it."""
        await cls.find_one({"_id": response.id, "process": process}).update({"$set": {"response": _pack(response)}})

    def unpack(self, items: "list[ItemDocument]") -> StoredResponse:
        wire = {
            **self.response,
            "metadata": msgspec.json.decode(self.response["metadata"]),
            "tools": msgspec.json.decode(self.response["tools"]),
            "output": [item.unpack() for item in items],
        }
        return StoredResponse(msgspec.convert(wire, Response), msgspec.convert(self.input, list[Input]))


class ItemDocument(Document):
    """One finished item of a response's output. Its owner is its response's: nobody reaches it another way."""

    id: str  # type: ignore[assignment]
    response_id: str
    output_index: int
    item: dict[str, Any]

    class Settings:
        name = "items"
        indexes: ClassVar = [
            IndexModel([("response_id", ASCENDING), ("output_index", ASCENDING)], name="response_order"),
            IndexModel(
                [("item.call_id", ASCENDING)],
                name="function_calls",
                partialFilterExpression={"item.type": "function_call"},
            ),
            # What went wrong, by the time that is in the ids.
            *(
                IndexModel(
                    [("_id", ASCENDING), (f"item.codeact:result.{path}", ASCENDING)],
                    name=name,
                    partialFilterExpression={f"item.codeact:result.{path}": {"$gt": ""}},
                )
                for name, path in (("raised", "error.ename"), ("limited", "limit"))
            ),
        ]

    @classmethod
    def pack(cls, response_id: str, output_index: int, item: Item) -> "ItemDocument":
        wire = msgspec.to_builtins(item)
        for output in wire.get("codeact:notebook_outputs", ()):
            output.update({name: _text(output[name]) for name in ("data", "metadata") if name in output})
        return cls(id=item.id, response_id=response_id, output_index=output_index, item=wire)

    def unpack(self) -> dict[str, Any]:
        for output in self.item.get("codeact:notebook_outputs", ()):
            output.update({name: msgspec.json.decode(output[name]) for name in ("data", "metadata") if name in output})
        return self.item


class BlobDocument(Document):
    """A part of a blob: large ones have several, since a document holds less than 16 MB."""

    owner: str
    sha256: str
    part: int
    parts: int
    media_type: str
    data: bytes

    class Settings:
        name = "blobs"
        indexes: ClassVar = [
            IndexModel(
                [("owner", ASCENDING), ("sha256", ASCENDING), ("part", ASCENDING)],
                name="owner_sha256_part",
                unique=True,
            )
        ]


class EventBatchDocument(Document):
    """Neighbouring events of one response, as JSON texts with a newline between them.

    Its id is `response:first:part`, so that a response's batches are read in order by their ids alone. `first`
    is the number of the first event. A frame that is too long for a document is continued in the next part;
    such parts have a `size` of 0, up to the one with its end. The owner is the response's.
    """

    id: str  # type: ignore[assignment]
    first: int
    size: int
    frames: bytes
    expires_at: datetime

    class Settings:
        name = "events"
        indexes: ClassVar = [IndexModel([("expires_at", ASCENDING)], name="expiry", expireAfterSeconds=0)]

    @classmethod
    async def remove(cls, response_id: str) -> None:
        """Forgets a response's events."""
        await cls.find({"_id": {"$gt": f"{response_id}:", "$lt": f"{response_id};"}}).delete()


class TreeLink(BaseModel):
    """A response's place in its tree; reading it by `root_id` needs the index `tree` alone."""

    id: str = Field(alias="_id")
    root_id: str
    previous_response_id: str | None

    class Settings:
        projection: ClassVar = {
            "_id": 1,
            "root_id": 1,
            "previous_response_id": "$response.previous_response_id",
        }


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


def time_of(seconds: float) -> datetime:
    """In milliseconds, as MongoDB keeps it."""
    time = datetime.fromtimestamp(seconds, UTC)
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


def _pack(response: Response) -> dict[str, Any]:
    """The response as it is on the wire, without its output."""
    wire: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(response, output=[]))
    del wire["output"]
    return wire | {"metadata": _text(response.metadata), "tools": _text(response.tools)}


def _text(value: Mapping[str, Any] | list[Any]) -> str:
    return msgspec.json.encode(value).decode()
