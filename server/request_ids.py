"""Gives each request an id, which is in its answer's header `x-request-id`, and `request-id` for Anthropic's API."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from codeact.ids import new_id

__all__ = ["HEADER", "RequestIds", "ids_of", "is_anthropic", "is_messages", "request_id_of"]

HEADER, ANTHROPIC_HEADER = "x-request-id", "request-id"
MESSAGES = "/v1/messages"
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
        scope[KEY] = new_id("req")

        async def send_with_id(message: Message) -> None:
            if message["type"] in ANSWERS:
                message.setdefault("headers", [])
                MutableHeaders(scope=message).update(ids_of(scope))
            await send(message)

        await self._app(scope, receive, send_with_id)


def request_id_of(scope: Scope) -> str:
    """The id of the request; empty if it did not pass the middleware."""
    return str(scope.get(KEY, ""))


def is_messages(path: str) -> bool:
    """Whether the path belongs to Anthropic's Messages API."""
    return path == MESSAGES or path.startswith(f"{MESSAGES}/")


def is_anthropic(scope: Scope) -> bool:
    """Whether the request is one of Anthropic's API: it is sent to `/v1/messages`, or names the API's version."""
    return is_messages(scope["path"]) or "anthropic-version" in Headers(scope=scope)


def ids_of(scope: Scope) -> dict[str, str]:
    """The headers with the request's id."""
    names = (HEADER, ANTHROPIC_HEADER) if is_anthropic(scope) else (HEADER,)
    return dict.fromkeys(names, request_id_of(scope))
