"""Reads local files, and converts them into parts of a message."""

from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import Any

from anyio import to_thread

from codeact.errors import InvalidRequest
from codeact.file_names import normal
from codeact.store.run_store import RunStore

__all__ = ["Paths", "file_parts", "read_file"]

Paths = Iterable[str | PathLike[str]]


async def file_parts(paths: Paths, *, limit_mb: int, store: RunStore, owner: str) -> list[dict[str, Any]]:
    """Stores the files as blobs; returns parts of a message that refer to them by name, without directories.

    Raises `InvalidRequest` for a path that is no readable file, for a file of more than `limit_mb`, and for two files
    with the same name.
    """
    contents: dict[str, bytes] = {}
    for path in map(Path, paths):
        data = await read_file(path, limit_mb=limit_mb)
        try:
            name = normal(path.name)
        except ValueError as error:
            raise InvalidRequest(f"The file '{path}' cannot be given: {error}.", param="files") from None
        if name in contents:
            raise InvalidRequest(f"Two files are called {name!r}; rename one of them.", param="files")
        contents[name] = data
    return [
        {
            "type": "input_file",
            "filename": name,
            "file_id": await store.put_blob(data, "application/octet-stream", owner=owner),
        }
        for name, data in contents.items()
    ]


async def read_file(path: Path, *, limit_mb: int) -> bytes:
    """Returns the content of a regular file. Raises `InvalidRequest` if it is not readable or exceeds `limit_mb`."""
    return await to_thread.run_sync(_read, path, limit_mb)


def _read(path: Path, limit_mb: int) -> bytes:
    limit_bytes = limit_mb * 1024 * 1024
    try:
        if not path.is_file():
            raise InvalidRequest(f"There is no file '{path}'.", param="files")
        with path.open("rb") as file:
            data = file.read(limit_bytes + 1)
    except OSError as error:
        raise InvalidRequest(f"The file '{path}' cannot be read: {error.strerror or error}.", param="files") from None
    if len(data) > limit_bytes:
        raise InvalidRequest(f"The file '{path}' is larger than {limit_mb} MB (CODEACT_FILE_MB).", param="files")
    return data
