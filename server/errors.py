"""Turns our exceptions into error envelopes for HTTP and sockets: OpenAI's, or Anthropic's for its clients."""

import math
from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope

from codeact.disclosure import disclosed
from codeact.errors import CodeActError, ModelError, Overloaded
from codeact.events import ResponseError
from codeact.server.blob_urls import with_urls
from codeact.server.request_ids import ids_of, is_anthropic, request_id_of
from sandbox_pool.errors import AtCapacity, FileError, FileLimit, FileNotFound, FileRefused, QuotaExceeded, SandboxError

__all__ = [
    "HANDLERS",
    "Unauthorized",
    "close_reason",
    "envelope",
    "error_response",
    "json_response",
    "message_envelope",
    "raised",
    "status_of",
]


FILES: dict[type[FileError], int] = {FileNotFound: 404, FileRefused: 400, FileLimit: 413}

ANTHROPIC_KINDS = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
}
"""What Anthropic's API calls errors with these statuses."""


class Unauthorized(CodeActError):
    """The API key is missing or wrong."""

    code = "invalid_api_key"
    status = 401


def status_of(error: CodeActError | SandboxError) -> int:
    """The HTTP status of an error of ours.

    An unavailable sandbox is 503, or 429 if the owner's other sandboxes are the reason; a missing file is 404; any
    other `SandboxError` is 500.
    """
    if isinstance(error, CodeActError):
        return error.status
    if isinstance(error, FileError):
        return next((status for kind, status in FILES.items() if isinstance(error, kind)), 502)
    if isinstance(error, QuotaExceeded):
        return 429
    return 503 if error.retryable else 500


def close_reason(message: str) -> str:
    """Shortens the message to the 123 bytes that a close frame can hold (RFC 6455, 5.5)."""
    return message.encode()[:123].decode(errors="ignore")


def envelope(error: CodeActError | SandboxError) -> dict[str, Any]:
    """`{"error": {message, type, code, param}}` as in the standard, with what the current reader may see."""
    status = status_of(error)
    code, message = disclosed(error)
    param = getattr(error, "param", None)
    kind = "model_error" if isinstance(error, ModelError) and status >= 500 else _kind(status)
    return {"error": {"message": message, "type": kind, "code": code, "param": param}}


def message_envelope(error: CodeActError | SandboxError, request_id: str) -> dict[str, Any]:
    """`{"type": "error", "error": {type, message, …}, "request_id"}` as in Anthropic's API; see `envelope`."""
    return _as_anthropic(envelope(error)["error"], status_of(error), request_id)


def error_response(scope: Scope, error: CodeActError | SandboxError, headers: dict[str, str] | None = None) -> Response:
    """The answer about an error, in the form that the request's API has."""
    return _error(scope, envelope(error)["error"], status_of(error), headers)


def _error(scope: Scope, body: dict[str, Any], status: int, headers: Mapping[str, str] | None = None) -> Response:
    whole = _as_anthropic(body, status, request_id_of(scope)) if is_anthropic(scope) else {"error": body}
    return json_response(whole, status, dict(headers or {}))


def _as_anthropic(body: dict[str, Any], status: int, request_id: str) -> dict[str, Any]:
    kind = "overloaded_error" if body["code"] == Overloaded.code or status == 503 else ANTHROPIC_KINDS.get(status)
    kind = kind or ("api_error" if status >= 500 else "invalid_request_error")
    param = f" (at {body['param']})" if body["param"] and f"'{body['param']}'" not in body["message"] else ""
    error = {"type": kind, "message": f"{body['message']}{param}", "details": {"error_code": body["code"]}}
    return {"type": "error", "error": body | error, "request_id": request_id}


def raised(error: ResponseError) -> CodeActError:
    """Recreates an exception from the error of a response."""
    kinds = [CodeActError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    known = next((kind for kind in kinds if kind.code == error.code), CodeActError)
    root = ModelError if issubclass(known, ModelError) else CodeActError
    exception = root(error.message, code=error.code)
    exception.status = known.status  # type: ignore[misc]
    return exception


def _kind(status: int) -> str:
    """The Open Responses specification's name for this kind of error."""
    kinds = {404: "not_found", 429: "too_many_requests"}
    return kinds.get(status, "server_error" if status >= 500 else "invalid_request")


def json_response(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON response encoded by msgspec, with URLs in place of references to blobs."""
    return Response(with_urls(msgspec.json.encode(content)), status, headers, media_type="application/json")


async def _ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, CodeActError | SandboxError)
    retry_after_s = error.retry_after_s if isinstance(error, CodeActError | AtCapacity) else None
    headers = {"Retry-After": str(math.ceil(retry_after_s))} if retry_after_s is not None else None
    return error_response(request.scope, error, headers)


_CODES = {404: "unknown_url", 405: "method_not_allowed"}


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = error.detail
    if error.status_code == 404:
        message = f"There is nothing at {request.method} {request.url.path}; /openapi.json lists what this server has."
    elif error.status_code == 405:
        message = f"{request.url.path} does not take {request.method}."
    body = {"message": message, "type": _kind(error.status_code), "code": _CODES.get(error.status_code), "param": None}
    headers = {**(error.headers or {}), **({"Allow": _methods(request)} if error.status_code == 405 else {})}
    return _error(request.scope, body, error.status_code, headers)


def _methods(request: Request) -> str:
    """All methods that the routes of the path accept."""
    routes = [route for route in request.app.routes if isinstance(route, Route)]
    here = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    return ", ".join(sorted({method for route in here for method in route.methods or ()}))


async def _unforeseen(request: Request, error: Exception) -> Response:
    body = {
        "message": "An internal error; the server's log has it.",
        "type": "server_error",
        "code": "server_error",
        "param": None,
    }
    # Starlette sends this answer outside of all middleware.
    return _error(request.scope, body, 500, ids_of(request.scope))


async def _gone(request: Request, error: Exception) -> Response:
    """The client disconnected before its body had arrived. Nobody reads this answer, and it is not our failure."""
    body = {"message": "The body did not arrive.", "type": _kind(400), "code": "client_disconnected", "param": None}
    return _error(request.scope, body, 400)


HANDLERS = {
    CodeActError: _ours,
    SandboxError: _ours,
    HTTPException: _http,
    ClientDisconnect: _gone,
    Exception: _unforeseen,
}
"""Exception handlers for Starlette."""
