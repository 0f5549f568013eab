"""Files that are uploaded in parts (`/v1/uploads`), so that a broken connection costs one part only.

An upload and its parts are `FileDocument`s that expire after an hour; the parts name the upload in `container_id`. The
last step copies the parts into an uploaded file (`/v1/files`).
"""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import anyio

from codeact.errors import InvalidRequest, NotFound, RateLimited
from codeact.ids import new_id
from codeact.store.database.operation import Operations, operation
from codeact.store.records import PendingUpload, UploadedFile
from codeact.store.repositories.blob_parts import BLOB_PART_BYTES, BlobParts
from codeact.store.repositories.uploads import Uploads

if TYPE_CHECKING:
    from codeact.store.documents.documents import Documents
    from codeact.store.documents.files import FileDocument

__all__ = ["MOST_PARTS", "UploadParts"]

LASTS = timedelta(hours=1)
MOST_PARTS, MOST_UPLOADS = 1_000, 20
"""Of one upload; of one owner at a time."""
PART_TYPE = "application/octet-stream"
UPLOAD, PART = "upload", "part"
UNFINISHED = ["pending", "completing"]
CLAIM_LASTS = timedelta(minutes=10)
"""How long a call of `complete` may take before another one may begin in its place."""


class UploadParts:
    """The part of `Store` with uploads in parts. The guarantees of `Store` hold here too."""

    def __init__(self, documents: "Documents", operations: Operations, blobs: BlobParts, uploads: Uploads) -> None:
        self._documents = documents
        self._files = documents.files
        self._operations = operations
        self._blobs = blobs
        self._uploads = uploads

    @operation
    async def create(
        self, filename: str, size_bytes: int, *, media_type: str, purpose: str, owner: str, expires_after_s: int | None
    ) -> PendingUpload:
        """Begins an upload of `size_bytes`. Raises `RateLimited` if the owner has too many unfinished ones."""
        place = {
            "owner": owner,
            "source": UPLOAD,
            "pending.status": {"$in": UNFINISHED},
            "expires_at": {"$gt": datetime.now(UTC)},
        }
        if await self._files.get_pymongo_collection().count_documents(place, limit=MOST_UPLOADS) >= MOST_UPLOADS:
            raise RateLimited(
                f"{MOST_UPLOADS} uploads are unfinished. Complete or cancel one of them; each ends after an hour.",
                code="too_many_uploads",
                retry_after_s=60,
            )
        pending = {
            "status": "pending",
            "purpose": purpose,
            "media_type": media_type,
            "expires_after_s": expires_after_s,
            "file_id": None,
        }
        document = self._document(new_id("upload"), owner, "", filename, size_bytes, source=UPLOAD, pending=pending)
        await self._documents.insert(document)
        return document.pending_upload()

    async def add(self, upload_id: str, file: BinaryIO, *, owner: str) -> str:
        """Stores a part and returns its id. Raises `NotFound`, and `InvalidRequest` for more bytes than announced."""
        upload = await self._open(upload_id, owner)
        size_bytes = await anyio.to_thread.run_sync(_size_of, file)
        await self._check_room(upload, size_bytes)
        sha256, _ = await self._blobs.put_file(file, PART_TYPE, owner=owner)
        part = self._document(new_id("part"), owner, upload_id, "", size_bytes, source=PART, sha256=sha256)
        await self._insert(part)
        return part.id

    async def complete(self, upload_id: str, part_ids: Sequence[str], *, owner: str, md5: str | None) -> UploadedFile:
        """Makes the file of these parts, in this order; may be repeated.

        Raises `InvalidRequest` if a part is missing, if the size or the checksum is not the announced one, or if the
        upload is cancelled, and `RateLimited` while another call makes the file.
        """
        upload = await self._find(upload_id, owner)
        claimed_at = datetime.now(UTC)
        if not await self._claim(upload, claimed_at):
            return await self._made_by_another(upload_id, owner)
        claimed = {"pending.status": "completing", "pending.claimed_at": claimed_at}
        try:
            file = await self._make(upload, await self._parts(upload, part_ids), md5)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._change(upload, claimed, {"pending.status": "pending"})
            raise
        if not await self._change(upload, claimed, {"pending.status": "completed", "pending.file_id": file.id}):
            await self._uploads.delete(file.id, owner=owner)
            return await self._made_by_another(upload_id, owner)
        await self._forget_parts(upload)
        return file

    async def cancel(self, upload_id: str, *, owner: str) -> PendingUpload:
        """Ends the upload and forgets its parts. Raises `NotFound`, and `InvalidRequest` if it is completed.

        A call of `complete` that is under way then makes no file.
        """
        upload = await self._find(upload_id, owner)
        unfinished = {"pending.status": {"$in": UNFINISHED}}
        if not await self._change(upload, unfinished, {"pending.status": "cancelled"}):
            await self._open(upload_id, owner)
        await self._forget_parts(upload)
        return await self.get(upload_id, owner=owner)

    @operation
    async def get(self, upload_id: str, *, owner: str) -> PendingUpload:
        """Finds an upload. Raises `NotFound`, also an hour after it began."""
        return (await self._find_within(upload_id, owner)).pending_upload()

    async def _make(self, upload: "FileDocument", parts: Sequence["FileDocument"], md5: str | None) -> UploadedFile:
        pending, owner = upload.pending or {}, upload.owner
        with SpooledTemporaryFile(BLOB_PART_BYTES) as spooled:
            whole, checksum = cast(BinaryIO, spooled), hashlib.md5(usedforsecurity=False)
            for part in parts:
                blob = await self._blobs.open(part.sha256 or "", owner=owner)
                async for piece in self._blobs.read(blob, 0, blob.size_bytes):
                    checksum.update(piece)
                    await anyio.to_thread.run_sync(whole.write, piece)
            if md5 is not None and md5.lower() != checksum.hexdigest():
                raise InvalidRequest("The parts do not have this MD5 checksum.", param="md5")
            seconds = pending["expires_after_s"]
            return await self._uploads.add(
                upload.path,
                whole,
                media_type=pending["media_type"],
                purpose=pending["purpose"],
                owner=owner,
                expires_after=timedelta(seconds=seconds) if seconds is not None else None,
            )

    async def _claim(self, upload: "FileDocument", now: datetime) -> bool:
        """Makes the upload `completing`; returns False if it has ended or another call is completing it.

        After `CLAIM_LASTS` another call may do so, since the server of the first one may have died.
        """
        place = {
            "$or": [
                {"pending.status": "pending"},
                {"pending.status": "completing", "pending.claimed_at": {"$lt": now - CLAIM_LASTS}},
            ]
        }
        return await self._change(upload, place, {"pending.status": "completing", "pending.claimed_at": now})

    async def _made_by_another(self, upload_id: str, owner: str) -> UploadedFile:
        """Returns the file that another call made of the upload. Raises `InvalidRequest` and `RateLimited`."""
        pending = (await self._find(upload_id, owner)).pending or {}
        if pending["status"] == "completed":
            return await self._uploads.get(pending["file_id"], owner=owner)
        if pending["status"] == "cancelled":
            raise InvalidRequest("The upload is cancelled.", param="upload_id")
        raise RateLimited(
            "Another request is completing this upload; repeat yours in a moment.",
            code="upload_completing",
            retry_after_s=1,
        )

    @operation
    async def _change(self, upload: "FileDocument", place: dict[str, Any], change: dict[str, Any]) -> bool:
        """Changes the upload if it is as `place` says. Returns whether it was."""
        collection = self._files.get_pymongo_collection()
        return (await collection.update_one({"_id": upload.id, **place}, {"$set": change})).matched_count == 1

    @operation
    async def _forget_parts(self, upload: "FileDocument") -> None:
        for part in await self._files.find({"container_id": upload.id, "owner": upload.owner}).to_list():
            await self._documents.remove_upload(part)

    async def _open(self, upload_id: str, owner: str) -> "FileDocument":
        upload = await self._find(upload_id, owner)
        if (status := (upload.pending or {})["status"]) != "pending":
            raise InvalidRequest(f"The upload is {status}.", param="upload_id")
        return upload

    @operation
    async def _find(self, upload_id: str, owner: str) -> "FileDocument":
        return await self._find_within(upload_id, owner)

    async def _find_within(self, upload_id: str, owner: str) -> "FileDocument":
        document = await self._files.find_one({"_id": upload_id, "owner": owner, "source": UPLOAD})
        if document is None or document.has_expired:
            raise NotFound(f"There is no upload '{upload_id}'.", param="upload_id")
        return document

    @operation
    async def _check_room(self, upload: "FileDocument", size_bytes: int) -> None:
        parts = await self._files.find({"container_id": upload.id, "owner": upload.owner}).to_list()
        if len(parts) >= MOST_PARTS:
            raise InvalidRequest(f"An upload takes at most {MOST_PARTS} parts.", param="data")
        if sum(part.size_bytes for part in parts) + size_bytes > 2 * upload.size_bytes:
            # A part whose answer was lost is sent again, so there may be more bytes than the file has, but not any.
            raise InvalidRequest(f"The parts are far over the announced {upload.size_bytes:,} bytes.", param="data")

    @operation
    async def _parts(self, upload: "FileDocument", part_ids: Sequence[str]) -> list["FileDocument"]:
        place = {"container_id": upload.id, "owner": upload.owner, "_id": {"$in": list(part_ids)}}
        known = {part.id: part for part in await self._files.find(place).to_list()}
        if missing := next((part_id for part_id in part_ids if part_id not in known), None):
            raise InvalidRequest(f"The upload has no part '{missing}'.", param="part_ids")
        size_bytes = sum(known[part_id].size_bytes for part_id in part_ids)
        if size_bytes != upload.size_bytes:
            raise InvalidRequest(
                f"The parts have {size_bytes:,} bytes; {upload.size_bytes:,} were announced.", param="part_ids"
            )
        return [known[part_id] for part_id in part_ids]

    @operation
    async def _insert(self, document: "FileDocument") -> None:
        await self._documents.insert(document)

    def _document(
        self, id_: str, owner: str, upload_id: str, filename: str, size_bytes: int, **fields: Any
    ) -> "FileDocument":
        now = datetime.now(UTC)
        return self._files(
            id=id_,
            owner=owner,
            container_id=upload_id,
            conversation_id="",
            path=filename,
            size_bytes=size_bytes,
            modified_at=now.timestamp(),
            created_at=now,
            expires_at=now + LASTS,
            **{"sha256": None} | fields,
        )


def _size_of(file: BinaryIO) -> int:
    return file.seek(0, 2)
