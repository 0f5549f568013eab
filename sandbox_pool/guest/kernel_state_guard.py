"""Runs each part of a checkpoint so that the rest goes on if one fails or takes too long, which is then named.

`kernel_state_save.py` imports it inside of a sandbox. An alarm ends what takes too long: a method that catches every
exception, or a function in C that never returns, still ends the whole checkpoint, at the server's deadline.
"""

# mypy: allow-untyped-defs, allow-untyped-calls

import contextlib
import re
import signal
import time
from typing import Any

from kernel_state_arrays import NotSaved  # type: ignore[import-not-found]
from kernel_text import encodable, words  # type: ignore[import-not-found]
from kernel_values import plain  # type: ignore[import-not-found]

__all__ = ["NAMES", "Guard", "TooLong"]

NAMES = 10_000
"""The server takes no longer list of what is not saved."""
LOOK_S = 5.0
SHARE = 0.5
"""Of the time that is left, how much one part may take: so there is time for the others."""
UNPICKLABLE = re.compile(r"cannot pickle '([\w.]+)' object")


active = 0
"""How many `with` blocks of `Guard.within` have been entered. An alarm that comes after the last one is late."""


class TooLong(BaseException):
    """The time for one part is over."""


class Guard:
    """The time of one checkpoint, and the list `unsaved` of what it does not have."""

    def __init__(self, deadline_s):
        self.ends_at = time.monotonic() + deadline_s
        self.unsaved: list[Any] = []
        signal.signal(signal.SIGALRM, _too_long)

    @contextlib.contextmanager
    def within(self, seconds):
        """Raises `TooLong` inside of the `with` block once it takes longer, or more than its share of the time."""
        left_s = min(seconds, (self.ends_at - time.monotonic()) * SHARE)
        if left_s <= 0:
            raise TooLong("there was no time left")
        global active
        outer_s, _ = signal.setitimer(signal.ITIMER_REAL, left_s)
        began_at = time.monotonic()
        active += 1
        try:
            yield
        finally:
            active -= 1
            # An alarm that was set before goes on.
            rest_s = max(0.000_1, outer_s - (time.monotonic() - began_at)) if outer_s else 0
            signal.setitimer(signal.ITIMER_REAL, rest_s)

    def look(self, what, function, *arguments, otherwise=None):
        """Returns what the function returns; `otherwise` if it fails, and then lists `what` as not saved."""
        try:
            with self.within(LOOK_S):
                return function(*arguments)
        except BaseException as error:
            self.skip(what, "part of the checkpoint", self.reason(error))
            return otherwise

    def looks(self, what, function, *arguments):
        """Returns what the function yields, as a list. If it fails on the way, lists `what` as not saved."""
        found: list[Any] = []
        self.look(what, lambda: found.extend(function(*arguments)))
        return found

    def skip(self, name, kind, reason):
        """Lists what is not saved. There is no room for more than NAMES."""
        if len(self.unsaved) < NAMES:
            self.unsaved.append({"name": plain(name), "type": kind[:200], "reason": encodable(reason)[:500]})

    def reason(self, error):
        """Why something is not saved, in words."""
        if isinstance(error, TooLong):
            return str(error)
        try:
            with self.within(LOOK_S):
                return _reason(error)
        except BaseException:
            return "its error has no text"


def _reason(error):
    if isinstance(error, NotSaved):
        return str(error)
    if isinstance(error, RecursionError) or isinstance(error.__cause__, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, MemoryError):
        return "there was not enough memory for a copy of it"
    if isinstance(error, TypeError) and (found := UNPICKLABLE.match(words(error))):
        return f"it is, or holds, what only this process can have: {found[1]}"
    return f"{type(error).__name__}: {words(error)}"[:500]


def _too_long(number, frame):
    if active:
        raise TooLong("it took too long")
