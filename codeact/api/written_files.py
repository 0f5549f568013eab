"""Reads the files that code has written in its sandbox."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from codeact.workspaces.sandbox_files import is_hidden, read_file
from sandbox_pool import Sandbox

__all__ = ["OutputFile", "written_files"]

MOST_BYTES = 50_000_000
"""The limit for one file; all files together may have twice as much."""
CLOCK_S = 0.05
"""Files' times may be this much earlier than the clock of the program says."""


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A file that code wrote; `path` is relative to the working directory.

    `data` is its content, or None if the file has more than 50 MB, or all files more than 100 MB.
    """

    path: str
    size_bytes: int
    data: bytes | None = field(repr=False)

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rpartition("/")[2]


async def written_files(sandbox: Sandbox, *, since: float, given: Mapping[str, str]) -> list[OutputFile]:
    """Returns the files that were written after `since` (Unix time), ordered by path.

    It leaves out hidden files, and files of the user that have not changed: `given` maps their names to the SHA-256 of
    their content. Raises `SandboxError`.
    """
    listing = await sandbox.list_files()
    files: list[OutputFile] = []
    room = 2 * MOST_BYTES
    for info in listing.files:
        if info.modified_at < since - CLOCK_S or is_hidden(info.path):
            continue
        data = await read_file(sandbox, info, limit_bytes=min(MOST_BYTES, room))
        if data is not None and info.path in given and hashlib.sha256(data).hexdigest() == given[info.path]:
            continue
        room -= len(data or b"")
        files.append(OutputFile(info.path, info.size_bytes, data))
    return files
