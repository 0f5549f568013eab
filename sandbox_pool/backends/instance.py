"""A directory enters, one of its own for this server instance leaves, with a lock that tells it is alive.

state_dir/<instance>/lock          held (flock) for as long as the instance lives, even until `kill -9`
state_dir/<instance>/<sandbox id>/ whatever the sandbox has on disk
"""

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

__all__ = ["Instance"]

LOCK = "lock"


class Instance:
    """This server instance's directory; `close` gives it up."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        name = secrets.token_hex(4)
        # Renamed into place once it is locked: nobody may take it for one that a dead server left.
        staging = state_dir / f".{name}"
        staging.mkdir(mode=0o700, parents=True)
        self._lock = os.open(staging / LOCK, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.directory = staging.rename(state_dir / name)

    def create(self, sandbox_id: str) -> Path:
        """A directory for this sandbox."""
        directory = self.directory / sandbox_id
        directory.mkdir(mode=0o700)
        return directory

    def leftovers(self) -> list[Path]:
        """Directories of sandboxes whose server instances no longer run; those without any are removed."""
        found = []
        for instance in self._dead():
            sandboxes = [entry for entry in instance.iterdir() if entry.is_dir()]
            found += sandboxes
            if not sandboxes:
                shutil.rmtree(instance, ignore_errors=True)
        return found

    def close(self) -> None:
        """Gives the lock up. A directory that still has sandboxes stays, as of a dead server. Idempotent."""
        if self._lock < 0:
            return
        if os.listdir(self.directory) == [LOCK]:
            shutil.rmtree(self.directory)
        os.close(self._lock)
        self._lock = -1

    def _dead(self) -> Iterator[Path]:
        for lock in self._state_dir.glob(f"[!.]*/{LOCK}"):
            if lock.parent == self.directory:
                continue
            try:
                descriptor = os.open(lock, os.O_RDWR)
            except OSError:
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield lock.parent
            except BlockingIOError:
                pass
            finally:
                os.close(descriptor)
