"""Builds the error for a failed request to a model's server: the server's message and what to do."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from codeact.errors import (
    ContextTooLong,
    ModelError,
    ModelNotFound,
    ModelQuotaExceeded,
    ModelRateLimited,
    ModelStreamBroken,
    ModelUnauthorized,
    ModelUnreachable,
)

__all__ = ["Endpoint", "Failure", "is_loading", "is_used_up", "one_line", "seconds", "worded"]

REASON_CHARS = 400
MOST_CHARS = 4_000
_USER = re.compile(r"://[^/\s@]{1,500}@")
"""The user and password in a URL, which must not even reach the log."""
_LOADING = re.compile(r"loading|warming up|starting up|not ready|is starting|currently loading", re.IGNORECASE)
_QUOTA_CODES = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "credit_balance_too_low"}
_QUOTA = re.compile(
    r"insufficient_quota|exceeded your current quota|check your plan and billing|credit balance is too low"
    r"|insufficient (?:balance|credits?|funds)|out of credits",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The endpoint of a model: its configured name, its address if it has one, and the variables that hold its key."""

    name: str
    address: str | None = None
    provider: str = ""
    key_names: tuple[str, ...] = ()
    has_key: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """An error, whether a retry may help, and after how many seconds the server asks for it.

    `words` is the server's own message. `loading`: the server will answer when it has loaded its model.
    """

    error: ModelError
    retry: bool
    after_s: float | None = None
    words: str = ""
    loading: bool = False


def worded(kind: type[ModelError], endpoint: Endpoint, reason: str, *, after_s: float | None = None) -> ModelError:
    """Builds the error message: what happened, in the server's words (`reason`), and what to do."""
    error = kind(_message(kind, endpoint, reason, after_s), detail=reason)
    error.retry_after_s = after_s
    return error


def one_line(text: str) -> str:
    """The first line of a server's message, at most 400 characters, ending with a full stop; empty if there is none.

    A word that does not fit is left out completely: half of a secret could not be recognised and removed later.
    """
    lines = text[:MOST_CHARS].strip().splitlines()
    line = _USER.sub("://", lines[0]).strip() if lines else ""
    if len(line) > REASON_CHARS:
        line = line[:REASON_CHARS].rpartition(" ")[0].rstrip()
    return line if not line or line.endswith((".", "!", "?")) else f"{line}."


def is_loading(status: int | None, words: str) -> bool:
    """Whether an error says that the server is still loading its model."""
    return status == 503 and bool(_LOADING.search(words[:REASON_CHARS]))


def is_used_up(words: str, names: tuple[str, ...] = ()) -> bool:
    """Whether an error says that the quota or credit is used up, so that waiting does not help."""
    return any(name in _QUOTA_CODES for name in names) or bool(_QUOTA.search(words[:MOST_CHARS]))


def seconds(retry_after: str | None, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> float | None:
    """The seconds in a `Retry-After` header (RFC 9110, 10.2.3), which contains seconds or a date."""
    if not retry_after:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        date = parsedate_to_datetime(retry_after[:100])
    except ValueError:
        return None
    date = date if date.tzinfo is not None else date.replace(tzinfo=UTC)
    return max(0.0, (date - now()).total_seconds())


def _message(kind: type[ModelError], endpoint: Endpoint, reason: str, after_s: float | None) -> str:
    where = _USER.sub("://", endpoint.address) if endpoint.address else f"the {endpoint.provider} API"
    if kind is ModelNotFound:
        hint = ""
        if endpoint.address and not endpoint.address.rstrip("/").endswith("/v1"):
            hint = " The address of an OpenAI-compatible server usually ends in /v1."
        return f"{where} has no model {endpoint.name}: {reason}{hint}"
    if kind is ModelUnauthorized:
        keys = " or ".join(f"export {name}=…" for name in (*endpoint.key_names, "CODEACT_MODEL_API_KEY"))
        if endpoint.key_names and not endpoint.has_key:
            return f"{endpoint.name} needs a key, and none is set: {keys}"
        return f"{where} refused the key for {endpoint.name}: {reason} To set another one: {keys}"
    if kind is ModelUnreachable:
        return f"No answer from {where} for {endpoint.name}: {reason} CODEACT_MODEL_API_BASE names another address."
    if kind is ModelStreamBroken:
        return f"The stream from {where} for {endpoint.name} broke before the answer was complete: {reason} Ask again."
    if kind is ModelRateLimited:
        wait = f" It asks to wait {after_s:,.0f} s." if after_s else ""
        return f"{where} asks to slow down: {reason}{wait}"
    if kind is ModelQuotaExceeded:
        return f"{where} has no quota left for this key: {reason} Add credit there, or set another key."
    if kind is ContextTooLong:
        return f"The conversation is too long for {endpoint.name}: {reason}"
    return f"{where} did not answer for {endpoint.name}: {reason}"
