"""Middleware that continues the trace in a request's `traceparent` header."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from codeact import telemetry

__all__ = ["TracedRequests"]


class TracedRequests:
    """Reads the W3C trace context of HTTP requests and WebSocket handshakes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = Headers(scope=scope) if scope["type"] in ("http", "websocket") else {}
        with telemetry.remote(found):
            await self._app(scope, receive, send)
