"""The document of something that waits for approval or for a client's value, or waited."""

from datetime import datetime
from typing import Any, ClassVar

from pymongo import ASCENDING, DESCENDING, IndexModel

from codeact.store.documents.schema import APPROVAL, Schema
from codeact.store.documents.versioned import VersionedDocument
from codeact.store.records import ApprovalRecord
from codeact.store.values import time_of

__all__ = ["ApprovalDocument"]


LATEST = (("created_at", DESCENDING), ("_id", DESCENDING))


class ApprovalDocument(VersionedDocument):
    """See `ApprovalRecord`. Only what is `waiting` can be decided or answered, so that one of two decisions wins."""

    SCHEMA: ClassVar[Schema] = APPROVAL
    id: str  # type: ignore[assignment]
    owner: str
    conversation_id: str
    response_id: str
    kind: str
    name: str
    preview: str
    reasons: list[str]
    created_at: datetime
    expires_at: datetime
    status: str = "waiting"
    edited: bool = False
    reason: str | None = None
    decided_at: datetime | None = None
    decided_by: str | None = None
    decision_id: str | None = None
    call_id: str | None = None

    class Settings:
        name = "approvals"
        indexes: ClassVar = [
            IndexModel([("owner", ASCENDING), ("status", ASCENDING), *LATEST], name="owner_status_latest"),
            IndexModel([("owner", ASCENDING), *LATEST], name="owner_latest"),
            IndexModel([("conversation_id", ASCENDING)], name="conversation"),
            IndexModel([("decision_id", ASCENDING)], name="decision"),
        ]

    @classmethod
    def pack(cls, record: ApprovalRecord) -> "ApprovalDocument":
        return cls(
            id=record.id,
            owner=record.owner,
            conversation_id=record.conversation_id,
            response_id=record.response_id,
            kind=record.kind,
            name=record.name,
            preview=record.preview,
            reasons=list(record.reasons),
            created_at=time_of(record.created_at),
            expires_at=time_of(record.expires_at),
            call_id=record.call_id,
        )

    def record(self) -> ApprovalRecord:
        fields: dict[str, Any] = self.model_dump(exclude={"revision_id", "schema_version"})
        for name in ("created_at", "expires_at", "decided_at"):
            fields[name] = fields[name].timestamp() if fields[name] is not None else None
        return ApprovalRecord(**fields | {"reasons": tuple(self.reasons)})
