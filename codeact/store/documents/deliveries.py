"""The documents of webhooks that have not been delivered yet."""

from datetime import datetime
from typing import ClassVar

from pymongo import ASCENDING, IndexModel

from codeact.store.documents.schema import DELIVERY, Schema
from codeact.store.documents.versioned import VersionedDocument
from codeact.store.records import Delivery

__all__ = ["DeliveryDocument"]


class DeliveryDocument(VersionedDocument):
    """One event for one endpoint. The next attempt may begin at `due_at`, by any server.

    `endpoint` is the key of the endpoint, which the servers' settings know. `attempts` counts the attempts that began.
    """

    SCHEMA: ClassVar[Schema] = DELIVERY
    id: str  # type: ignore[assignment]
    endpoint: str
    event: str
    response_id: str
    owner: str
    ended_at: datetime
    due_at: datetime
    attempts: int = 0

    class Settings:
        name = "deliveries"
        indexes: ClassVar = [
            IndexModel([("due_at", ASCENDING)], name="due"),
            IndexModel([("endpoint", ASCENDING)], name="endpoint"),
        ]

    def record(self) -> Delivery:
        return Delivery(self.id, self.endpoint, self.event, self.response_id, self.owner, self.ended_at, self.attempts)
