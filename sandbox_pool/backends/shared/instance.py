"""Gives each server instance a directory of its own, with a lock that shows whether the instance is alive.

state_dir/<instance>/lock          held (flock) for as long as the instance lives, even until `kill -9`
state_dir/<instance>/<sandbox id>/ whatever the sandbox has on disk

A list of the user's instances, in the user's state directory, tells of those that ran with another `state_dir`.
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
"""What is not beside us counts as left only after nothing has changed there for so long."""


class Instance:
    """This server instance's directory; `close` gives it up. `kind` tells whose the directories of sandboxes are."""

    def __init__(self, state_dir: Path, kind: str) -> None:
        self._state_dir = state_dir.absolute()
        self._kind = kind
        name = secrets.token_hex(4)
        # Renamed into place once it is locked: nobody may take it for one that a dead server left.
        staging = state_dir / f".{name}"
        staging.mkdir(mode=0o700, parents=True)
        self._lock = os.open(staging / LOCK, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.directory = staging.rename(self._state_dir / name)
        # Without a list nothing is lost but the knowledge of other state directories.
        with suppress(OSError):
            self._entry(self.directory).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._entry(self.directory).symlink_to(self.directory)

    def create(self, sandbox_id: str) -> Path:
        """A directory for this sandbox."""
        directory = self.directory / sandbox_id
        directory.mkdir(mode=0o700)
        return directory

    def leftovers(self) -> list[Path]:
        """Directories of sandboxes whose server instances no longer run; those without any are forgotten."""
        found = []
        for instance in self.dead():
            sandboxes = [entry for entry in instance.iterdir() if entry.is_dir()] if instance.is_dir() else []
            found += sandboxes
            if not sandboxes:
                self.forget(instance)
        return found

    def dead(self) -> list[Path]:
        """Directories of server instances that no longer run, each with a name of its own; some may be gone."""
        listed = self._entry(self.directory).parent.glob(f"{self._kind}-*")
        elsewhere = [entry for entry in listed if entry.is_symlink() and entry.readlink().parent != self._state_dir]
        return [*self._dead_here(), *(entry.readlink() for entry in elsewhere if _is_dead(entry))]

    def forget(self, instance: Path) -> None:
        """Removes what a dead instance left."""
        shutil.rmtree(instance, ignore_errors=True)
        self._entry(instance).unlink(missing_ok=True)

    def close(self) -> None:
        """Gives the lock up. A directory that still has sandboxes stays, as of a dead server. Idempotent."""
        if self._lock < 0:
            return
        if os.listdir(self.directory) == [LOCK]:
            self.forget(self.directory)
        os.close(self._lock)
        self._lock = -1

    def _entry(self, instance: Path) -> Path:
        """Its place in the list."""
        return user_state_path("codeact") / "instances" / f"{self._kind}-{instance.name}"

    def _dead_here(self) -> Iterator[Path]:
        for lock in self._state_dir.glob(f"[!.]*/{LOCK}"):
            if lock.parent != self.directory and _is_free(lock):
                yield lock.parent


def _is_dead(entry: Path) -> bool:
    """Whether the instance of this entry of the list has neither a process nor changed for a while."""
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
