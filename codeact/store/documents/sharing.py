"""The documents of feedback and shares."""

from datetime import datetime
from typing import ClassVar, Literal

from pymongo import ASCENDING, DESCENDING, IndexModel

from codeact.store.documents.schema import FEEDBACK, SHARE, Schema
from codeact.store.documents.versioned import VersionedDocument
from codeact.store.records import Feedback, Share

__all__ = ["FeedbackDocument", "ShareDocument"]


class FeedbackDocument(VersionedDocument):
    """The owner's rating of one response, whose id it has."""

    SCHEMA: ClassVar[Schema] = FEEDBACK
    id: str  # type: ignore[assignment]
    owner: str
    conversation_id: str
    rating: Literal["up", "down"]
    comment: str | None
    created_at: datetime

    class Settings:
        name = "feedback"
        indexes: ClassVar = [
            IndexModel([("conversation_id", ASCENDING)], name="conversation"),
            IndexModel([("owner", ASCENDING), ("created_at", DESCENDING), ("_id", DESCENDING)], name="owner_latest"),
            IndexModel([("created_at", DESCENDING), ("_id", DESCENDING)], name="all_latest"),
        ]

    def record(self) -> Feedback:
        return Feedback(
            self.id, self.owner, self.conversation_id, self.rating, self.comment, self.created_at.timestamp()
        )


class ShareDocument(VersionedDocument):
    """One conversation up to one response, for everyone who knows the token, which is the id.

    `images` are those that the link shows. None if an older version made the share: `blobs` then contains files too.
    """

    SCHEMA: ClassVar[Schema] = SHARE
    id: str  # type: ignore[assignment]
    owner: str
    conversation_id: str
    response_id: str
    blobs: list[str]
    images: list[str] | None = None
    created_at: datetime

    class Settings:
        name = "shares"
        indexes: ClassVar = [IndexModel([("conversation_id", ASCENDING)], name="conversation", unique=True)]

    def record(self) -> Share:
        return Share(
            self.id,
            self.owner,
            self.conversation_id,
            self.response_id,
            frozenset(self.images) if self.images is not None else None,
            self.created_at.timestamp(),
        )
