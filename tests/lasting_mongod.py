"""Keeps the embedded mongod of a directory running for longer than one server.

Each start takes half a second of CPU time, since the mongod measures how fast the processor is.
"""

import fcntl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import anyio

from codeact.store import embedded_mongod

__all__ = ["lasting_mongod"]


@contextmanager
def lasting_mongod(data_dir: Path) -> Iterator[None]:
    """Lets the mongod that the first server of this directory starts run until exit, and then stops it.

    It counts as one more user of the directory, but starts nothing.
    """
    home = data_dir / "mongodb"
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (home / "users.lock").open("a") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        yield
    pid = home / "data" / "mongod.lock"
    if pid.exists() and pid.read_text().strip():
        with ThreadPoolExecutor(1) as threads:  # This thread may already run an event loop.
            threads.submit(anyio.run, _use, data_dir).result()


async def _use(data_dir: Path) -> None:
    """Stops the mongod by being its last user."""
    async with embedded_mongod(data_dir):
        pass
