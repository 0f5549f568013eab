"""Which server processes live: a state directory enters; our own directory, and those of dead ones, leave.

Every process that makes sandboxes holds a lock inside a directory of its own. The operating system drops
the lock when the process ends, however it ends (flock(2)), so no process is ever mistaken for a dead one
because its pid was used again.
"""

import fcntl
import os
import secrets
import shutil
from pathlib import Path

__all__ = ["Instance"]


class Instance:
    """`directory` is `state_dir/<id>`, mode 0700, this process's own until `close`."""

    def __init__(self, state_dir: Path) -> None:
        self.id = secrets.token_hex(4)
        self.directory = state_dir / self.id
        # Locked under a hidden name first: nobody may find a directory whose lock is not held yet.
        hidden = state_dir / f".{self.id}"
        hidden.mkdir(mode=0o700, parents=True)
        self._lock = os.open(hidden / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        hidden.rename(self.directory)

    def dead(self) -> list[Path]:
        """Directories of processes that ended without `close`; remove one when nothing of it is left."""
        return [lock.parent for lock in self.directory.parent.glob("[!.]*/lock") if not _is_held(lock)]

    def close(self) -> None:
        """Drops the lock; a directory that still has sandboxes stays, as of a dead process. Idempotent."""
        if self._lock < 0:
            return
        if os.listdir(self.directory) == ["lock"]:
            shutil.rmtree(self.directory)
        os.close(self._lock)
        self._lock = -1


def _is_held(lock: Path) -> bool:
    try:
        descriptor = os.open(lock, os.O_RDWR)
    except FileNotFoundError:  # Removed just now: by its owner, or by another process that found it dead.
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
