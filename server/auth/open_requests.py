"""Limits how many requests of one owner may be open at a time."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from codeact.errors import RateLimited

__all__ = ["OpenRequests"]


class OpenRequests:
    """Counts each owner's open requests in this process: sockets, streams, and requests that wait for an answer."""

    def __init__(self, most_per_owner: int) -> None:
        self._most = most_per_owner
        self._open: Counter[str] = Counter()

    @contextmanager
    def counted(self, owner: str) -> Iterator[None]:
        """Counts one request until it ends. Raises `RateLimited` if the owner has too many open."""
        if self._open.get(owner, 0) >= self._most:
            raise RateLimited(
                f"{self._most} requests and sockets are open, and no more may be at once"
                " (CODEACT_OPEN_REQUESTS_PER_OWNER). Close some; one socket answers many responses.",
                code="too_many_open_requests",
                retry_after_s=1,
            )
        self._open[owner] += 1
        try:
            yield
        finally:
            self._open[owner] -= 1
            if not self._open[owner]:
                del self._open[owner]
