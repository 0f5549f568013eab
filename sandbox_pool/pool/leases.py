"""Tracks which owner has leased which sandboxes, and queues the requests that wait for one.

The queue is fair among owners: a free sandbox goes to the oldest request of the owner who has the fewest leases.
When too many requests wait, a request of the owner with the most waiting requests is refused.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sandbox_pool.errors import AtCapacity, QuotaExceeded
from sandbox_pool.logs import Logger
from sandbox_pool.pool.stats import Measurements
from sandbox_pool.pool.wait_queue import Changes, Line
from sandbox_pool.sandbox.sandbox import Sandbox

__all__ = ["SandboxLeases"]

log = Logger(__name__)

RETRY_S = 1.0, 300.0
"""The bounds of `retry_after_s` in refusals."""


class SandboxLeases:
    """The currently leased sandboxes. `len()` is their number."""

    def __init__(
        self,
        changes: Changes,
        measured: Measurements,
        *,
        max_size: int,
        max_per_owner: int | None,
        max_waiting: int,
        concurrent_starts: int,
    ) -> None:
        self._changes = changes
        self._measured = measured
        self._max_size = max_size
        self._max_per_owner = max_per_owner
        self._max_waiting = max_waiting
        self._concurrent_starts = concurrent_starts
        self._line: Line[Sandbox] = Line(changes)
        self._leased: dict[Sandbox, tuple[str, float]] = {}
        self._per_owner: Counter[str] = Counter()
        self._others: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._leased)

    def __contains__(self, sandbox: Sandbox) -> bool:
        return sandbox in self._leased

    @property
    def sandboxes(self) -> set[Sandbox]:
        return set(self._leased)

    @property
    def waiting(self) -> int:
        return len(self._line)

    def of(self, owner: str) -> int:
        """How many sandboxes this owner has leased or waits for."""
        return self._per_owner[owner] + self._line.owners[owner] + self._others[owner]

    @contextmanager
    def coming(self, owner: str) -> Iterator[None]:
        """Counts, inside the block, one more sandbox that this owner waits for, though not in the queue."""
        self._others[owner] += 1
        try:
            yield
        finally:
            self._others -= Counter({owner: 1})

    def check_quota(self, owner: str) -> None:
        """Raises `QuotaExceeded` if this owner may not have another sandbox."""
        if self._max_per_owner is None or self.of(owner) < self._max_per_owner:
            return
        retry_after_s = _bounded(self._measured.loan_s / self._max_per_owner)
        raise QuotaExceeded(
            f"{self.of(owner)} sandboxes are in use for you already, and {self._max_per_owner} is the limit. End one "
            f"of them, or try again in {retry_after_s:.0f} s.",
            retry_after_s=retry_after_s,
        )

    def begin(self, sandbox: Sandbox, owner: str) -> None:
        self._leased[sandbox] = owner, time.monotonic()
        self._per_owner[owner] += 1
        sandbox.begin_lifetime()
        self._changes.notify()

    def end(self, sandbox: Sandbox, *, used: bool) -> None:
        owner, since = self._leased.pop(sandbox)
        self._per_owner -= Counter({owner: 1})
        if used:
            self._measured.returned(time.monotonic() - since)
        self._changes.notify()

    def offer(self, sandbox: Sandbox) -> bool:
        """Leases the sandbox to the next waiting request. Returns False if none waits."""
        if not self._line:
            return False
        self.begin(sandbox, self._line.serve(sandbox, rank=lambda owner: self._per_owner[owner]))
        return True

    async def wait(self, owner: str, timeout_s: float, *, give_back: Callable[[Sandbox], None]) -> Sandbox:
        """Waits for a sandbox and leases it. Raises `AtCapacity` if too many wait, `TimeoutError`, or `fail`'s error.

        If the call is cancelled after a sandbox was leased to it, it passes the sandbox to `give_back`.
        """
        if len(self._line) >= self._max_waiting:
            self._turn_somebody_away(owner)
        return await self._line.wait(owner, timeout_s, give_back=give_back)

    def fail(self, error: Exception) -> None:
        """Makes every waiting request raise this error."""
        self._line.fail(error)

    def at_capacity(self, reason: str) -> AtCapacity:
        """Counts a refused request and returns its error, which has an estimate of when to retry."""
        self._measured.turned_away += 1
        log.warning("at capacity", reason=reason, leased=len(self), waiting=len(self._line))
        # A request has to wait for a start or, if all sandboxes are leased, for a release: use the slower one.
        turn_s = self._measured.refill_s / self._concurrent_starts
        if len(self) >= self._max_size:
            turn_s = max(turn_s, self._measured.loan_s / self._max_size)
        retry_after_s = _bounded(self._measured.refill_s + turn_s * len(self._line))
        return AtCapacity(
            f"At capacity: {reason}. Try again in {retry_after_s:.0f} s, or raise the pool's maximum.",
            retry_after_s=retry_after_s,
        )

    def _turn_somebody_away(self, owner: str) -> None:
        waiting = self._line.owners
        longest, number = waiting.most_common(1)[0]
        error = self.at_capacity(f"{len(self._line)} requests wait for a sandbox already")
        if waiting[owner] + 1 >= number:
            raise error
        self._line.fail_last(longest, error)


def _bounded(retry_after_s: float) -> float:
    return min(max(retry_after_s, RETRY_S[0]), RETRY_S[1])
