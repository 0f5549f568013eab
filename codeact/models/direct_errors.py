"""What went wrong at an OpenAI-compatible server: statuses and aiohttp's exceptions enter; our errors leave."""

import re
from typing import Any

import msgspec

from codeact.errors import (
    ContextTooLong,
    ModelError,
    ModelNotFound,
    ModelRateLimited,
    ModelRefused,
    ModelTimeout,
    ModelUnauthorized,
    ModelUnreachable,
)
from codeact.models.failures import Asked, Failure, one_line, worded

__all__ = ["STATUSES", "Refused", "StreamBroken", "failure"]

STATUSES: dict[int, tuple[type[ModelError], bool]] = {
    401: (ModelUnauthorized, False),
    403: (ModelUnauthorized, False),
    404: (ModelNotFound, False),
    408: (ModelTimeout, True),
    413: (ContextTooLong, False),
    429: (ModelRateLimited, True),
    500: (ModelRefused, True),
    502: (ModelUnreachable, True),
    503: (ModelUnreachable, True),
    504: (ModelTimeout, True),
}
"""What each HTTP status is here, and whether asking again may help; any other is a refusal."""

_TOO_LONG = re.compile(
    r"context.{0,20}(length|window|size)|maximum.{0,20}tokens|too (long|many tokens)|exceeds?.{0,40}context",
    re.IGNORECASE,
)


class StreamBroken(Exception):
    """The stream ended too early, or held what is no completion."""


class Refused(Exception):
    """An error that the server told, with its HTTP status or, in a stream that had begun, its own code."""

    def __init__(self, status: int, body: bytes, retry_after: str | None = None) -> None:
        super().__init__(f"HTTP status {status}")
        self.status = status
        self.words = _words(body)
        self.retry_after = retry_after

    @classmethod
    def of_event(cls, error: Any) -> "Refused":
        code = error.get("code") if isinstance(error, dict) else None
        return cls(code if isinstance(code, int) else 400, msgspec.json.encode({"error": error}))


def failure(exception: Exception, asked: Asked) -> Failure:
    """What an exception means. One that is neither the server's nor of the connection is a refusal."""
    import aiohttp

    match exception:
        case Refused(status=status, words=words):
            kind, retry = STATUSES.get(status, (ModelRefused, False))
            if kind is ModelRefused and status < 500 and _TOO_LONG.search(words):
                kind = ContextTooLong
            reason = one_line(words) or f"HTTP status {status}."
            return Failure(worded(kind, asked, reason), retry, _seconds(exception.retry_after))
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
            return Failure(worded(ModelUnreachable, asked, one_line(str(exception))), False)
        case aiohttp.ClientError() | OSError() | StreamBroken():
            reason = one_line(str(exception)) or f"{type(exception).__name__}."
            return Failure(worded(ModelUnreachable, asked, reason), True)
    return Failure(worded(ModelRefused, asked, one_line(str(exception)) or f"{type(exception).__name__}."), False)


def _words(body: bytes) -> str:
    """The message in an error's body, in the forms that servers have for it; else the body itself."""
    try:
        answer = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return body.decode(errors="replace")
    error = answer.get("error", answer) if isinstance(answer, dict) else answer
    if isinstance(error, dict):
        error = error.get("message") or error.get("detail") or error
    return str(error)


def _seconds(retry_after: str | None) -> float | None:
    """Of a `Retry-After` header (RFC 9110, 10.2.3); its date form is not read."""
    try:
        return max(0.0, float(retry_after or ""))
    except ValueError:
        return None
