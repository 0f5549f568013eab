"""Limits how many files are uploaded at a time, and for how long: each takes disk space for its temporary file."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from codeact.errors import InvalidRequest, RateLimited

__all__ = ["UPLOAD_TIMEOUT_S", "UploadSlots", "UploadTooSlow"]

MOST, MOST_PER_OWNER = 32, 4
UPLOAD_TIMEOUT_S = 1800.0
"""A slow client must not hold its place among the concurrent uploads for ever."""


class UploadTooSlow(InvalidRequest):
    code = "upload_timeout"
    status = 408


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

    @asynccontextmanager
    async def slot(self, owner: str) -> AsyncIterator[None]:
        """Counts one upload, which is cancelled if it takes too long.

        Raises `RateLimited` if there are too many, and `UploadTooSlow`.
        """
        with self.counted(owner):
            try:
                async with asyncio.timeout(UPLOAD_TIMEOUT_S) as limit:
                    yield
            except TimeoutError:
                if not limit.expired():
                    raise
                raise UploadTooSlow(f"The upload took longer than {UPLOAD_TIMEOUT_S:g} s.") from None
