"""Identifiers: a prefix enters, an unguessable id that sorts by time leaves."""

import itertools
import secrets
import time
from collections.abc import Callable

__all__ = ["new_id", "new_ids"]


def new_id(prefix: str) -> str:
    """`resp_019ab…`: 12 hex digits of Unix time in milliseconds, 4 of the part of a millisecond, then 112 random bits.

    The part of a millisecond keeps what one process makes in order, as in UUIDv7 (RFC 9562, section 6.2, method 3).
    """
    milliseconds, rest_ns = divmod(time.time_ns(), 1_000_000)
    return f"{prefix}_{milliseconds:012x}{(rest_ns << 16) // 1_000_000:04x}{secrets.token_hex(14)}"


def new_ids() -> Callable[[str], str]:
    """Makes ids that are made in one go and sort in the order in which they are made; 96 bits of each are random."""
    now, numbers = time.time_ns() // 1_000_000, itertools.count()
    return lambda prefix: f"{prefix}_{now:012x}{next(numbers):08x}{secrets.token_hex(12)}"
