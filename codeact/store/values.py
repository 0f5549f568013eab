"""Converts times and free-form JSON to the form in which MongoDB stores them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

__all__ = ["as_json", "bounded_time", "time_of"]


def time_of(seconds: float) -> datetime:
    """Unix seconds as a UTC time, truncated to the milliseconds that MongoDB stores."""
    time = datetime.fromtimestamp(seconds, UTC)
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


def as_json(value: Mapping[str, Any] | list[Any]) -> str:
    """JSON text. BSON does not accept every key and number, and such values are never queried."""
    return msgspec.json.encode(value).decode()


EARLIEST, LATEST = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)


def bounded_time(time: datetime) -> datetime:
    """The time in UTC, at least a day from the years 1 and 10,000: in other time zones it would be out of range."""
    try:
        return min(max(time.astimezone(UTC), EARLIEST), LATEST)
    except (OverflowError, ValueError):
        return EARLIEST if time.year == 1 else LATEST
