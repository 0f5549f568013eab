"""Ends the process when an orderly stop takes too long."""

import os
import sys
import threading
import time
from collections.abc import Callable

__all__ = ["LastResort"]

EXIT_CODE = 1


def _exit(message: str) -> None:
    print(message, file=sys.stderr, flush=True)  # noqa: T201 - the last words of the process
    os._exit(EXIT_CODE)


class LastResort:
    """A timer in a thread of its own, so that neither a task that hangs nor a loop that is stuck keeps the process.

    What is left behind then (sandboxes, an embedded mongod, unfinished responses) is found by the next start.
    """

    def __init__(self, end: Callable[[str], None] = _exit) -> None:
        self._end = end
        self._at = float("inf")
        self._timer: threading.Timer | None = None

    def within(self, seconds: float) -> None:
        """The process ends in so many seconds, or sooner where an earlier call said so."""
        at = time.monotonic() + seconds
        if at < self._at:
            self.call_off()
            message = f"The server did not end in good order within its limit; it ends now, with exit code {EXIT_CODE}."
            self._at, self._timer = at, threading.Timer(seconds, self._end, (message,))
            self._timer.daemon = True
            self._timer.start()

    def call_off(self) -> None:
        """The process has ended in good order."""
        if self._timer is not None:
            self._timer.cancel()
        self._at, self._timer = float("inf"), None
