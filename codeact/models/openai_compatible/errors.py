"""Maps HTTP statuses and aiohttp's exceptions to our errors."""

import json
from contextlib import suppress
from html.parser import HTMLParser
from typing import Any

import msgspec

from codeact.errors import (
    ContextTooLong,
    ModelError,
    ModelNotFound,
    ModelQuotaExceeded,
    ModelRateLimited,
    ModelRefused,
    ModelStreamBroken,
    ModelTimeout,
    ModelUnauthorized,
    ModelUnreachable,
)
from codeact.models.shared.errors import Endpoint, Failure, is_loading, is_used_up, one_line, seconds, worded
from codeact.models.shared.too_long import is_too_long

__all__ = ["STATUSES", "NoCompletion", "Refused", "StreamBroken", "failure"]

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
    **dict.fromkeys((520, 521, 522, 523, 524, 525, 526, 527, 529, 530), (ModelUnreachable, True)),
}
"""For each HTTP status: our error, and whether a retry may help. Any other status is a refusal.

Statuses from 520 on are Cloudflare's; 529 is Anthropic's "overloaded".
"""
_NEVER_TOO_LONG = (401, 403, 404, 429)
_TITLE_CHARS = 20_000


class StreamBroken(Exception):
    """The stream ended too early, or contained something other than a completion."""


class NoCompletion(Exception):
    """The address answers, but not with completions."""

    @classmethod
    def page(cls, body: bytes) -> "NoCompletion":
        """For a body that is a web page. The message quotes its title."""
        title = _Title()
        with suppress(ValueError):  # `feed` raises it for a character reference with thousands of digits
            title.feed(body[:_TITLE_CHARS].decode(errors="replace"))
        words = " ".join(title.words.split())[:200]
        named = f" ({words})" if words else ""
        return cls(f"A web page{named} arrived instead of a completion.")


class Refused(Exception):
    """An error that the server reported, with its HTTP status or with the code in an event of the stream."""

    def __init__(self, status: int, body: bytes, retry_after: str | None = None) -> None:
        super().__init__(f"HTTP status {status}")
        self.status = status
        self.words, self.names = _words(body)
        self.retry_after = retry_after

    @classmethod
    def of_event(cls, error: Any) -> "Refused":
        code = error.get("code") or error.get("status") if isinstance(error, dict) else None
        if isinstance(code, str) and code.isdecimal() and len(code) == 3:
            code = int(code)
        return cls(code if isinstance(code, int) and 400 <= code < 600 else 400, body_of(error))


def body_of(error: Any) -> bytes:
    """The body that an HTTP answer with this error would have. Any value that JSON text can hold is possible."""
    try:
        return msgspec.json.encode({"error": error})
    except (ValueError, OverflowError):  # Half a character, or a number of over 64 bits.
        return json.dumps({"error": error}).encode()


def failure(exception: Exception, endpoint: Endpoint) -> Failure:
    """Maps an exception to our error. One that is neither the server's nor the connection's becomes `ModelRefused`."""
    import aiohttp

    match exception:
        case Refused():
            return _refusal(exception, endpoint)
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError() | NoCompletion():
            return Failure(worded(ModelUnreachable, endpoint, one_line(str(exception))), False)
        case StreamBroken():
            reason = one_line(str(exception))
            return Failure(worded(ModelStreamBroken, endpoint, reason), True)
        case aiohttp.ClientPayloadError() | aiohttp.ServerDisconnectedError() | ConnectionResetError():
            reason = one_line(str(exception)) or f"{type(exception).__name__}."
            return Failure(worded(ModelStreamBroken, endpoint, reason), True)
        case aiohttp.ClientError() | OSError():
            reason = one_line(str(exception)) or f"{type(exception).__name__}."
            return Failure(worded(ModelUnreachable, endpoint, reason), True)
    return Failure(worded(ModelRefused, endpoint, one_line(str(exception)) or f"{type(exception).__name__}."), False)


def _refusal(refused: Refused, endpoint: Endpoint) -> Failure:
    status, words, names = refused.status, refused.words, refused.names
    kind, retry = STATUSES.get(status, (ModelRefused, status >= 500))
    if is_too_long("" if status in _NEVER_TOO_LONG else words, names):
        kind, retry = ContextTooLong, False
    elif is_used_up(words, names):
        kind, retry = ModelQuotaExceeded, False
    reason = one_line(words) or f"HTTP status {status}."
    after_s = seconds(refused.retry_after)
    error = worded(kind, endpoint, reason, after_s=after_s if kind is ModelRateLimited else None)
    return Failure(error, retry, after_s, words, loading=is_loading(status, words))


def _words(body: bytes) -> tuple[str, tuple[str, ...]]:
    """The message in an error's body, in the known formats, or the body itself; and the error's code and type."""
    try:
        answer = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return body.decode(errors="replace"), ()
    if isinstance(answer, list) and len(answer) == 1:
        answer = answer[0]
    error = (answer.get("error") or answer) if isinstance(answer, dict) else answer
    if not isinstance(error, dict):
        return str(error), ()
    names = tuple(name for name in (error.get("code"), error.get("type")) if isinstance(name, str))
    message = error.get("message") or error.get("detail") or error
    return message if isinstance(message, str) else str(message), names


class _Title(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.words = ""
        self._inside = False

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._inside = tag == "title"

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.words += data
