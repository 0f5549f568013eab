"""Lets one server of a machine at a time provide an image: that may take minutes, and the others need the same one."""

import fcntl
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

__all__ = ["alone"]

RETRY_S = 0.1


@asynccontextmanager
async def alone(directory: Path, progress: Callable[[str], None]) -> AsyncIterator[None]:
    """Waits, and tells that once, until no other server with this directory is in such a block.

    A server that dies is not waited for: the operating system drops its lock, which is one of the directory itself, so
    that no file is left.
    """
    held = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        waits = False
        while True:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not waits:
                    progress("Another server of this machine provides the image")
                waits = True
                await anyio.sleep(RETRY_S)
        yield
    finally:
        os.close(held)
