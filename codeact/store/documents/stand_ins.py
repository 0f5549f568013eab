"""Makes placeholders for documents that a newer release wrote.

Pure. A placeholder has the ids, owner and times of its document, and says what it stands for. It is never stored.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from codeact.events import ConversationRef, Response
from codeact.store.documents.schema import version_of
from codeact.store.values import time_of

__all__ = ["of_conversation", "of_item", "of_response"]

STATUSES = ("queued", "in_progress", "completed", "incomplete", "failed", "cancelled")
NAME_CHARS = 100


def of_conversation(stored: Mapping[str, Any]) -> dict[str, Any]:
    """A placeholder in the list of conversations, whose title says what it is."""
    blobs = _mapping(stored.get("facets")).get("blobs")
    return {
        **{name: stored.get(name) for name in ("_id", "owner")},
        **{name: _time(stored.get(name)) for name in ("created_at", "updated_at")},
        "metadata": "{}",
        "title": "[A newer version of the server stored this conversation.]",
        "deleted": stored.get("deleted") is True,
        "facets": {"blobs": blobs if isinstance(blobs, list) else []},
    }


def of_response(stored: Mapping[str, Any]) -> dict[str, Any]:
    """A placeholder in its conversation.

    The response's items are separate documents with their own versions, and are read as usual.
    """
    wire = _mapping(stored.get("response"))
    conversation, previous, status = (wire.get(name) for name in ("conversation", "previous_response_id", "status"))
    response = Response(
        id=str(stored["_id"]),
        created_at=_time(stored.get("created_at")).timestamp(),
        model=str(wire.get("model"))[:NAME_CHARS],
        status=status if status in STATUSES else "failed",
        conversation=ConversationRef(str(conversation["id"])) if conversation else None,
        previous_response_id=previous if isinstance(previous, str) else None,
    )
    shown = msgspec.to_builtins(response) | {"metadata": "{}", "tools": "[]"}
    del shown["output"]
    return {
        **{name: stored.get(name) for name in ("_id", "owner", "root_id")},
        **{name: stored[name] for name in ("adopted", "epoch", "deleted") if name in stored},
        "created_at": _time(stored.get("created_at")),
        "input": [{"type": _kind("question", stored)}],
        "response": shown,
    }


def of_item(stored: Mapping[str, Any]) -> dict[str, Any]:
    """An item of an unknown type, for which `codeact.store.documents.reading` shows a placeholder."""
    kind = str(_mapping(stored.get("item")).get("type"))[:NAME_CHARS]
    places = {name: stored[name] for name in ("_id", "response_id", "output_index", "epoch") if name in stored}
    return {**places, "item": {"id": stored["_id"], "type": _kind(kind, stored)}}


def _kind(kind: str, stored: Mapping[str, Any]) -> str:
    return f"{kind}, schema version {version_of(stored) or 'unknown'}"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _time(value: Any) -> datetime:
    return value if isinstance(value, datetime) else time_of(0)
