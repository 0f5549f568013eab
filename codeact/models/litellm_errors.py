"""What went wrong at a model's server: litellm's exceptions enter; our errors, with cause and remedy, leave."""

import re
from dataclasses import dataclass
from typing import Any

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

__all__ = ["ERRORS", "Asked", "Failure", "bad_name", "failure"]

ERRORS: dict[str, tuple[type[ModelError], bool]] = {
    "APIConnectionError": (ModelUnreachable, True),
    "APIError": (ModelRefused, False),
    "APIResponseValidationError": (ModelRefused, False),
    "AuthenticationError": (ModelUnauthorized, False),
    "BadGatewayError": (ModelUnreachable, True),
    "BadRequestError": (ModelRefused, False),
    "BlockedPiiEntityError": (ModelRefused, False),
    "BudgetExceededError": (ModelRefused, False),
    "ContentPolicyViolationError": (ModelRefused, False),
    "ContextWindowExceededError": (ContextTooLong, False),
    "GuardrailRaisedException": (ModelRefused, False),
    "ImageFetchError": (ModelRefused, False),
    "InternalServerError": (ModelRefused, True),
    "InvalidRequestError": (ModelRefused, False),
    "JSONSchemaValidationError": (ModelRefused, False),
    "LiteLLMUnknownProvider": (ModelNotFound, False),
    "MidStreamFallbackError": (ModelUnreachable, True),
    "MockException": (ModelRefused, False),
    "ModelNotMappedError": (ModelRefused, False),
    "ModifyResponseException": (ModelRefused, False),
    "NotFoundError": (ModelNotFound, False),
    "OpenAIError": (ModelRefused, False),
    "PaymentRequiredError": (ModelRefused, False),
    "PermissionDeniedError": (ModelUnauthorized, False),
    "RateLimitError": (ModelRateLimited, True),
    "RejectedRequestError": (ModelRefused, False),
    "SensitiveDataRouteException": (ModelRefused, False),
    "ServiceUnavailableError": (ModelUnreachable, True),
    "Timeout": (ModelTimeout, True),
    "UnprocessableEntityError": (ModelRefused, False),
    "UnsupportedParamsError": (ModelRefused, False),
    "VectorStoreSearchError": (ModelRefused, False),
}
"""Every exception class of `litellm.exceptions`, what it is here, and whether asking again may help."""

_STATUSES: dict[int, type[ModelError]] = {403: ModelUnauthorized, 413: ContextTooLong}
"""HTTP statuses that litellm leaves as a plain `APIError`."""

_PREFIXES = re.compile(r"^(?:litellm\.\w+: |(?:\w+|Timeout )Error: |\w+Exception - )+")
_NO_KEY = re.compile(r"missing|credential|api[ _-]?key", re.IGNORECASE)
_NOISE = re.compile(r" ssl:(?:<[^>]*>|\w+)")
_REASON_CHARS = 400


@dataclass(frozen=True, slots=True)
class Asked:
    """Who was asked: the model's name as configured, the address if one is, the variables that hold its key."""

    name: str
    address: str | None = None
    provider: str = ""
    key_names: tuple[str, ...] = ()
    has_key: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """An error, whether asking again may help, and after how many seconds the server wants that."""

    error: ModelError
    retry: bool
    after_s: float | None = None


def bad_name(name: str) -> ModelNotFound:
    return ModelNotFound(
        f"'{name}' does not name a model provider. CODEACT_MODEL has the form provider/model, for example"
        " openai/gpt-4.1, anthropic/claude-sonnet-4-5 or ollama_chat/qwen3; with CODEACT_MODEL_API_BASE, any name"
        " that the server there knows."
    )


def failure(exception: Exception, asked: Asked) -> Failure:
    """What an exception of litellm means. One that is not litellm's own is a refusal."""
    exception = getattr(exception, "original_exception", None) or exception
    known = (ERRORS[base.__name__] for base in type(exception).__mro__ if base.__name__ in ERRORS)
    kind, retry = next(known, (ModelRefused, False))
    reason = _reason(exception)
    status = getattr(exception, "status_code", None)
    if kind is ModelRefused and status in _STATUSES:
        kind = _STATUSES[status]
    if _not_connected(exception):
        kind, retry = ModelUnreachable, True
    elif asked.key_names and not asked.has_key and kind is not ModelNotFound and _NO_KEY.search(reason):
        kind, retry = ModelUnauthorized, False
    return Failure(kind(_message(kind, asked, reason)), retry, _retry_after(exception))


def _message(kind: type[ModelError], asked: Asked, reason: str) -> str:
    where = asked.address or f"the {asked.provider} API"
    if kind is ModelNotFound:
        hint = ""
        if asked.address and not asked.address.rstrip("/").endswith("/v1"):
            hint = " The address of an OpenAI-compatible server usually ends in /v1."
        return f"{where} has no model {asked.name}: {reason}{hint}"
    if kind is ModelUnauthorized:
        keys = " or ".join(f"export {name}=…" for name in (*asked.key_names, "CODEACT_MODEL_API_KEY"))
        if asked.key_names and not asked.has_key:
            return f"{asked.name} needs a key, and none is set: {keys}"
        return f"{where} refused the key for {asked.name}: {reason} To set another one: {keys}"
    if kind is ModelUnreachable:
        return f"No answer from {where} for {asked.name}: {reason} CODEACT_MODEL_API_BASE names another address."
    if kind is ModelRateLimited:
        return f"{where} asks to slow down: {reason}"
    if kind is ContextTooLong:
        return f"The conversation is too long for {asked.name}: {reason}"
    return f"{where} did not answer for {asked.name}: {reason}"


def _reason(exception: Exception) -> str:
    """The provider's own words: one line, bounded, with a full stop."""
    lines = str(getattr(exception, "message", "") or exception).strip().splitlines()
    reason = _NOISE.sub("", _PREFIXES.sub("", lines[0])).strip() if lines else ""
    reason = reason[:_REASON_CHARS] or type(exception).__name__
    return reason if reason.endswith((".", "!", "?")) else f"{reason}."


def _not_connected(exception: BaseException | None) -> bool:
    """litellm tells a refused connection as an internal error for some providers; its cause says what it was."""
    seen = 0
    while exception is not None and seen < 10:
        if type(exception).__name__ in ("ConnectError", "ConnectTimeout"):
            return True
        exception = exception.__cause__ or exception.__context__
        seen += 1
    return False


def _retry_after(exception: Any) -> float | None:
    """Seconds of a `Retry-After` header (RFC 9110, 10.2.3); its date form is not read."""
    headers = getattr(exception, "litellm_response_headers", None) or {}
    try:
        return max(0.0, float(headers["retry-after"]))
    except (KeyError, ValueError):
        return None
