"""The documents of the server processes that share a database."""

from datetime import datetime
from typing import ClassVar

from pymongo import ASCENDING, IndexModel

from codeact.store.documents.schema import SERVER, Schema
from codeact.store.documents.versioned import VersionedDocument

__all__ = ["ServerDocument"]

FORGOTTEN_S = 3600


class ServerDocument(VersionedDocument):
    """A server process: its id is the process's name, which is never used twice, so it is the epoch of its address too.

    `url` is where other servers reach it. It was alive at `seen_at`, by the database's clock. A document that nobody
    renews is deleted after an hour.
    """

    SCHEMA: ClassVar[Schema] = SERVER
    id: str  # type: ignore[assignment]
    url: str
    seen_at: datetime

    class Settings:
        name = "servers"
        indexes: ClassVar = [
            IndexModel([("seen_at", ASCENDING)], name="forgotten", expireAfterSeconds=FORGOTTEN_S),
        ]
