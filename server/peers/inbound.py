"""Recognises requests that another server of the database has passed on."""

from collections.abc import AsyncIterator, Mapping
from contextlib import nullcontext
from typing import Protocol

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from codeact.errors import CodeActError
from codeact.runs.disk_floor import DiskFloor
from codeact.server.auth.current_caller import begin_request, current_request
from codeact.server.auth.scope_keys import CALLER, PASSED_ON
from codeact.server.base_url import set_base_url
from codeact.server.errors import error_response
from codeact.server.peers.directory import Directory
from codeact.server.peers.signing import HEADER, Claims, Verifier
from codeact.server.peers.spool import IN_MEMORY_BYTES, Spool
from codeact.server.requests.upload_slots import UploadSlots
from codeact.settings import Settings

__all__ = ["FromPeers", "most_body_bytes", "path_of"]

FORM_BYTES = 2**20


class _Limits(Protocol):
    """What large bodies need of the server: free disk space, and a slot."""

    disk: DiskFloor
    uploads: UploadSlots


def most_body_bytes(settings: Settings, method: str) -> int:
    """The limit for the body of a request that is passed on: a file of the largest size, with its form around it.

    Only requests with the method POST have a body.
    """
    if method != "POST":
        return 0
    return max(2 * settings.max_message_bytes, settings.sandbox_spec.limits.file_mb * 2**20 + FORM_BYTES)


class FromPeers:
    """ASGI middleware: for a request with a valid signature of another server, sets `scope[PASSED_ON]` to its `Claims`.

    The body is checked before anybody reads it. A large one counts as an upload of its owner while it arrives. Only
    such requests reach the `internal` paths: to everybody else, they and the header do not exist.
    """

    def __init__(
        self, app: ASGIApp, *, settings: Settings, directory: Directory, secret: bytes, internal: Mapping[str, ASGIApp]
    ) -> None:
        self._app = app
        self._internal = internal
        self._settings = settings
        self._directory = directory
        self._verifier = Verifier(secret)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        claims = self._claims(scope) if scope["type"] == "http" else None
        if claims is None:
            await self._app(scope, receive, send)
            return
        with Spool.open() as body:
            try:
                await self._fill(body, scope, receive, claims)
            except CodeActError as error:
                await error_response(scope, error)(scope, receive, _accepted(claims, send))
                return
            if body.sha256 == claims.body_sha256:
                scope[PASSED_ON] = claims
                send = _accepted(claims, send)
                scope[CALLER] = claims.caller
                set_base_url(claims.base_url)
                begin_request(claims.address)
                current_request().caller = claims.caller
                current_request().recorded = True  # by the server that the client has asked
            app = self._internal.get(scope["path"], self._app) if PASSED_ON in scope else self._app
            await app(scope, _receive(body, receive), send)

    async def _fill(self, body: Spool, scope: Scope, receive: Receive, claims: Claims) -> None:
        """Reads the body. Raises `BodyTooLarge`, and `DiskFull` and `RateLimited` if it would need a file."""
        limits: _Limits = scope["app"].state.codeact
        is_upload = scope["path"] not in self._internal and _length(scope) > IN_MEMORY_BYTES
        if is_upload:
            limits.disk.check()
        async with limits.uploads.slot(claims.caller.owner) if is_upload else nullcontext():
            await body.fill(_body(receive), most_bytes=most_body_bytes(self._settings, scope["method"]))

    def _claims(self, scope: Scope) -> Claims | None:
        header = Headers(scope=scope).get(HEADER)
        if header is None or not self._directory.name:
            return None
        return self._verifier.check(
            header,
            receiver=self._directory.name,
            method=scope["method"],
            path=path_of(scope),
            now=self._directory.now(),
        )


def path_of(scope: Scope) -> bytes:
    """The path and the query of a request, as they were sent."""
    query: bytes = scope["query_string"]
    return bytes(scope["raw_path"]) + (b"?" + query if query else b"")


def _length(scope: Scope) -> int:
    """The length that the request announces; every server announces the one that it passes on."""
    length = Headers(scope=scope).get("content-length", "")
    return int(length) if length.isdecimal() and len(length) < 20 else 0


def _accepted(claims: Claims, send: Send) -> Send:
    """Tells the server that has passed the request on that the answer is an answer to this request."""

    async def marked(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)[HEADER] = claims.nonce
        await send(message)

    return marked


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
