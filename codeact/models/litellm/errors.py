"""Maps litellm's exceptions to our errors, with the cause and what to do."""

import re
from typing import Any

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
from codeact.models.openai_compatible.errors import STATUSES, NoCompletion, Refused, StreamBroken
from codeact.models.openai_compatible.errors import failure as openai_failure
from codeact.models.shared.errors import Endpoint, Failure, is_loading, is_used_up, one_line, seconds, worded
from codeact.models.shared.too_long import is_too_long

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
"""For every exception class of `litellm.exceptions`: our error, and whether a retry may help."""

_PREFIXES = re.compile(r"^(?:litellm\.\w+: |(?:\w+|Timeout )Error: |\w+Exception - )+")
_NO_KEY = re.compile(r"missing|credential|api[ _-]?key", re.IGNORECASE)
_NOISE = re.compile(r" ssl:(?:<[^<>]*>|\w+)")


def bad_name(name: str) -> ModelNotFound:
    return ModelNotFound(
        f"'{name}' does not name a model provider. CODEACT_MODEL has the form provider/model, for example"
        " openai/gpt-4.1, anthropic/claude-sonnet-4-5 or ollama_chat/qwen3; with CODEACT_MODEL_API_BASE, any name"
        " that the server there knows."
    )


def failure(exception: Exception, endpoint: Endpoint) -> Failure:
    """Maps an exception of litellm to our error. Any other exception becomes `ModelRefused`."""
    if isinstance(exception, Refused | StreamBroken | NoCompletion):
        return openai_failure(exception, endpoint)
    began = type(exception).__name__ == "MidStreamFallbackError"
    exception = getattr(exception, "original_exception", None) or exception
    known = (ERRORS[base.__name__] for base in type(exception).__mro__ if base.__name__ in ERRORS)
    kind, retry = next(known, (ModelRefused, False))
    reason = _reason(exception)
    names = _names(exception)
    status = getattr(exception, "status_code", None)
    if kind is ModelRefused and status in STATUSES:
        kind, retry = STATUSES[status]
    if _not_connected(exception):
        kind, retry = ModelStreamBroken if began else ModelUnreachable, True
    elif endpoint.key_names and not endpoint.has_key and kind is not ModelNotFound and _NO_KEY.search(reason):
        kind, retry = ModelUnauthorized, False
    elif kind is not ContextTooLong and is_too_long(reason if kind is ModelRefused else "", names):
        kind, retry = ContextTooLong, False
    elif is_used_up(reason, names):
        kind, retry = ModelQuotaExceeded, False
    elif began and kind is ModelUnreachable:
        kind, retry = ModelRefused, False  # The server itself reported the error, so it is reachable.
    after_s = _retry_after(exception)
    error = worded(kind, endpoint, reason, after_s=after_s if kind is ModelRateLimited else None)
    return Failure(error, retry, after_s, reason, loading=is_loading(status, reason))


def _names(exception: Exception) -> tuple[str, ...]:
    """The code and type in the error."""
    body = getattr(exception, "body", None)
    found = [getattr(exception, name, None) for name in ("code", "type")]
    found += [body.get(name) for name in ("code", "type")] if isinstance(body, dict) else []
    return tuple(name for name in found if isinstance(name, str))


def _reason(exception: Exception) -> str:
    """The provider's error message, without litellm's prefixes."""
    lines = str(getattr(exception, "message", "") or exception).strip().splitlines()
    words = _NOISE.sub("", _PREFIXES.sub("", lines[0])) if lines else ""
    return one_line(words) or f"{type(exception).__name__}."


def _not_connected(exception: BaseException | None) -> bool:
    """Whether the connection failed. For some providers litellm reports that as an internal error; the cause tells."""
    seen = 0
    while exception is not None and seen < 10:
        if type(exception).__name__ in ("ConnectError", "ConnectTimeout", "ReadError", "RemoteProtocolError"):
            return True
        exception = exception.__cause__ or exception.__context__
        seen += 1
    return False


def _retry_after(exception: Any) -> float | None:
    """The seconds in a `Retry-After` header; None without one."""
    headers = getattr(exception, "litellm_response_headers", None) or {}
    return seconds(headers.get("retry-after"))
