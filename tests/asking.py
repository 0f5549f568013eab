"""Frames of a client that gets our own events beside the standard's."""

import json
from typing import Any

__all__ = ["INCLUDE", "frame"]

INCLUDE = ["codeact:events"]
FOLLOWS = ("response.create", "codeact:response.resume")


def frame(event: dict[str, Any]) -> str:
    """The client's event as JSON; what is answered with a stream of events asks for ours too."""
    return json.dumps({**event, "include": INCLUDE} if event.get("type") in FOLLOWS else event)
