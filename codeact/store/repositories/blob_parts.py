"""Reads blobs in parts: their size, and any range of their bytes."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codeact.errors import NotFound
from codeact.store.database.operation import Operations, operation
from codeact.store.missing import no_blob
from codeact.store.records import Blob

if TYPE_CHECKING:
    from codeact.store.documents.documents import Documents
    from codeact.store.documents.files import BlobDocument

__all__ = ["BlobParts", "StoredBlob"]


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """A blob of which only the first part, `head`, has been read. All parts except the last have its length."""

    owner: str
    sha256: str
    size_bytes: int
    head: Blob


class BlobParts:
    """The part of `Store` that reads large blobs. The guarantees of `Store` hold here too."""

    def __init__(self, documents: "Documents", operations: Operations) -> None:
        self._blobs = documents.blobs
        self._operations = operations

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
