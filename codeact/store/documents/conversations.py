"""The documents of conversations, with the fields by which conversations are listed and searched."""

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, ClassVar, Self

import msgspec
from pydantic import Field, PrivateAttr
from pymongo import ASCENDING, DESCENDING, IndexModel

from codeact.events import Input, InputMessage, Response
from codeact.store.documents import stand_ins
from codeact.store.documents.reading import read_input
from codeact.store.documents.schema import CONVERSATION, Schema
from codeact.store.documents.versioned import VersionedDocument
from codeact.store.records import Conversation, StoredResponse
from codeact.store.search.search_fields import VERSION, SearchFields, begun, ended, labels_of, more_words, title_of
from codeact.store.values import as_json, time_of

__all__ = ["ConversationDocument"]

LATEST = [("updated_at", DESCENDING), ("_id", DESCENDING)]
"""The order of every list, and the end of every index that serves a list."""

RANGES = {"tokens": "facets.tokens", "cost": "facets.cost_usd", "duration": "facets.duration_s"}

HISTORY = {
    "latest": [("deleted", ASCENDING), *LATEST, *((path, ASCENDING) for path in RANGES.values())],
    "labels": [("labels", ASCENDING), *LATEST],
    "words": [("words", ASCENDING), *LATEST],
    **{name: [("deleted", ASCENDING), (path, ASCENDING), *LATEST] for name, path in RANGES.items()},
}
"""The keys of the history's indexes. Each index exists twice: with the owner in front and without."""


class ConversationDocument(VersionedDocument):
    """A conversation, with the fields by which the history searches and filters it (docs/history.md).

    `begun_id` is the response that began last; if an earlier one ends after that, it changes nothing. `labels` and
    `words` are emptied on deletion, so that their indexes need no `deleted` field. `revision` counts the changes
    (`change` uses it to detect concurrent ones), and `version` is the version of the rules that computed `facets`.
    `container` has the options of its sandboxes (`ContainerOptions.shown`), for the next one.
    """

    SCHEMA: ClassVar[Schema] = CONVERSATION
    id: str  # type: ignore[assignment]  # ours, not an ObjectId
    owner: str
    created_at: datetime
    updated_at: datetime
    metadata: str
    last_response_id: str | None = None
    begun_id: str | None = None
    pending: list[dict[str, Any]] = Field(default_factory=list)
    deleted: bool = False
    deleted_at: datetime | None = None
    title: str | None = None
    pinned: bool = False
    tags: list[str] = Field(default_factory=list)
    folder: str | None = None
    settings: dict[str, str] = Field(default_factory=dict)
    ratings: list[str] = Field(default_factory=list)
    facets: SearchFields = Field(default_factory=SearchFields)
    labels: list[str] = Field(default_factory=list)
    words: list[str] = Field(default_factory=list)
    revision: int = 0
    version: int = 0
    container: dict[str, Any] = Field(default_factory=dict)
    _stored: dict[str, Any] | None = PrivateAttr(default=None)

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
            IndexModel(
                [("owner", ASCENDING), ("deleted_at", DESCENDING), ("_id", DESCENDING)],
                name="owner_deleted",
                partialFilterExpression={"deleted": {"$eq": True}},
            ),
            IndexModel([("owner", ASCENDING), ("facets.blobs", ASCENDING)], name="owner_blobs"),
        ]

    @classmethod
    def pack(
        cls,
        conversation_id: str,
        *,
        owner: str,
        created_at: float,
        metadata: Mapping[str, str],
        container: Mapping[str, Any] | None = None,
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
            container=dict(container or {}),
        )

    @classmethod
    async def change(
        cls, place: Mapping[str, Any], change: Callable[[Self], object], *, known: Mapping[str, Any] | None = None
    ) -> Self | None:
        """Applies `change` to the conversation at `place` and stores the fields that differ; retries if others changed
        it.

        Returns None if there is no such conversation. `change` may be called several times, even after it was stored.
        `known` is the document as it was read a moment ago, which saves a query; it is read again if others have
        changed it. Raises `StoredByNewerVersion`.
        """
        collection = cls.get_pymongo_collection()
        while (stored := known or await collection.find_one(place)) is not None:
            known = None
            if (document := await cls.change_known(stored, change)) is not None:
                return document
        return None

    @classmethod
    async def change_known(cls, known: Mapping[str, Any], change: Callable[[Self], object]) -> Self | None:
        """Applies `change` to the conversation as it was read, and stores the fields that differ.

        Returns None, with nothing stored, if others have changed it since. Raises `StoredByNewerVersion`.
        """
        cls.SCHEMA.check(known)
        document: Self = cls.model_validate(known)
        change(document)
        document.label()
        wanted = document.model_dump(exclude={"id", "revision"})
        # A field that an older server did not write is missing in `known`.
        values = {name: value for name, value in wanted.items() if name not in known or value != known[name]}
        same = {"_id": document.id, "revision": known.get("revision")}
        done = await cls.get_pymongo_collection().update_one(same, {"$set": values, "$inc": {"revision": 1}})
        if not done.matched_count:
            return None
        document._stored = {**known, **values, "revision": (known.get("revision") or 0) + 1}
        return document

    @property
    def stored(self) -> dict[str, Any]:
        """The fields of the document as a change has just stored them."""
        assert self._stored is not None
        return self._stored

    @staticmethod
    def is_idle(stored: Mapping[str, Any]) -> bool:
        """Whether its latest question has been answered and nothing waits for the next one."""
        begun_id = stored.get("begun_id")
        return begun_id is not None and begun_id == stored.get("last_response_id") and not stored.get("pending")

    @classmethod
    def stand_in(cls, stored: Mapping[str, Any]) -> dict[str, Any]:
        return stand_ins.of_conversation(stored)

    def begin(self, response: Response, input_items: list[Input], container: Mapping[str, Any] | None = None) -> None:
        """Adds what is known of a response when it begins. `container`: the options of the conversation's sandboxes."""
        messages = [item for item in input_items if isinstance(item, InputMessage)]
        self.title = self.title or title_of(messages)
        self.begun_id = response.id
        self.container = self.container if container is None else dict(container)
        taken = {item.id for item in input_items}
        self.pending = [item for item in self.pending if item["id"] not in taken]
        self.words = begun(self.facets, self.words, response, messages)

    def take_back(self, response_id: str, before: Mapping[str, Any]) -> None:
        """Undoes `begin` of a response that could not be stored, unless another one has begun since.

        `before` is what was stored until then. Search words of the question stay if others have changed them since.
        """
        if self.begun_id == response_id:
            earlier = type(self).model_validate(before)
            self.begun_id, self.facets.status = earlier.begun_id, earlier.facets.status
            self.container = earlier.container
            if self.revision == earlier.revision + 1:
                self.facets, self.words, self.title = earlier.facets, earlier.words, earlier.title

    def end(self, response: Response) -> None:
        """Adds what is known of a response when it has ended, once, and makes it the last one."""
        if self.last_response_id != response.id:
            self.last_response_id = response.id
            self.words = ended(self.facets, self.words, response)
        self.facets.status = response.status
        self.updated_at = time_of(time.time())

    def waiting(self) -> list[Input]:
        """The items that were added outside of a response and wait for the next one."""
        return read_input(self.pending)

    def rename(self, title: str) -> None:
        self.title = title
        self.words = more_words(self.words, [title])

    def mark_deleted(self) -> None:
        """Marks it deleted; the first call sets the time."""
        self.deleted_at = self.deleted_at or time_of(time.time())
        self.deleted = True

    def mark_restored(self) -> None:
        """Undoes `mark_deleted`, except for `words`, which only `rebuild` can compute."""
        self.deleted, self.deleted_at = False, None

    def rebuild(self, stored: list[StoredResponse]) -> None:
        """Computes the search fields anew from all of its responses."""
        begun_id = self.begun_id
        self.facets, self.version = SearchFields(), VERSION
        self.words = more_words([], [self.title or ""])
        for one in stored:
            self.begin(one.response, one.input)
            if one.response.status not in ("queued", "in_progress"):
                self.words = ended(self.facets, self.words, one.response)
        self.begun_id = begun_id

    def label(self) -> None:
        """Computes `labels` from the other fields; empties the search fields of a deleted conversation."""
        self.labels = labels_of(self.facets, pinned=self.pinned, tags=self.tags, ratings=self.ratings)
        if self.deleted:
            self.labels, self.words = [], []

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
            folder=self.folder,
            settings=dict(self.settings),
            container=dict(self.container),
            ratings=tuple(self.ratings),
            facets=self.facets,
            deleted_at=self.deleted_at.timestamp() if self.deleted_at is not None else None,
        )
