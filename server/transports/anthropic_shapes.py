"""Files and models in the shapes of Anthropic's API, for requests of its clients: they send `anthropic-version`."""

import mimetypes
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

import msgspec
from starlette.requests import Request

from codeact.store import UploadedFile

__all__ = ["Deleted", "FileMetadata", "ModelInfo", "Page", "metadata_of", "model_info", "speaks_anthropic"]

UNKNOWN_TYPE = "application/octet-stream"


def speaks_anthropic(request: Request) -> bool:
    """Whether a client of Anthropic's API asks."""
    return "anthropic-version" in request.headers


class FileMetadata(msgspec.Struct):
    """Times are RFC 3339."""

    id: str
    created_at: datetime
    filename: str
    mime_type: str
    size_bytes: int
    expires_at: datetime | None
    downloadable: bool = True
    type: Literal["file"] = "file"


class ModelInfo(msgspec.Struct):
    """Of a model this server knows its name alone; the time is the epoch, which stands for an unknown one."""

    id: str
    display_name: str
    created_at: datetime = datetime.fromtimestamp(0, UTC)
    lifecycle: Literal["active"] = "active"
    type: Literal["model"] = "model"


class Page(msgspec.Struct):
    """`next_page` is the query parameter `page` of the next request; None on the last page."""

    data: Sequence[FileMetadata | ModelInfo]
    has_more: bool = False
    first_id: str | None = None
    last_id: str | None = None
    next_page: str | None = None

    def __post_init__(self) -> None:
        if self.data:
            self.first_id, self.last_id = self.data[0].id, self.data[-1].id
            self.next_page = self.last_id if self.has_more else None


class Deleted(msgspec.Struct):
    id: str
    type: Literal["file_deleted"] = "file_deleted"


def metadata_of(file: UploadedFile) -> FileMetadata:
    """The type is that of the file's name, since what an upload said of itself is not stored."""
    expires_at = None if file.expires_at is None else datetime.fromtimestamp(file.expires_at, UTC)
    created_at = datetime.fromtimestamp(file.created_at, UTC)
    mime_type = mimetypes.guess_type(file.filename)[0] or UNKNOWN_TYPE
    return FileMetadata(file.id, created_at, file.filename, mime_type, file.size_bytes, expires_at)


def model_info(name: str) -> ModelInfo:
    return ModelInfo(name, name)
