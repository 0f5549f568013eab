"""Gives each request an id, which is in its answer's header `x-request-id`."""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from codeact.ids import new_id

__all__ = ["HEADER", "RequestIds", "request_id_of"]

HEADER = "x-request-id"
ANSWERS = ("http.response.start", "websocket.accept", "websocket.http.response.start")
KEY = "codeact.request_id"


class RequestIds:
    """ASGI middleware: every answer gets its own id, including errors and WebSocket handshakes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        request_id = scope[KEY] = new_id("req")

        async def send_with_id(message: Message) -> None:
            if message["type"] in ANSWERS:
                message.setdefault("headers", [])
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        await self._app(scope, receive, send_with_id)


def request_id_of(scope: Scope) -> str:
    """The id of the request; empty if it did not pass the middleware."""
    return str(scope.get(KEY, ""))
