"""Middleware: what a request begins belongs to the trace that its `traceparent` names."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from codeact import telemetry

__all__ = ["TracedRequests"]


class TracedRequests:
    """Takes the W3C trace context of HTTP requests and of the handshake of sockets."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = Headers(scope=scope) if scope["type"] in ("http", "websocket") else {}
        with telemetry.remote(found):
            await self._app(scope, receive, send)
