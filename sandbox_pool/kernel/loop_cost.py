"""Bounds how much time of the shared event loop one sandbox may take, and slows down a sandbox that takes more.

No I/O, no clock: `now` is any monotonic time in seconds.
"""

__all__ = ["LoopBudget"]

SHARE = 0.2
"""Of one processor, in the long run. What comes faster waits in the kernel, which is slowed down by that."""
BURST_S = 0.5
FORGIVEN = 0.01
"""Of the time that passes: so much of it may be wasted for ever."""
FORGED = 5.0
"""So much more than others do messages count that no kernel sends by itself."""


class LoopBudget:
    """The budget of one sandbox. `waste_s` is how much unwanted messages may cost before the sandbox is ended."""

    def __init__(self, waste_s: float, now: float) -> None:
        self._left_s = BURST_S
        self._waste_s = waste_s
        self._most_waste_s = waste_s
        self._paid_at = self._wasted_at = now

    def pay(self, seconds: float, now: float) -> float:
        """Takes note of so much of the loop's time; returns how long nothing more of this sandbox may be read."""
        self._left_s = min(BURST_S, self._left_s + (now - self._paid_at) * SHARE) - seconds
        self._paid_at = now
        return max(0.0, -self._left_s / SHARE)

    def waste(self, seconds: float, now: float, *, forged: bool) -> bool:
        """Takes note that it was spent for nothing; returns whether that was too much by now.

        `forged`: on what was malformed, wrongly signed or unasked for; else on output over its limit.
        """
        self._waste_s = min(self._most_waste_s, self._waste_s + (now - self._wasted_at) * FORGIVEN)
        self._waste_s -= seconds * (FORGED if forged else 1.0)
        self._wasted_at = now
        return self._waste_s < 0
