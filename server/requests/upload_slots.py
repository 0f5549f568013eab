"""Limits how many files are uploaded at a time: each takes disk space for its temporary file."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from codeact.errors import RateLimited

__all__ = ["UploadSlots"]

MOST, MOST_PER_OWNER = 32, 4


class UploadSlots:
    """Counts the uploads in progress in this process."""

    def __init__(self, *, most: int = MOST, most_per_owner: int = MOST_PER_OWNER) -> None:
        self._most = most
        self._most_per_owner = most_per_owner
        self._running: Counter[str] = Counter()

    @contextmanager
    def counted(self, owner: str) -> Iterator[None]:
        """Counts one upload until it ends. Raises `RateLimited` if there are too many."""
        if self._running[owner] >= self._most_per_owner or self._running.total() >= self._most:
            raise RateLimited(
                f"{self._running.total()} files are being uploaded, and no more may be at once"
                f" ({self._most_per_owner} of one owner, {self._most} in all). Try again when one has ended.",
                code="too_many_uploads",
                retry_after_s=1,
            )
        self._running[owner] += 1
        try:
            yield
        finally:
            self._running -= Counter({owner: 1})
