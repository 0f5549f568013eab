"""Refuses new work while less disk is free than the configured floor."""

import shutil
import time
from pathlib import Path

from codeact.errors import CodeActError

__all__ = ["DiskFloor", "DiskFull"]

LOOK_AGAIN_S = 1.0
MB = 1024 * 1024


class DiskFull(CodeActError):
    """The server keeps a floor of free disk, for the database and for what runs already."""

    code = "disk_full"
    status = 507
    retryable = True


class DiskFloor:
    """The disk that holds the server's data directory, and so the embedded database. 0: no floor."""

    def __init__(self, path: Path, *, floor_mb: int) -> None:
        self._path = path
        self._floor_mb = floor_mb
        self._looked_at = -LOOK_AGAIN_S
        self._free_mb = 0

    @property
    def is_low(self) -> bool:
        """Whether less than the floor is free, as it was within the last second."""
        now = time.monotonic()
        if now - self._looked_at >= LOOK_AGAIN_S:
            self._looked_at = now
            try:
                self._free_mb = shutil.disk_usage(self._path).free // MB
            except OSError:  # the directory is not there yet, or no more: its own errors tell that
                self._free_mb = self._floor_mb
        return self._free_mb < self._floor_mb

    def check(self) -> None:
        """Raises `DiskFull`: nothing new is taken until there is room again."""
        if self.is_low:
            raise DiskFull(
                f"The server's disk is almost full: {self._free_mb} MB are free, and {self._floor_mb} MB are kept free"
                " (CODEACT_MIN_FREE_DISK_MB). Nothing new is taken until its operator has made room."
            )
