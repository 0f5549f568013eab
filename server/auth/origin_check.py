"""Checks a request's `Host` and `Origin` headers before anything else reads the request.

Two attacks work even against a loopback address: a web page in the user's browser that calls us (checked by `Origin`),
and a hostile name that resolves to 127.0.0.1 (DNS rebinding, checked by `Host`).
"""

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from codeact.disclosure import read_by, to_strangers
from codeact.errors import CodeActError
from codeact.loopback import is_loopback
from codeact.server.auth.scope_keys import PASSED_ON
from codeact.server.errors import close_reason, error_response
from codeact.settings import Settings

__all__ = ["Forbidden", "OriginCheck", "host_name", "is_own"]


LIBRARIES = "/vendor/"
"""Public libraries of ours, which the frames of charts and PDF files load. Such a frame has the origin `null`."""


class Forbidden(CodeActError):
    """The request comes from a foreign page or uses a foreign host name."""

    code = "forbidden_origin"
    status = 403


def host_name(host: str) -> str:
    """The name in a `Host` header, without the port; empty if the header is malformed."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def is_own(origin: str, host: str, settings: Settings) -> bool:
    """Whether pages of this origin are ours: its host is that of the request, or that of CODEACT_PUBLIC_URL."""
    try:
        url, public = urlsplit(origin), urlsplit(settings.public_url or "")
    except ValueError:
        return False
    if not url.netloc:  # the origin `null`, of a sandboxed frame or a file
        return False
    return url[:2] == public[:2] if url.netloc == public.netloc else url.netloc == host


class OriginCheck:
    """ASGI middleware that refuses foreign pages and foreign host names with 403 (sockets: closes with 4403)."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._public = urlsplit(settings.public_url or "")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or PASSED_ON in scope:
            return await self._app(scope, receive, send)
        read_by(to_strangers)  # until the caller is known
        refusal = self._refusal(Headers(scope=scope), scope["path"])
        if refusal is None:
            return await self._app(scope, receive, send)
        if scope["type"] == "http":
            return await error_response(scope, refusal)(scope, receive, send)
        socket = WebSocket(scope, receive, send)
        await socket.accept()
        return await socket.close(4403, close_reason(refusal.message))

    def _refusal(self, headers: Headers, path: str) -> Forbidden | None:
        host = headers.get("host", "")
        name = host_name(host)
        # Every browser sends `Host`. What sends none, such as the health checks of haproxy, is no page.
        has_host = "host" in headers
        settings = self._settings
        # Without keys, only a foreign name reveals a hostile page. With keys, such a page has no credentials anyway.
        counts = is_loopback(settings.host) or bool(settings.allow_unauthenticated and self._public.hostname)
        if counts and has_host and not is_loopback(name) and name != self._public.hostname:
            ours = settings.public_url or f"http://{settings.host}"
            return Forbidden(
                f"The name '{name}' is not this server's; use {ours}, or say by CODEACT_PUBLIC_URL which name the proxy"
                " before it has."
            )
        origin = headers.get("origin")
        if origin is None or origin in settings.allowed_origins or is_own(origin, host, settings):
            return None
        if path.startswith(LIBRARIES):
            return None
        return Forbidden(f"Pages of {origin} may not use this server; CODEACT_ALLOWED_ORIGINS lists those that may.")
