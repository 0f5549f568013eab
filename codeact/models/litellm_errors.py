"""What went wrong at a model's server: litellm's exceptions enter; our errors, with cause and remedy, leave."""

import re
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
from codeact.models.failures import Asked, Failure, one_line, worded

__all__ = ["ERRORS", "bad_name", "failure"]

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
    return Failure(worded(kind, asked, reason), retry, _retry_after(exception))


def _reason(exception: Exception) -> str:
    """The provider's own words."""
    lines = str(getattr(exception, "message", "") or exception).strip().splitlines()
    words = _NOISE.sub("", _PREFIXES.sub("", lines[0])) if lines else ""
    return one_line(words) or f"{type(exception).__name__}."


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
