"""Limits how many requests of one owner may be open at a time."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from codeact.errors import RateLimited

__all__ = ["OpenRequests"]

MOST_ANNOUNCED = 100
"""Of how many owners, those with the most open requests, the other servers are told."""
SMALL_SHARE = 20
"""They are not told of an owner with less than this part of the limit: each server reads this about once a second."""


class OpenRequests:
    """Counts each owner's open requests: sockets, streams, and requests that wait for an answer.

    `elsewhere` returns the number at the other servers of the database, as they announced it last, which is about a
    second ago: so many more than the limit can an owner open who asks all servers within that second.
    """

    def __init__(self, most_per_owner: int, elsewhere: Callable[[str], int] = lambda owner: 0) -> None:
        self._most = most_per_owner
        self._elsewhere = elsewhere
        self._open: Counter[str] = Counter()

    @contextmanager
    def counted(self, owner: str) -> Iterator[None]:
        """Counts one request until it ends. Raises `RateLimited` if the owner has too many open."""
        if self._open.get(owner, 0) + self._elsewhere(owner) >= self._most:
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

    def announced(self) -> Mapping[str, int]:
        """What the other servers are told: the number for each owner with many of them, of at most 100 owners."""
        least = self._most / SMALL_SHARE
        return {owner: number for owner, number in self._open.most_common(MOST_ANNOUNCED) if number >= least}
