"""Locks files with flock(2). The operating system drops such a lock when the process that holds it dies."""

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
    """Returns when the lock is acquired. Polls, because a blocking flock(2) in a thread cannot be cancelled."""
    while True:
        try:
            return fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            await anyio.sleep(RETRY_S)
