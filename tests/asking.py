"""Builds a client's frames that ask for codeact's own events in addition to the standard ones."""

import json
from typing import Any

__all__ = ["INCLUDE", "frame"]

INCLUDE = ["codeact:events"]
FOLLOWS = ("response.create", "codeact:response.resume")


def frame(event: dict[str, Any]) -> str:
    """Returns the client's event as JSON. Adds `include` if the server answers it with a stream of events."""
    return json.dumps({**event, "include": INCLUDE} if event.get("type") in FOLLOWS else event)
