"""Who may connect: a request's headers enter, the owner's name leaves or a refusal.

Two dangers on loopback too: a web page in the user's browser that talks to us (checked by `Origin`), and a
hostile name that resolves to 127.0.0.1 (DNS rebinding, checked by `Host`).
"""

import hashlib
import hmac
import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from codeact.errors import CodeActError, ConfigurationError
from codeact.settings import Settings
from server.errors import Unauthorized, envelope, json_response

__all__ = ["Guard", "check_exposure", "is_loopback", "owner_of"]

LOCAL_OWNER = "local"


class Forbidden(CodeActError):
    """The request comes from a page or by a name that is not ours."""

    code = "forbidden_origin"
    status = 403


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_exposure(settings: Settings) -> None:
    """Raises `ConfigurationError` where a stranger could reach the server and nothing would stop them."""
    if not is_loopback(settings.host) and not settings.api_keys and not settings.allow_unauthenticated:
        raise ConfigurationError(
            f"CODEACT_HOST is {settings.host}, which others can reach, but no API key is set. Set CODEACT_API_KEYS"
            " (comma-separated), or CODEACT_ALLOW_UNAUTHENTICATED=true if something in front checks who comes.",
            param="CODEACT_HOST",
        )


def owner_of(connection: HTTPConnection) -> str:
    """The owner that the request's key stands for. Without configured keys everybody is `local`.

    Raises `Unauthorized`. The key is a bearer token (RFC 6750).
    """
    settings: Settings = connection.app.state.settings
    if not settings.api_keys:
        return LOCAL_OWNER
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    given = token.strip().encode() if scheme.lower() == "bearer" else b""
    for key in settings.api_keys:
        if hmac.compare_digest(given, key.get_secret_value().encode()):
            return f"key-{hashlib.sha256(given).hexdigest()[:16]}"
    what = "is not valid" if given else "is missing"
    raise Unauthorized(f"The API key {what}. Send 'Authorization: Bearer KEY' with one of CODEACT_API_KEYS.")


class Guard:
    """ASGI middleware that refuses foreign pages and foreign names with 403 (sockets: closed with 4403)."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self._app(scope, receive, send)
        refusal = self._refusal(Headers(scope=scope))
        if refusal is None:
            return await self._app(scope, receive, send)
        if scope["type"] == "http":
            return await json_response(envelope(refusal), refusal.status)(scope, receive, send)
        socket = WebSocket(scope, receive, send)
        await socket.accept()
        return await socket.close(4403, refusal.message[:120])

    def _refusal(self, headers: Headers) -> Forbidden | None:
        host = headers.get("host", "")
        name = urlsplit(f"//{host}").hostname or ""
        if is_loopback(self._settings.host) and not is_loopback(name):
            return Forbidden(f"The name '{name}' is not this server's; use http://{self._settings.host}.")
        origin = headers.get("origin")
        if origin is None or origin in self._settings.allowed_origins:
            return None
        if urlsplit(origin).netloc == host:
            return None
        return Forbidden(f"Pages of {origin} may not use this server; CODEACT_ALLOWED_ORIGINS lists those that may.")
