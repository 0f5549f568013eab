"""What MongoDB holds of conversations: what happens in one enters, what it is listed and searched by stays."""

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, ClassVar, Self

import msgspec
from beanie import Document
from pydantic import Field
from pymongo import ASCENDING, DESCENDING, IndexModel

from codeact.events import Input, InputMessage, Response
from codeact.store.facets import VERSION, Facets, begun, ended, labels_of, more_words, title_of
from codeact.store.records import Conversation, StoredResponse
from codeact.store.values import as_json, time_of

__all__ = ["ConversationDocument"]

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
            metadata=as_json(metadata),
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
