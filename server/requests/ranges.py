"""Sends a whole file, or one range of it (RFC 9110, section 14)."""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from codeact.errors import CodeActError, InvalidRequest
from codeact.server.errors import error_response
from codeact.store import Store
from codeact.store.repositories.blob_parts import StoredBlob
from sandbox_pool.errors import SandboxError

__all__ = ["FileResponse", "RangeNotSatisfiable", "Source", "blob_source", "wanted_range"]

log = structlog.get_logger(__name__)

PIECE_BYTES = 262_144
_RANGE = re.compile(r"bytes[ \t]*=[ \t]*(\d{0,18})-(\d{0,18})[ \t]*", re.ASCII | re.IGNORECASE)


class RangeNotSatisfiable(InvalidRequest):
    """The range begins after the end of the file."""

    code = "range_not_satisfiable"
    status = 416


@dataclass(frozen=True, slots=True)
class Source:
    """Content to send. `read(start, stop)` yields its bytes in pieces. `etag` identifies content that never changes."""

    size_bytes: int
    read: Callable[[int, int], AsyncGenerator[bytes, None]]
    etag: str | None = None


def wanted_range(header: str | None, size_bytes: int) -> tuple[int, int] | None:
    """The start and end (exclusive) of the single range in a `Range` header.

    None if the whole file must be sent: without a header, for several ranges, other units, or an invalid range. Raises
    `RangeNotSatisfiable` if no byte of the file is in the range.
    """
    match = _RANGE.fullmatch(header) if header is not None else None
    if match is None or not (match[1] or match[2]) or (match[1] and match[2] and int(match[1]) > int(match[2])):
        return None
    if match[1]:
        start, stop = int(match[1]), min(int(match[2]) + 1 if match[2] else size_bytes, size_bytes)
    else:
        start, stop = max(0, size_bytes - int(match[2])), size_bytes
    if start >= stop:
        raise RangeNotSatisfiable(
            f"The range begins after the end: there are {size_bytes} bytes. Ask for 'bytes=FIRST-LAST' within them.",
            param="Range",
        )
    return start, stop


class FileResponse(Response):
    """Opens the source when the response is sent, and sends it in pieces of at most 256 KiB.

    An error before the first byte is raised. A later one closes the connection before the announced end, which tells
    the client.
    """

    def __init__(
        self, opened: AbstractAsyncContextManager[Source], request: Request, *, media_type: str, headers: dict[str, str]
    ) -> None:
        super().__init__(media_type=media_type, headers={"Accept-Ranges": "bytes", **headers})
        del self.headers["content-length"]  # Starlette has set it for an empty body.
        self._opened = opened
        self._range = request.headers.get("range") if request.method == "GET" else None
        self._if_range = request.headers.get("if-range")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = False
        try:
            async with self._opened as source:
                try:
                    start, stop = self._place(source)
                except RangeNotSatisfiable as error:
                    headers = {"Content-Range": f"bytes */{source.size_bytes}"}
                    await error_response(scope, error, headers)(scope, receive, send)
                    return
                async with aclosing(source.read(start, stop)) as pieces:
                    piece = await anext(pieces, b"")
                    began = True
                    await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                    while piece:
                        for at in range(0, len(piece), PIECE_BYTES):
                            body = piece[at : at + PIECE_BYTES]
                            await send({"type": "http.response.body", "body": body, "more_body": True})
                        piece = await anext(pieces, b"")
        except (CodeActError, SandboxError) as error:
            if not began:
                raise
            log.warning("download cut off", path=scope["path"], reason=error.message)
            return
        await send({"type": "http.response.body", "body": b""})

    def _place(self, source: Source) -> tuple[int, int]:
        """The range to send. Sets the status and the headers for it."""
        if source.etag is not None:
            self.headers["etag"] = source.etag
        holds = self._if_range is None or self._if_range == source.etag
        wanted = wanted_range(self._range, source.size_bytes) if holds else None
        start, stop = wanted or (0, source.size_bytes)
        if wanted is not None:
            self.status_code = 206
            self.headers["content-range"] = f"bytes {start}-{stop - 1}/{source.size_bytes}"
        self.headers["content-length"] = str(stop - start)
        return start, stop


@asynccontextmanager
async def blob_source(store: Store, blob: StoredBlob) -> AsyncIterator[Source]:
    """The source of a blob. Its content never changes, because its name is the hash of the content."""
    yield Source(blob.size_bytes, lambda start, stop: store.blob_parts.read(blob, start, stop), f'"{blob.sha256}"')
