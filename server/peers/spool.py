"""A request's body in a temporary file, with its SHA-256: so it can be signed or checked before anyone reads it."""

import hashlib
import tempfile
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from contextlib import contextmanager

import anyio

from codeact.errors import InvalidRequest

__all__ = ["BodyTooLarge", "Spool"]

PIECE_BYTES = 262_144
IN_MEMORY_BYTES = 1_000_000


class BodyTooLarge(InvalidRequest):
    code = "message_too_large"
    status = 413


class Spool:
    """A body that was read completely. Up to 1 MB stay in memory."""

    def __init__(self, file: "tempfile.SpooledTemporaryFile[bytes]") -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    @classmethod
    @contextmanager
    def open(cls) -> Iterator["Spool"]:
        with tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES) as file:
            yield cls(file)

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    async def put(self, data: bytes) -> None:
        """Appends to the body."""
        self.size_bytes += len(data)
        await anyio.to_thread.run_sync(self._add, data)

    async def fill(self, pieces: AsyncIterable[bytes], *, most_bytes: int) -> None:
        """Reads the body. Raises `BodyTooLarge` (413) without reading all of it."""
        async for piece in pieces:
            if self.size_bytes + len(piece) > most_bytes:
                raise BodyTooLarge(f"The body has more than {most_bytes} bytes.")
            await self.put(piece)

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body, from its beginning."""
        await anyio.to_thread.run_sync(self._file.seek, 0)
        while piece := await anyio.to_thread.run_sync(self._file.read, PIECE_BYTES):
            yield piece

    def _add(self, piece: bytes) -> None:
        self._hash.update(piece)
        self._file.write(piece)
