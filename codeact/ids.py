"""Makes identifiers: a prefix and an unguessable part that sorts by time."""

import itertools
import re
import secrets
import time
from collections.abc import Callable

__all__ = ["made_at_ms", "new_id", "new_ids", "new_object_id"]

_PROCESS = secrets.token_hex(5)
_NUMBERS = itertools.count(secrets.randbelow(1 << 24))

_TIME = re.compile(r"_([0-9a-f]{12})[0-9a-f]{32}\Z")
LAST_MS = 16**12 - 1


def new_id(prefix: str, *, after: str | None = None) -> str:
    """`resp_019ab…`: 12 hex digits of Unix time in milliseconds, 4 of the fraction of a millisecond, then 112 random
    bits.

    The fraction keeps the ids of one process in order, as in UUIDv7 (RFC 9562, section 6.2, method 3). The new id sorts
    after `after`, another id of ours, even if a server whose clock is ahead made that one.
    """
    milliseconds, rest_ns = divmod(time.time_ns(), 1_000_000)
    if after is not None and (made := _TIME.search(after)) is not None and int(made[1], 16) >= milliseconds:
        milliseconds = min(int(made[1], 16) + 1, LAST_MS)
    return f"{prefix}_{milliseconds:012x}{(rest_ns << 16) // 1_000_000:04x}{secrets.token_hex(14)}"


def made_at_ms(identifier: str) -> int | None:
    """Returns the time in an id of ours, in milliseconds of Unix time; None for other texts."""
    made = _TIME.search(identifier)
    return None if made is None else int(made[1], 16)


def new_ids() -> Callable[[str], str]:
    """Returns a function that makes ids which sort in the order in which they are made. Each has 96 random bits."""
    now, numbers = time.time_ns() // 1_000_000, itertools.count()
    return lambda prefix: f"{prefix}_{now:012x}{next(numbers):08x}{secrets.token_hex(12)}"


def new_object_id() -> str:
    """24 hex digits in the form of a BSON ObjectId: seconds, 5 bytes for this process, a counter of 3 bytes."""
    return f"{int(time.time()):08x}{_PROCESS}{next(_NUMBERS) & 0xFFFFFF:06x}"
