"""Records when events first happen in a response, in seconds since the server accepted its request."""

import time

from codeact import events as e

__all__ = ["Timings"]


class Timings:
    """`started` is `time.monotonic()` when the request was accepted."""

    def __init__(self, response: e.Response, *, started: float) -> None:
        self._ledger = response.ledger
        self._started = started

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._started

    def mark(self, name: str) -> None:
        """Records the current time under the `Ledger` field `name`, unless it is already set."""
        if getattr(self._ledger, name) is None:
            setattr(self._ledger, name, self.elapsed_s)
