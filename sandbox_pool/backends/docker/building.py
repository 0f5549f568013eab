"""Lets one server of a machine at a time provide an image: that may take minutes, and the others need the same one."""

import fcntl
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

__all__ = ["alone"]

RETRY_S = 0.1


@asynccontextmanager
async def alone(directory: Path, image: str, progress: Callable[[str], None]) -> AsyncIterator[None]:
    """Waits, and tells that once, until no other server with this directory is in such a block for the same image.

    A server that dies is not waited for: the operating system drops its lock.
    """
    with (directory / f"image-{hashlib.sha256(image.encode()).hexdigest()[:16]}.lock").open("a") as file:
        waits = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not waits:
                    progress("Another server of this machine provides the image")
                waits = True
                await anyio.sleep(RETRY_S)
        yield
