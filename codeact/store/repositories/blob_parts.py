"""Reads and writes blobs in parts, so that a large one is never in memory as a whole."""

import hashlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import anyio

from codeact.errors import NotFound
from codeact.store.database.operation import Operations, operation
from codeact.store.missing import no_blob
from codeact.store.records import Blob
from codeact.store.repositories.stored_bytes import StoredBytes

if TYPE_CHECKING:
    from codeact.store.documents.documents import Documents
    from codeact.store.documents.files import BlobDocument

__all__ = ["BLOB_PART_BYTES", "BlobParts", "StoredBlob"]

BLOB_PART_BYTES = 2_000_000
"""Far below a document's 16 MB: encoding a part blocks the event loop for about 2 ms per MB."""


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """A blob of which only the first part, `head`, has been read. All parts except the last have its length."""

    owner: str
    sha256: str
    size_bytes: int
    head: Blob


class BlobParts:
    """The part of `Store` that handles large blobs. The guarantees of `Store` hold here too."""

    def __init__(self, documents: "Documents", operations: Operations, stored: StoredBytes) -> None:
        self._documents = documents
        self._blobs = documents.blobs
        self._operations = operations
        self._stored = stored

    async def put_file(self, file: BinaryIO, media_type: str, *, owner: str) -> tuple[str, int]:
        """Stores a file's content with one part in memory; returns its SHA-256 in hex and its size in bytes.

        Reads the file twice, in a thread.
        """
        sha256, size_bytes = await anyio.to_thread.run_sync(_measured, file)
        parts = max(1, -(-size_bytes // BLOB_PART_BYTES))
        for part in range(parts):
            data = await anyio.to_thread.run_sync(_part_of, file, part)
            await self._put_part(owner, sha256, part, parts, media_type, data)
        return sha256, size_bytes

    async def copy(self, sha256: str, *, of: str, owner: str) -> None:
        """Stores the blob of the owner `of` for `owner` too, with one part in memory. Raises `NotFound`."""
        part, parts = 0, 1
        while part < parts:
            found = await self._read_part(sha256, part, of)
            await self._put_part(owner, sha256, part, found.parts, found.media_type, found.data)
            part, parts = part + 1, found.parts

    @operation
    async def _read_part(self, sha256: str, part: int, owner: str) -> "BlobDocument":
        return await self._part(sha256, part, owner)

    @operation
    async def _put_part(self, owner: str, sha256: str, part: int, parts: int, media_type: str, data: bytes) -> None:
        await self.put_part_within(owner, sha256, part, parts, media_type, data)

    async def put_part_within(
        self, owner: str, sha256: str, part: int, parts: int, media_type: str, data: bytes
    ) -> None:
        """Stores one part, and counts its bytes if it is new. For callers that are inside an operation already."""
        document = self._blobs(owner=owner, sha256=sha256, part=part, parts=parts, media_type=media_type, data=data)
        place = {"owner": owner, "sha256": sha256, "part": part}
        while not await self._documents.insert(document):
            again = await self._blobs.get_pymongo_collection().update_one(place, {"$unset": {"unused_at": ""}})
            if again.matched_count:
                return  # Otherwise it was purged between the two calls: insert it again.
        await self._stored.add_within(owner, len(data))

    @operation
    async def open(self, sha256: str, *, owner: str) -> StoredBlob:
        """Reads the blob's first part and its size. Raises `NotFound`, also while the blob is still being stored."""
        first = await self._part(sha256, 0, owner)
        last = first if first.parts == 1 else await self._part(sha256, first.parts - 1, owner)
        size_bytes = len(first.data) * (first.parts - 1) + len(last.data)
        return StoredBlob(owner, sha256, size_bytes, Blob(first.data, first.media_type))

    async def read(self, blob: StoredBlob, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """Yields the bytes from `start` to `stop`, with one part in memory.

        Raises `NotFound` if the blob is removed meanwhile.
        """
        part_bytes = len(blob.head.data)
        while start < stop:
            part, at = divmod(start, part_bytes)
            data = blob.head.data if part == 0 else await self._data(blob, part)
            piece = data[at : at + stop - start]
            if not piece:
                raise NotFound(f"The blob '{blob.sha256}' is shorter than it should be.", param="sha256")
            yield piece
            start += len(piece)

    @operation
    async def _data(self, blob: StoredBlob, part: int) -> bytes:
        return (await self._part(blob.sha256, part, blob.owner)).data

    async def _part(self, sha256: str, part: int, owner: str) -> "BlobDocument":
        found = await self._blobs.find_one({"owner": owner, "sha256": sha256, "part": part})
        if found is None:
            raise no_blob(sha256)
        return found


def _measured(file: BinaryIO) -> tuple[str, int]:
    """Returns the SHA-256 of the content, and its size in bytes."""
    file.seek(0)
    digest, size_bytes = hashlib.sha256(), 0
    while piece := file.read(BLOB_PART_BYTES):
        digest.update(piece)
        size_bytes += len(piece)
    return digest.hexdigest(), size_bytes


def _part_of(file: BinaryIO, part: int) -> bytes:
    file.seek(part * BLOB_PART_BYTES)
    return file.read(BLOB_PART_BYTES)
