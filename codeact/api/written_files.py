"""Reads the files that code has written from its sandbox."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from sandbox_pool import FileInfo, Sandbox
from sandbox_pool.errors import FileError

__all__ = ["OutputFile", "written_files"]

MOST_BYTES = 50_000_000
"""Of one file, and half of what all files may have."""
CLOCK_S = 0.05
"""So much later than the clock of files the clock of a program may be."""
HIDDEN = ("__pycache__", "node_modules")


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A file that code wrote, at `path` in its working directory.

    `data` is its content; None where it has more than 50 MB, or all of them more than 100 MB.
    """

    path: str
    size_bytes: int
    data: bytes | None = field(repr=False)

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rpartition("/")[2]


async def written_files(sandbox: Sandbox, *, since: float, given: Mapping[str, str]) -> list[OutputFile]:
    """The files that were written after `since` (Unix time), by their paths.

    Hidden files are left out, and those that still have the content that the user gave: `given` has the SHA-256 of each
    such file by its name. Raises `SandboxError`.
    """
    listing = await sandbox.list_files()
    files: list[OutputFile] = []
    room = 2 * MOST_BYTES
    for info in listing.files:
        if info.modified_at < since - CLOCK_S or _is_hidden(info.path):
            continue
        data = await _content(sandbox, info) if info.size_bytes <= min(MOST_BYTES, room) else None
        if data is not None and info.path in given and hashlib.sha256(data).hexdigest() == given[info.path]:
            continue
        room -= len(data or b"")
        files.append(OutputFile(info.path, info.size_bytes, data))
    return files


async def _content(sandbox: Sandbox, info: FileInfo) -> bytes | None:
    """None where the file is gone or has grown meanwhile."""
    content = bytearray()
    try:
        async with sandbox.read_file(info.path) as file:
            if file.info.size_bytes > MOST_BYTES:
                return None
            async for piece in file:
                content += piece
    except FileError:
        return None
    return bytes(content)


def _is_hidden(path: str) -> bool:
    return any(part.startswith(".") or part in HIDDEN for part in PurePosixPath(path).parts)
