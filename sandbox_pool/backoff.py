"""Pauses between attempts that fail: each is twice as long as the one before, up to a limit."""

import random

import anyio

__all__ = ["Backoff"]


class Backoff:
    """Computes the pauses of one retry loop. Each loop needs its own.

    `jitter` is the fraction by which a pause may be shortened at random, so that tasks that failed together do not
    retry together: with 0.2, a pause of 10 s lasts 8 to 10 s.
    """

    def __init__(self, first_s: float, longest_s: float, *, jitter: float = 0.0) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._jitter = jitter
        self._failures = 0

    @property
    def longest_s(self) -> float:
        """The length of the next pause in seconds, before jitter shortens it."""
        return min(self._first_s * 2.0 ** min(self._failures, 64), self._longest_s)

    def next_s(self) -> float:
        """Returns the length of the next pause in seconds, and doubles the one after it."""
        pause_s = self.longest_s * random.uniform(1.0 - self._jitter, 1.0)  # noqa: S311 (jitter, no secret)
        self._failures += 1
        return pause_s

    async def pause(self) -> None:
        """Sleeps for the next pause."""
        await anyio.sleep(self.next_s())

    def reset(self) -> None:
        """Makes the next pause the shortest again. Call it after an attempt that succeeded."""
        self._failures = 0
