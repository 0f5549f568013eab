"""The documents of answers that clients send back as history, and of requests that clients may repeat."""

from datetime import datetime
from typing import ClassVar

from pymongo import ASCENDING, IndexModel

from codeact.store.documents.schema import ANSWER, REPEATABLE, Schema
from codeact.store.documents.versioned import VersionedDocument

__all__ = ["AnswerDocument", "RepeatableDocument"]


class AnswerDocument(VersionedDocument):
    """An answer that a client may send back by its words alone. The id is a hash of owner, history and words.

    `value` is what it stands for: the id of a response or of an item; None if several conversations have these words.
    """

    SCHEMA: ClassVar[Schema] = ANSWER
    id: str  # type: ignore[assignment]
    owner: str
    conversation_id: str
    value: str | None
    expires_at: datetime

    class Settings:
        name = "answers"
        indexes: ClassVar = [
            IndexModel([("expires_at", ASCENDING)], name="expiry", expireAfterSeconds=0),
            IndexModel([("conversation_id", ASCENDING)], name="conversation"),
        ]


class RepeatableDocument(VersionedDocument):
    """A request with an `Idempotency-Key`. The id is a hash of owner, path and key; `process` has answered it, or does.

    `response_id` is the id for the response that it begins. `is_done`: it was answered; `content` is a short answer.
    """

    SCHEMA: ClassVar[Schema] = REPEATABLE
    id: str  # type: ignore[assignment]
    owner: str
    process: str
    body_hash: str
    response_id: str | None = None
    is_done: bool = False
    status: int = 200
    content: bytes | None = None
    media_type: str | None = None
    begun_at: datetime
    expires_at: datetime

    class Settings:
        name = "repeatable"
        indexes: ClassVar = [
            IndexModel([("expires_at", ASCENDING)], name="expiry", expireAfterSeconds=0),
            IndexModel([("owner", ASCENDING), ("begun_at", ASCENDING)], name="owner_oldest_first"),
        ]
