"""What MongoDB holds of feedback and shares, as Beanie documents."""

from datetime import datetime
from typing import ClassVar, Literal

from beanie import Document
from pymongo import ASCENDING, DESCENDING, IndexModel

from codeact.store.records import Feedback, Share

__all__ = ["FeedbackDocument", "ShareDocument"]


class FeedbackDocument(Document):
    """What the owner thinks of one response, whose id it has."""

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


class ShareDocument(Document):
    """One conversation up to one response, for whoever knows the token, which is the id."""

    id: str  # type: ignore[assignment]
    owner: str
    conversation_id: str
    response_id: str
    blobs: list[str]
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
            frozenset(self.blobs),
            self.created_at.timestamp(),
        )
