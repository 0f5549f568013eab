"""Identifiers: a prefix enters, an unguessable id that sorts by time leaves."""

import secrets
import time

__all__ = ["new_id"]


def new_id(prefix: str) -> str:
    """`resp_019ab…`: 12 hex digits of Unix time in milliseconds, then 128 random bits."""
    return f"{prefix}_{time.time_ns() // 1_000_000:012x}{secrets.token_hex(16)}"
