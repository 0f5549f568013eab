"""The document of a checkpoint: the state of a conversation's kernel and files after one response."""

from datetime import datetime
from typing import Any, ClassVar

from pymongo import ASCENDING, DESCENDING, IndexModel

from codeact.store.checkpoint_record import CheckpointRecord
from codeact.store.documents.schema import CHECKPOINT, Schema
from codeact.store.documents.versioned import VersionedDocument

__all__ = ["CheckpointDocument"]


class CheckpointDocument(VersionedDocument):
    """See `CheckpointRecord`. `parts` are the SHA-256 sums of all its blobs.

    The document is inserted before its blobs, so that they always count as used, and is `complete` once all of them
    are stored; until then nobody reads it. `newest`: no later checkpoint of the conversation is complete. `epoch` is
    that of the response's lease when the checkpoint was taken: after a take-over the checkpoint does not count.
    """

    SCHEMA: ClassVar[Schema] = CHECKPOINT
    id: str  # type: ignore[assignment]
    owner: str
    conversation_id: str
    response_id: str
    container_id: str
    created_at: datetime
    manifest: bytes
    parts: list[str]
    placed: list[list[str]]
    size_bytes: int
    epoch: int = 0
    before: str | None = None
    complete: bool = False
    newest: bool = False

    class Settings:
        name = "checkpoints"
        indexes: ClassVar = [
            IndexModel([("conversation_id", ASCENDING), ("_id", DESCENDING)], name="conversation"),
            IndexModel([("response_id", ASCENDING)], name="response"),
            IndexModel([("owner", ASCENDING), ("parts", ASCENDING)], name="owner_parts"),
            IndexModel([("created_at", ASCENDING)], name="superseded", partialFilterExpression={"newest": False}),
        ]

    def record(self) -> CheckpointRecord:
        fields: dict[str, Any] = self.model_dump(exclude={"revision_id", "schema_version", "complete", "newest"})
        placed = tuple((name, sha256) for name, sha256 in self.placed)
        times = {"created_at": self.created_at.timestamp()}
        return CheckpointRecord(**fields | times | {"parts": tuple(self.parts), "placed": placed})
