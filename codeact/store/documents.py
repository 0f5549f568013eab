"""What MongoDB holds: structs of `codeact.events` enter as Beanie documents and leave as structs again.

A document has the wire's field names. Free-form JSON (what code displayed, a client's metadata and tools)
is kept as JSON text: BSON takes neither every key nor every number, and nothing of it is queried.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

import msgspec
from beanie import Document
from beanie.odm.utils.init import Initializer
from pydantic import BaseModel, Field
from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.asynchronous.database import AsyncDatabase

from codeact.events import InputMessage, Item, Response
from codeact.store.access_documents import AuditDocument, CredentialDocument, UsageDocument
from codeact.store.process import this_process
from codeact.store.records import Conversation, StoredResponse

__all__ = [
    "BlobDocument",
    "ConversationDocument",
    "Documents",
    "ItemDocument",
    "ResponseDocument",
    "TreeLink",
    "time_of",
]


class ConversationDocument(Document):
    id: str  # type: ignore[assignment]  # ours, not an ObjectId
    owner: str
    created_at: datetime
    updated_at: datetime
    metadata: str
    last_response_id: str | None = None

    class Settings:
        name = "conversations"
        indexes: ClassVar = [IndexModel([("owner", ASCENDING), ("_id", DESCENDING)], name="owner_newest_first")]

    @classmethod
    def pack(
        cls, conversation_id: str, *, owner: str, created_at: float, metadata: Mapping[str, str]
    ) -> "ConversationDocument":
        now = time_of(created_at)
        return cls(id=conversation_id, owner=owner, created_at=now, updated_at=now, metadata=_text(metadata))

    def record(self) -> Conversation:
        return Conversation(
            id=self.id,
            owner=self.owner,
            created_at=self.created_at.timestamp(),
            updated_at=self.updated_at.timestamp(),
            metadata=msgspec.json.decode(self.metadata, type=dict[str, str]),
            last_response_id=self.last_response_id,
        )


class ResponseDocument(Document):
    """A response without its output, which is in `ItemDocument`s: 200 items of 100 KB do not fit into one document.

    `root_id` is the oldest ancestor, the same for a whole tree of branches. `process` is the server process
    that produces it, and absent once it has ended.
    """

    id: str  # type: ignore[assignment]
    owner: str
    created_at: datetime
    root_id: str
    process: str | None = None
    input: list[dict[str, Any]]
    response: dict[str, Any]

    class Settings:
        name = "responses"
        indexes: ClassVar = [
            IndexModel(
                [("root_id", ASCENDING), ("_id", ASCENDING), ("response.previous_response_id", ASCENDING)],
                name="tree",
            ),
            IndexModel(
                [("process", ASCENDING), ("_id", ASCENDING)],
                name="unfinished",
                partialFilterExpression={"process": {"$exists": True}},
            ),
        ]

    @classmethod
    def pack(cls, response: Response, messages: list[InputMessage], *, owner: str, root_id: str) -> "ResponseDocument":
        return cls(
            id=response.id,
            owner=owner,
            created_at=time_of(response.created_at),
            root_id=root_id,
            process=this_process(),
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
    async def end(cls, response: Response, *, process: str | None = None) -> None:
        """Stores the end; with `process`, only while this process is still said to produce it."""
        place = {"_id": response.id} if process is None else {"_id": response.id, "process": process}
        await cls.find_one(place).update({"$set": {"response": _pack(response)}, "$unset": {"process": ""}})

    def unpack(self, items: "list[ItemDocument]") -> StoredResponse:
        wire = {
            **self.response,
            "metadata": msgspec.json.decode(self.response["metadata"]),
            "tools": msgspec.json.decode(self.response["tools"]),
            "output": [item.unpack() for item in items],
        }
        return StoredResponse(msgspec.convert(wire, Response), msgspec.convert(self.input, list[InputMessage]))


class ItemDocument(Document):
    """One finished item of a response's output. Its owner is its response's: nobody reaches it another way."""

    id: str  # type: ignore[assignment]
    response_id: str
    output_index: int
    item: dict[str, Any]

    class Settings:
        name = "items"
        indexes: ClassVar = [
            IndexModel([("response_id", ASCENDING), ("output_index", ASCENDING)], name="response_order")
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
        self.credentials: type[CredentialDocument] = type("Credentials", (CredentialDocument,), {})
        self.usage: type[UsageDocument] = type("Usage", (UsageDocument,), {})
        self.audit: type[AuditDocument] = type("Audit", (AuditDocument,), {})

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
