"""Recognises requests that another server of the database has passed on."""

from collections.abc import AsyncIterator, Mapping

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from codeact.server.auth.current_caller import begin_request, current_request
from codeact.server.auth.scope_keys import CALLER, PASSED_ON
from codeact.server.base_url import set_base_url
from codeact.server.errors import error_response
from codeact.server.peers.directory import Directory
from codeact.server.peers.signing import HEADER, Claims, Verifier
from codeact.server.peers.spool import BodyTooLarge, Spool
from codeact.settings import Settings

__all__ = ["FromPeers", "most_body_bytes"]


def most_body_bytes(settings: Settings) -> int:
    """The limit for the body of a request that is passed on: a file of the largest size, with its form around it."""
    return max(2 * settings.max_message_bytes, settings.sandbox_spec.limits.file_mb * 2**20 + 2**20)


class FromPeers:
    """ASGI middleware: for a request with a valid signature of another server, sets `scope[PASSED_ON]` to its `Claims`.

    The body is checked before anybody reads it. Only such requests reach the `internal` paths: to everybody else, they
    and the header do not exist.
    """

    def __init__(
        self, app: ASGIApp, *, settings: Settings, directory: Directory, secret: bytes, internal: Mapping[str, ASGIApp]
    ) -> None:
        self._app = app
        self._internal = internal
        self._most_bytes = most_body_bytes(settings)
        self._directory = directory
        self._verifier = Verifier(secret)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        claims = self._claims(scope) if scope["type"] == "http" else None
        if claims is None:
            await self._app(scope, receive, send)
            return
        with Spool.open() as body:
            try:
                await body.fill(_body(receive), most_bytes=self._most_bytes)
            except BodyTooLarge as error:
                await error_response(scope, error)(scope, receive, send)
                return
            if body.sha256 == claims.body_sha256:
                scope[PASSED_ON] = claims
                scope[CALLER] = claims.caller
                set_base_url(claims.base_url)
                begin_request(claims.address)
                current_request().caller = claims.caller
                current_request().recorded = True  # by the server that the client has asked
            app = self._internal.get(scope["path"], self._app) if PASSED_ON in scope else self._app
            await app(scope, _receive(body, receive), send)

    def _claims(self, scope: Scope) -> Claims | None:
        header = Headers(scope=scope).get(HEADER)
        if header is None or not self._directory.name:
            return None
        query = scope["query_string"].decode("latin-1")
        path = scope["raw_path"].decode("latin-1") + (f"?{query}" if query else "")
        return self._verifier.check(
            header,
            receiver=self._directory.name,
            method=scope["method"],
            path=path,
            now=self._directory.now(),
        )


async def _body(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return
        yield message.get("body", b"")
        if not message.get("more_body", False):
            return


def _receive(body: Spool, receive: Receive) -> Receive:
    """Gives the spooled body, and then what the connection gives."""
    pieces = body.pieces()
    ended = False

    async def again() -> Message:
        nonlocal ended
        if ended:
            return await receive()
        piece = await anext(pieces, b"")
        ended = not piece
        return {"type": "http.request", "body": piece, "more_body": not ended}

    return again
