"""A migration: documents once referred to a blob by the path of its API route, and now refer to it by its hash."""

import re
from typing import Any

__all__ = ["name_blobs_by_hash"]

SHORTEST = len("/v1/blobs/") + 64
_PATH = re.compile(r'(\A|"|; all of them: )/v1/blobs/([0-9a-f]{64})(?="|\]|\Z)')


def name_blobs_by_hash(document: dict[str, Any]) -> None:
    """Replaces every blob path in the document, also inside JSON that is stored as text."""
    for key, value in document.items():
        document[key] = _changed(value)


def _changed(value: Any) -> Any:
    match value:
        case str():
            return _PATH.sub(r"\1blob:\2", value) if len(value) >= SHORTEST else value
        case list():
            return [_changed(item) for item in value]
        case dict():
            return {key: _changed(item) for key, item in value.items()}
    return value
