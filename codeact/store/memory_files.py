"""Files and blobs of a `MemoryStore`. Large contents are in temporary files, which disappear with the process."""

import os
import tempfile
import time
from collections.abc import Mapping
from typing import Any, Literal
from weakref import finalize

import anyio

from codeact.errors import NotFound
from codeact.ids import new_id
from codeact.store.missing import no_blob
from codeact.store.records import Blob, Container, ContainerFile

__all__ = ["MemoryBlobs", "MemoryFiles"]

SMALL_BYTES = 1_000_000


class MemoryBlobs:
    """Blobs by their SHA-256. One of more than 1 MB is in an unnamed temporary file."""

    def __init__(self) -> None:
        self._small: dict[str, Blob] = {}
        self._large: dict[str, tuple[int, str]] = {}

    async def put(self, sha256: str, blob: Blob) -> None:
        if sha256 in self._small or sha256 in self._large:
            return
        if len(blob.data) <= SMALL_BYTES:
            self._small[sha256] = blob
            return
        descriptor = await anyio.to_thread.run_sync(_written, blob.data)
        finalize(self, os.close, descriptor)
        self._large[sha256] = descriptor, blob.media_type

    async def get(self, sha256: str) -> Blob:
        """The blob with this SHA-256. Raises `NotFound`."""
        if sha256 in self._small:
            return self._small[sha256]
        if sha256 not in self._large:
            raise no_blob(sha256)
        descriptor, media_type = self._large[sha256]
        return Blob(await anyio.to_thread.run_sync(_content, descriptor), media_type)


class MemoryFiles:
    """The files of sandboxes; the methods are described at `codeact.store.repositories.files`."""

    def __init__(self) -> None:
        self._containers: dict[str, Container] = {}
        self._files: dict[str, ContainerFile] = {}
        self._current: dict[tuple[str, str], str] = {}

    async def touch(
        self,
        container_id: str,
        *,
        owner: str,
        conversation_id: str,
        name: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Container:
        now = time.time()
        new = Container(
            container_id, owner, conversation_id, name or "Conversation", now, now, options=dict(options or {})
        )
        return self._containers.setdefault(container_id, new)

    async def held(self, conversation_id: str, *, owner: str) -> list[Container]:
        return []

    async def files(self, container_id: str, *, owner: str) -> list[ContainerFile]:
        return [self._files[file_id] for (of, _), file_id in self._current.items() if of == container_id]

    async def file(self, file_id: str, *, container_id: str | None = None, owner: str) -> ContainerFile:
        if file_id not in self._files:
            raise NotFound(f"There is no file '{file_id}'.", param="file_id")
        return self._files[file_id]

    async def add(
        self,
        container: Container,
        path: str,
        *,
        size_bytes: int,
        modified_at: float,
        source: Literal["user", "assistant"],
        sha256: str | None,
    ) -> ContainerFile:
        created_at = time.time()
        file = ContainerFile(new_id("cfile"), container.id, path, size_bytes, modified_at, created_at, source, sha256)
        self._files[file.id] = file
        self._current[container.id, path] = file.id
        return file

    async def delete(self, container_id: str, *, owner: str) -> None:
        self._containers.pop(container_id, None)
        self._current = {place: found for place, found in self._current.items() if place[0] != container_id}

    async def drop(self, file_id: str, *, container_id: str) -> None:
        self._current = {place: found for place, found in self._current.items() if found != file_id}


def _written(data: bytes) -> int:
    """Writes the data to an unnamed temporary file; returns its descriptor."""
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        return os.dup(file.fileno())


def _content(descriptor: int) -> bytes:
    """Reads the whole file. Several threads may read at the same time."""
    pieces: list[bytes] = []
    while piece := os.pread(descriptor, 1 << 24, sum(map(len, pieces))):
        pieces.append(piece)
    return b"".join(pieces)
