"""Values as MongoDB keeps them: times and free-form JSON enter, milliseconds and texts leave."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

__all__ = ["as_json", "time_of"]


def time_of(seconds: float) -> datetime:
    """In milliseconds, as MongoDB keeps it."""
    time = datetime.fromtimestamp(seconds, UTC)
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


def as_json(value: Mapping[str, Any] | list[Any]) -> str:
    """JSON text: BSON takes neither every key nor every number, and nothing of such values is queried."""
    return msgspec.json.encode(value).decode()
