"""The documents of the server processes that share a database, and of what they share out among each other."""

from datetime import datetime
from typing import Any, ClassVar

from pydantic import Field
from pymongo import ASCENDING, IndexModel

from codeact.store.documents.schema import SERVER, SLOTS, Schema
from codeact.store.documents.versioned import VersionedDocument

__all__ = ["ServerDocument", "SlotsDocument"]

FORGOTTEN_S = 3600


class ServerDocument(VersionedDocument):
    """A server process: its id is the process's name, which is never used twice, so it is the epoch of its address too.

    `url` is where other servers reach it. `open_requests` has a pair of owner and number for each owner with many open
    requests there, at most 100. It was alive at `seen_at`, by the database's clock. A document that nobody renews is
    deleted after an hour.
    """

    SCHEMA: ClassVar[Schema] = SERVER
    id: str  # type: ignore[assignment]
    url: str
    open_requests: list[tuple[str, int]] = Field(default_factory=list)
    seen_at: datetime

    class Settings:
        name = "servers"
        indexes: ClassVar = [
            IndexModel([("seen_at", ASCENDING)], name="forgotten", expireAfterSeconds=FORGOTTEN_S),
        ]


class SlotsDocument(VersionedDocument):
    """The answers of an account that are under way: the id is the account's name. Each has an id and its server."""

    SCHEMA: ClassVar[Schema] = SLOTS
    id: str  # type: ignore[assignment]
    taken: list[dict[str, Any]] = Field(default_factory=list)

    class Settings:
        name = "slots"
