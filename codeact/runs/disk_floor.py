"""Refuses new work while less disk space is free than configured."""

import shutil
import time
from pathlib import Path

from codeact.errors import CodeActError

__all__ = ["DiskFloor", "DiskFull"]

CHECK_INTERVAL_S = 1.0
MB = 1024 * 1024


class DiskFull(CodeActError):
    """Raised if too little disk space is free: the rest is for the database and for what already runs."""

    code = "disk_full"
    status = 507
    retryable = True


class DiskFloor:
    """Checks the disk with the server's data directory, and thus the embedded database. `floor_mb` 0 means no limit."""

    def __init__(self, path: Path, *, floor_mb: int) -> None:
        self._path = path
        self._floor_mb = floor_mb
        self._checked_at = -CHECK_INTERVAL_S
        self._free_mb = 0

    @property
    def is_low(self) -> bool:
        """Whether less than `floor_mb` is free; the disk is checked at most once a second."""
        now = time.monotonic()
        if now - self._checked_at >= CHECK_INTERVAL_S:
            self._checked_at = now
            try:
                self._free_mb = shutil.disk_usage(self._path).free // MB
            except OSError:  # The directory does not exist; those who use it report that.
                self._free_mb = self._floor_mb
        return self._free_mb < self._floor_mb

    def check(self) -> None:
        """Raises `DiskFull` if less than `floor_mb` is free."""
        if self.is_low:
            raise DiskFull(
                f"The server's disk is almost full: {self._free_mb} MB are free, and {self._floor_mb} MB are kept free"
                " (CODEACT_MIN_FREE_DISK_MB). Nothing new is taken until its operator has made room."
            )
