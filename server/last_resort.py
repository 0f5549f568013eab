"""Ends the process if an orderly stop takes too long."""

import os
import sys
import threading
import time
from collections.abc import Callable

__all__ = ["LastResort"]

EXIT_CODE = 1


def _exit(message: str) -> None:
    print(message, file=sys.stderr, flush=True)  # noqa: T201  # the process ends now
    os._exit(EXIT_CODE)


class LastResort:
    """A timer in its own thread, so that neither a hanging task nor a stuck event loop can keep the process alive.

    The next start cleans up what is left behind (sandboxes, an embedded mongod, unfinished responses).
    """

    def __init__(self, end: Callable[[str], None] = _exit) -> None:
        self._end = end
        self._at = float("inf")
        self._timer: threading.Timer | None = None

    def within(self, seconds: float) -> None:
        """Ends the process after this time, or earlier if an earlier call said so."""
        at = time.monotonic() + seconds
        if at < self._at:
            self.call_off()
            message = f"The server did not end in good order within its limit; it ends now, with exit code {EXIT_CODE}."
            self._at, self._timer = at, threading.Timer(seconds, self._end, (message,))
            self._timer.daemon = True
            self._timer.start()

    def call_off(self) -> None:
        """Cancels the timer: the process has ended in good order."""
        if self._timer is not None:
            self._timer.cancel()
        self._at, self._timer = float("inf"), None
