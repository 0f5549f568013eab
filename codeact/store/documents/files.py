"""The documents of containers, their files, and the blobs that hold file contents."""

from datetime import UTC, datetime
from typing import Any, ClassVar

from pydantic import Field
from pymongo import ASCENDING, DESCENDING, IndexModel

from codeact.store.documents.schema import BLOB, CONTAINER, FILE, Schema
from codeact.store.documents.versioned import VersionedDocument
from codeact.store.records import Container, ContainerFile, PendingUpload, UploadedFile

__all__ = ["BlobDocument", "ContainerDocument", "FileDocument"]


class ContainerDocument(VersionedDocument):
    """A sandbox that a conversation has or had.

    `process` names the server that holds it, as of `held_at`. That time is from the database's clock, the only one that
    all servers share.
    """

    SCHEMA: ClassVar[Schema] = CONTAINER
    id: str  # type: ignore[assignment]  # the sandbox's
    owner: str
    conversation_id: str
    name: str
    created_at: datetime
    last_active_at: datetime
    process: str | None = None
    held_at: datetime | None = None
    options: dict[str, Any] = Field(default_factory=dict)

    class Settings:
        name = "containers"
        indexes: ClassVar = [
            IndexModel(
                [("owner", ASCENDING), ("created_at", DESCENDING), ("_id", DESCENDING)], name="owner_latest_first"
            ),
            IndexModel([("conversation_id", ASCENDING)], name="conversation"),
            IndexModel([("process", ASCENDING)], name="held", partialFilterExpression={"process": {"$exists": True}}),
        ]

    def record(self, *, held_by: str | None, is_held_here: bool = False) -> Container:
        return Container(
            id=self.id,
            owner=self.owner,
            conversation_id=self.conversation_id,
            name=self.name,
            created_at=self.created_at.timestamp(),
            last_active_at=self.last_active_at.timestamp(),
            held_by=held_by,
            is_held_here=is_held_here,
            options=self.options,
        )


class FileDocument(VersionedDocument):
    """One version of a file. `current` becomes False when the file is changed or removed; the content is retained.

    An uploaded file that belongs to no container (`/v1/files`) has an empty `container_id` and `conversation_id`, a
    `purpose`, and perhaps a time `expires_at` from which it no longer exists. `pending` has what is known of an
    upload in parts (`upload_parts.py`).
    """

    SCHEMA: ClassVar[Schema] = FILE
    id: str  # type: ignore[assignment]
    owner: str
    container_id: str
    conversation_id: str
    path: str
    size_bytes: int
    modified_at: float
    created_at: datetime
    source: str
    sha256: str | None
    current: bool = True
    purpose: str | None = None
    pending: dict[str, Any] | None = None
    expires_at: datetime | None = None

    class Settings:
        name = "files"
        indexes: ClassVar = [
            IndexModel([("container_id", ASCENDING), ("current", ASCENDING), ("_id", ASCENDING)], name="container"),
            IndexModel([("conversation_id", ASCENDING)], name="conversation"),
            IndexModel([("owner", ASCENDING), ("sha256", ASCENDING)], name="owner_sha256"),
            IndexModel(
                [("owner", ASCENDING), ("_id", ASCENDING)],
                name="uploads",
                partialFilterExpression={"purpose": {"$type": "string"}},
            ),
            IndexModel(
                [("expires_at", ASCENDING)], name="expiry", partialFilterExpression={"expires_at": {"$type": "date"}}
            ),
        ]

    def record(self) -> ContainerFile:
        return ContainerFile(
            id=self.id,
            container_id=self.container_id,
            path=self.path,
            size_bytes=self.size_bytes,
            modified_at=self.modified_at,
            created_at=self.created_at.timestamp(),
            source="user" if self.source == "user" else "assistant",
            sha256=self.sha256,
        )

    @property
    def has_expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= datetime.now(UTC)

    def pending_upload(self) -> PendingUpload:
        pending = self.pending or {}
        return PendingUpload(
            id=self.id,
            filename=self.path,
            size_bytes=self.size_bytes,
            purpose=pending.get("purpose", ""),
            status=pending.get("status", ""),
            created_at=self.created_at.timestamp(),
            expires_at=self.expires_at.timestamp() if self.expires_at is not None else 0.0,
        )

    def upload(self) -> UploadedFile:
        return UploadedFile(
            id=self.id,
            filename=self.path,
            size_bytes=self.size_bytes,
            purpose=self.purpose or "",
            created_at=self.created_at.timestamp(),
            expires_at=self.expires_at.timestamp() if self.expires_at is not None else None,
            sha256=self.sha256 or "",
        )


class BlobDocument(VersionedDocument):
    """One part of a blob: a large blob has several, since a document holds less than 16 MB.

    `unused_at` is the time when the blob was found unused; putting the blob again removes the field.
    """

    SCHEMA: ClassVar[Schema] = BLOB
    owner: str
    sha256: str
    part: int
    parts: int
    media_type: str
    data: bytes
    unused_at: datetime | None = None

    class Settings:
        name = "blobs"
        indexes: ClassVar = [
            IndexModel(
                [("owner", ASCENDING), ("sha256", ASCENDING), ("part", ASCENDING)],
                name="owner_sha256_part",
                unique=True,
            ),
            IndexModel(
                [("unused_at", ASCENDING)], name="unused", partialFilterExpression={"unused_at": {"$type": "date"}}
            ),
        ]
