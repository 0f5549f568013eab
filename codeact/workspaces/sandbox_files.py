"""Reads files that code wrote in a sandbox, so that they can be stored or passed on."""

from pathlib import PurePosixPath

from sandbox_pool import FileInfo, Sandbox
from sandbox_pool.errors import FileError

__all__ = ["is_hidden", "read_file"]

HIDDEN = ("__pycache__", "node_modules")


def is_hidden(path: str) -> bool:
    """Whether the file is of no interest to users: its name or a directory begins with a dot, or is in `HIDDEN`."""
    return any(part.startswith(".") or part in HIDDEN for part in PurePosixPath(path).parts)


async def read_file(sandbox: Sandbox, info: FileInfo, *, limit_bytes: int) -> bytes | None:
    """Returns the content of a listed file; None if it has more than `limit_bytes`, was deleted or cannot be read.

    Raises `SandboxError` if the sandbox fails.
    """
    if info.size_bytes > limit_bytes:
        return None
    content = bytearray()
    try:
        async with sandbox.read_file(info.path) as file:
            if file.info.size_bytes > limit_bytes:  # It has grown since it was listed.
                return None
            async for piece in file:
                content += piece
    except FileError:
        return None
    return bytes(content)
