"""Locks of files by flock(2), which the operating system drops when the process that holds one dies."""

import fcntl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

import anyio

__all__ = ["lock", "locked"]

RETRY_S = 0.02


@asynccontextmanager
async def locked(path: Path, kind: int) -> AsyncIterator[None]:
    with path.open("a") as file:
        await lock(file, kind)
        yield


async def lock(file: IO[str], kind: int) -> None:
    """Returns with the lock held. It waits by trying, since flock(2) in a thread could not be cancelled."""
    while True:
        try:
            return fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            await anyio.sleep(RETRY_S)
