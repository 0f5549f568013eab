"""Identifiers: a prefix enters, an unguessable id that sorts by time leaves."""

import itertools
import secrets
import time
from collections.abc import Callable

__all__ = ["new_id", "new_ids"]


def new_id(prefix: str) -> str:
    """`resp_019ab…`: 12 hex digits of Unix time in milliseconds, then 128 random bits."""
    return f"{prefix}_{time.time_ns() // 1_000_000:012x}{secrets.token_hex(16)}"


def new_ids() -> Callable[[str], str]:
    """Makes ids that are made in one go and sort in the order in which they are made; 96 bits of each are random."""
    now, numbers = time.time_ns() // 1_000_000, itertools.count()
    return lambda prefix: f"{prefix}_{now:012x}{next(numbers):08x}{secrets.token_hex(12)}"
