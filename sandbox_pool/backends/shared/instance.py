"""Gives each server instance its own directory, with a lock that shows whether the instance is alive.

state_dir/<instance>/lock          locked (flock) while the instance's process runs; the system unlocks it at its end
state_dir/<instance>/<sandbox id>/ the files of a sandbox

A list of the user's instances, in the user's state directory, also finds instances that ran with another `state_dir`.
"""

import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from platformdirs import user_state_path

__all__ = ["Instance"]

LOCK = "lock"
STILL_S = 600.0
"""An instance of another `state_dir` counts as dead only if its directory has not changed for this long."""


class Instance:
    """The directory of this server instance. `kind` is the name of the backend that its sandboxes belong to."""

    def __init__(self, state_dir: Path, kind: str) -> None:
        self._state_dir = state_dir.absolute()
        self._kind = kind
        name = secrets.token_hex(4)
        # Rename it into place only once it is locked, so that no other server takes it for a dead one's.
        staging = state_dir / f".{name}"
        staging.mkdir(mode=0o700, parents=True)
        self._lock = os.open(staging / LOCK, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.directory = staging.rename(self._state_dir / name)
        # The list only serves to find instances with other state directories, so failing to write it is no error.
        with suppress(OSError):
            self._entry(self.directory).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._entry(self.directory).symlink_to(self.directory)

    def create(self, sandbox_id: str) -> Path:
        """Creates a directory for this sandbox."""
        directory = self.directory / sandbox_id
        directory.mkdir(mode=0o700)
        return directory

    def leftovers(self) -> list[Path]:
        """Returns the sandbox directories of dead instances. Removes dead instances that have none."""
        found = []
        for instance in self.dead():
            sandboxes = [entry for entry in instance.iterdir() if entry.is_dir()] if instance.is_dir() else []
            found += sandboxes
            if not sandboxes:
                self.forget(instance)
        return found

    def dead(self) -> list[Path]:
        """Returns the directories of dead instances. Some may no longer exist. Their names are unique."""
        listed = self._entry(self.directory).parent.glob(f"{self._kind}-*")
        elsewhere = [entry for entry in listed if entry.is_symlink() and entry.readlink().parent != self._state_dir]
        return [*self._dead_here(), *(entry.readlink() for entry in elsewhere if _is_dead(entry))]

    def forget(self, instance: Path) -> None:
        """Removes a dead instance's directory and its entry in the list."""
        shutil.rmtree(instance, ignore_errors=True)
        self._entry(instance).unlink(missing_ok=True)

    def close(self) -> None:
        """Unlocks the directory, and removes it unless it still has sandboxes. Idempotent."""
        if self._lock < 0:
            return
        if os.listdir(self.directory) == [LOCK]:
            self.forget(self.directory)
        os.close(self._lock)
        self._lock = -1

    def _entry(self, instance: Path) -> Path:
        """The path of an instance's entry in the list."""
        return user_state_path("codeact") / "instances" / f"{self._kind}-{instance.name}"

    def _dead_here(self) -> Iterator[Path]:
        for lock in self._state_dir.glob(f"[!.]*/{LOCK}"):
            if lock.parent != self.directory and _is_free(lock):
                yield lock.parent


def _is_dead(entry: Path) -> bool:
    """Whether no process locks the instance of this list entry and its directory has not changed for a while."""
    instance = entry.readlink()
    try:
        changed_at = instance.stat().st_mtime
    except OSError:
        return entry.lstat().st_mtime < time.time() - STILL_S
    return changed_at < time.time() - STILL_S and _is_free(instance / LOCK)


def _is_free(lock: Path) -> bool:
    try:
        descriptor = os.open(lock, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
