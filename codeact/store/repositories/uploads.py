"""Stores files that clients upload for later requests (`/v1/files`)."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from codeact.concurrency.slices import Slices
from codeact.errors import InvalidRequest, NotFound
from codeact.ids import new_id
from codeact.store.database.operation import Operations, operation
from codeact.store.records import UploadedFile
from codeact.store.repositories.blob_parts import BlobParts
from codeact.store.repositories.stored_bytes import DOCUMENT_BYTES, StoredBytes

if TYPE_CHECKING:
    from codeact.store.documents.documents import Documents
    from codeact.store.documents.files import FileDocument

__all__ = ["UPLOADED_FILE", "Uploads"]

UPLOADED_FILE = "file-"
"""How the ids of uploaded files begin, as in the standard."""
MOST_FILES = 10_000
"""Of one owner. Files may be empty, so the limit on stored bytes does not limit their number."""

BATCH = 500


class Uploads:
    """The part of `Store` with uploaded files. The guarantees of `Store` hold here too."""

    def __init__(self, documents: "Documents", operations: Operations, blobs: BlobParts, stored: StoredBytes) -> None:
        self._documents = documents
        self._files = documents.files
        self._operations = operations
        self._blobs = blobs
        self._stored = stored

    async def add(
        self,
        filename: str,
        file: BinaryIO,
        *,
        media_type: str,
        purpose: str,
        owner: str,
        expires_after: timedelta | None = None,
    ) -> UploadedFile:
        """Stores the file's content, with a few MB in memory at a time, and then the file itself.

        Raises `InvalidRequest` if the owner has `MOST_FILES` files.
        """
        await self._check_number(owner)
        sha256, size_bytes = await self._blobs.put_file(file, media_type, owner=owner)
        document = self._document(filename, size_bytes, sha256, purpose, owner, expires_after)
        await self._insert(document)
        return document.upload()

    async def copy(self, file_id: str, *, of: str, owner: str) -> UploadedFile:
        """Copies a file of the owner `of` for `owner`. The copy does not expire.

        Raises `NotFound`, and `InvalidRequest` if the owner has `MOST_FILES` files.
        """
        await self._check_number(owner)
        source = await self.get(file_id, owner=of)
        await self._blobs.copy(source.sha256, of=of, owner=owner)
        document = self._document(source.filename, source.size_bytes, source.sha256, source.purpose, owner)
        await self._insert(document)
        return document.upload()

    @operation
    async def get(self, file_id: str, *, owner: str) -> UploadedFile:
        """Finds an uploaded file. Raises `NotFound`, also if the file has expired."""
        return (await self._find(file_id, owner)).upload()

    @operation
    async def some(self, file_ids: Collection[str], *, owner: str) -> dict[str, UploadedFile]:
        """Those of these files that exist, by their ids."""
        place = {"_id": {"$in": list(file_ids)}, "owner": owner, "purpose": {"$type": "string"}}
        found = await self._files.find(place).to_list()
        return {document.id: document.upload() for document in found if not document.has_expired}

    @operation
    async def page(
        self, *, owner: str, after: str | None, limit: int, order: Literal["asc", "desc"], purpose: str | None = None
    ) -> list[UploadedFile]:
        """One page of the owner's files, newest first unless `order` is `asc`, beginning behind the file `after`."""
        place: dict[str, Any] = {"owner": owner, "purpose": purpose or {"$type": "string"}}
        place["expires_at"] = {"$not": {"$lte": datetime.now(UTC)}}
        if after is not None:
            place["_id"] = {"$lt" if order == "desc" else "$gt": after}
        found = self._files.get_pymongo_collection().find(place).sort("_id", -1 if order == "desc" else 1)
        files, slices = [], Slices()
        async for document in found.limit(limit).batch_size(BATCH):
            files.append(self._files.model_validate(document).upload())
            await slices.pause()
        return files

    @operation
    async def delete(self, file_id: str, *, owner: str) -> None:
        """Deletes the file. Its content is purged later, unless a conversation uses it. Raises `NotFound`."""
        await self._documents.remove_upload(await self._find(file_id, owner))

    @operation
    async def _check_number(self, owner: str) -> None:
        place = {"owner": owner, "purpose": {"$type": "string"}}
        count = await self._files.get_pymongo_collection().count_documents(place, limit=MOST_FILES)
        if count >= MOST_FILES:
            raise InvalidRequest(
                f"You have {count:,} uploaded files, the most that are kept; delete some (DELETE /v1/files/…).",
                code="too_many_files",
            )

    def _document(
        self,
        filename: str,
        size_bytes: int,
        sha256: str,
        purpose: str,
        owner: str,
        expires_after: timedelta | None = None,
    ) -> "FileDocument":
        now = datetime.now(UTC)
        return self._files(
            id=new_id("file").replace("file_", UPLOADED_FILE, 1),
            owner=owner,
            container_id="",
            conversation_id="",
            path=filename,
            size_bytes=size_bytes,
            modified_at=now.timestamp(),
            created_at=now,
            source="user",
            sha256=sha256,
            purpose=purpose,
            expires_at=now + expires_after if expires_after is not None else None,
        )

    @operation
    async def _insert(self, document: "FileDocument") -> None:
        await self._documents.insert(document)
        await self._stored.add_within(document.owner, DOCUMENT_BYTES)

    async def _find(self, file_id: str, owner: str) -> "FileDocument":
        document = await self._files.find_one({"_id": file_id, "owner": owner, "purpose": {"$type": "string"}})
        if document is None or document.has_expired:
            raise NotFound(f"There is no file '{file_id}'.", param="file_id")
        return document
