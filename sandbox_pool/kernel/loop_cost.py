"""Bounds how much CPU time of the shared event loop one sandbox may take, and slows down a sandbox that takes more.

Callers pass the time: `now` is any monotonic time in seconds.
"""

__all__ = ["LoopBudget"]

SHARE = 0.2
"""The share of one processor that a sandbox may take in the long run. A kernel that sends more has to wait."""
BURST_S = 0.5
FORGIVEN = 0.01
"""The share of a processor at which the budget for unwanted messages refills."""
FORGED = 5.0
"""How many times more than over-long output forged messages cost: an unmodified kernel sends none."""


class LoopBudget:
    """The budget of one sandbox. `waste_s` is how much CPU time unwanted messages may take before it is ended."""

    def __init__(self, waste_s: float, now: float) -> None:
        self._left_s = BURST_S
        self._waste_s = waste_s
        self._most_waste_s = waste_s
        self._paid_at = self._wasted_at = now

    def pay(self, seconds: float, now: float) -> float:
        """Charges CPU time in seconds. Returns for how many seconds the caller must not read from this sandbox."""
        self._left_s = min(BURST_S, self._left_s + (now - self._paid_at) * SHARE) - seconds
        self._paid_at = now
        return max(0.0, -self._left_s / SHARE)

    def waste(self, seconds: float, now: float, *, forged: bool) -> bool:
        """Charges CPU time spent on unwanted messages. Returns whether the budget for them is exhausted.

        `forged` is for messages that were malformed, wrongly signed or unsolicited; otherwise, it was output over its
        limit.
        """

        self._waste_s = min(self._most_waste_s, self._waste_s + (now - self._wasted_at) * FORGIVEN)
        self._waste_s -= seconds * (FORGED if forged else 1.0)
        self._wasted_at = now
        return self._waste_s < 0
