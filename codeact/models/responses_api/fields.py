"""Reads fields of the Responses API's JSON. Checks the size before decoding; odd fields are ignored."""

import json
from typing import Any

import msgspec

from codeact.model import Usage
from codeact.models.openai_compatible.errors import Refused, body_of
from codeact.models.shared.chunks import LENIENT_BYTES
from sandbox_pool import json_size

__all__ = [
    "ID_CHARS",
    "decoded",
    "head_of",
    "id_of",
    "refused",
    "refused_by",
    "text_of",
    "thought_of",
    "tokens_of",
    "usage_of",
]

MOST_VALUES, DEEPEST = 50_000, 100
ID_CHARS = 200
_STATUSES = {"rate_limit_exceeded": 429, "server_error": 500, "server_is_overloaded": 503, "slow_down": 429}


def decoded(data: bytes) -> Any:
    """Decodes JSON, also with half a surrogate pair, which some servers send. Raises `ValueError`."""
    json_size.check(data, most=MOST_VALUES, depth=DEEPEST)
    try:
        return msgspec.json.decode(data)
    except ValueError:
        if len(data) > LENIENT_BYTES:
            raise
        return json.loads(data)


def head_of(data: bytes) -> tuple[str | None, str | None, str | None]:
    """The type of an event, the id of its response, and the code of its error; each None if missing."""
    try:
        event = decoded(data)
    except (ValueError, RecursionError):
        return None, None, None
    if not isinstance(event, dict):
        return None, None, None
    kind, error = event.get("type"), event.get("error")
    code = error.get("code") if isinstance(error, dict) else event.get("code")
    return kind if isinstance(kind, str) else None, id_of(event), code if isinstance(code, str) else None


def id_of(event: dict[str, Any]) -> str | None:
    response = event.get("response")
    response_id = response.get("id") if isinstance(response, dict) else None
    return response_id if isinstance(response_id, str) and 0 < len(response_id) <= ID_CHARS else None


def refused_by(event: dict[str, Any]) -> Refused:
    """An `error` event as an exception. Over a WebSocket, it contains the status and headers that HTTP would have."""
    error = event["error"] if isinstance(event.get("error"), dict) else event
    status, headers = event.get("status"), event.get("headers")
    if not isinstance(status, int) or not 400 <= status < 600:
        return refused(error)
    names = {str(name).lower(): value for name, value in headers.items()} if isinstance(headers, dict) else {}
    after = names.get("retry-after")
    return Refused(status, body_of(error), after if isinstance(after, str) else None)


def refused(error: Any) -> Refused:
    """Turns an error event into an HTTP error with the status that its code would have."""
    code = error.get("code")
    status = _STATUSES.get(code, 400) if isinstance(code, str) else 400
    if code is None and error.get("type") == "server_error":
        status = 500
    return Refused(status, body_of(error)) if status != 400 else Refused.of_event(error)


def text_of(message: dict[str, Any]) -> str:
    parts = message.get("content")
    parts = [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
    texts = (part.get("text") or part.get("refusal") for part in parts)
    return "".join(text for text in texts if isinstance(text, str))


def tokens_of(message: dict[str, Any]) -> list[Any]:
    """The log probabilities of a message's tokens, as the server sent them."""
    parts = message.get("content")
    found = [part.get("logprobs") for part in (parts if isinstance(parts, list) else ()) if isinstance(part, dict)]
    return [token for tokens in found if isinstance(tokens, list) for token in tokens]


def thought_of(item: dict[str, Any]) -> str:
    for name in ("content", "summary"):
        parts = item.get(name)
        texts = [part.get("text") for part in (parts if isinstance(parts, list) else ()) if isinstance(part, dict)]
        if text := "\n\n".join(text for text in texts if isinstance(text, str) and text):
            return text
    return ""


def usage_of(given: Any) -> Usage | None:
    if not isinstance(given, dict):
        return None
    return Usage(
        input_tokens=_count(given, "input_tokens"),
        output_tokens=_count(given, "output_tokens"),
        cached_tokens=_count(given.get("input_tokens_details"), "cached_tokens"),
        reasoning_tokens=_count(given.get("output_tokens_details"), "reasoning_tokens"),
    )


def _count(given: Any, name: str) -> int:
    value = given.get(name) if isinstance(given, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**53:
        return 0
    return int(value)
