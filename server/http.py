"""uvicorn's HTTP/1.1 and WebSocket protocols, with limits on what a client can make the server hold.

By itself, uvicorn with httptools collects headers and waits for bodies and readers without limits.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.http11 import Request
from websockets.protocol import State

from codeact.ids import new_id
from codeact.server.pending_connections import PendingConnections
from codeact.server.request_ids import HEADER

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application, ASGIReceiveEvent, ASGISendEvent, HTTPScope

__all__ = ["TEXTS", "BoundedHttpProtocol", "BoundedWebSocketProtocol", "http_protocol", "text_frame"]

TEXTS = "codeact.texts"

HEAD_BYTES = 64 * 1024
HEAD_TIMEOUT_S = 20.0
BODY_FIRST_S, BODY_BYTES_PER_S = 20.0, 1_000
"""A body may take 20 s, plus one second for each 1,000 bytes that have arrived."""
BODY_CHECK_S = 2.0
WRITE_BYTES = 64 * 1024
"""After so many bytes of frames, the rest waits until the client has read enough."""
READ_BYTES = 8 * 1024
"""So many bytes of a WebSocket are parsed in one step: they may be more than a thousand frames."""
STALLED_S = 60.0
"""How long a client may not read what has been sent to it."""

TOO_LARGE, TOO_SLOW, BROKEN = "431 Request Header Fields Too Large", "408 Request Timeout", "400 Bad Request"


class BoundedHttpProtocol(HttpToolsProtocol):
    """Closes a connection
    - whose request line and headers exceed 64 KiB (431), or do not arrive within 20 s;
    - whose body arrives too slowly (408), not counting the time in which we do not read it;
    - whose client does not read its answer for a minute;
    - that has waited longest, if more connections wait than are allowed (`PendingConnections`).

    The application is called only when the first bytes of a body have arrived: until then a connection costs little.
    """

    waiting: ClassVar[PendingConnections] = PendingConnections(most=1_000_000, most_per_client=1_000_000)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_bytes = 0
        self._in_head = True
        self._timer: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._body_s = 0.0
        self._body_bytes = 0
        self._start_app: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()
        self._timer = self.loop.call_later(HEAD_TIMEOUT_S, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        self._leave()
        super().handle_websocket_upgrade()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
                self._refuse(TOO_LARGE)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0
        self._wait()
        self._stop_timer()
        self._timer = self.loop.call_later(HEAD_TIMEOUT_S, self.transport.close)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._stop_timer()
        super().on_headers_complete()
        self._body_s, self._body_bytes = 0.0, 0
        self._timer = self.loop.call_later(BODY_CHECK_S, self._check_body)

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        super().on_body(body)
        self._start()

    def on_message_complete(self) -> None:
        self._stop_timer()
        if self.cycle is not None and not self.cycle.response_complete:
            self.waiting.remove(self)
        super().on_message_complete()
        self._start()

    def shutdown(self) -> None:
        """Closes a connection at once if it only waits for the body of a request."""
        super().shutdown()
        if self._start_app is not None:
            self.transport.close()

    def on_response_complete(self) -> None:
        if not self.transport.is_closing():
            self._wait()
        super().on_response_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self.loop.call_later(STALLED_S, self.transport.abort)

    def resume_writing(self) -> None:
        _cancel(self._stalled)
        super().resume_writing()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: "ASGI3Application") -> None:
        """Delays the application until the body begins.

        Not for `Expect: 100-continue`: those clients send no body before the application asks for it.
        """
        start = partial(super()._start_asgi_task, cycle, app)
        if cycle.more_body and not cycle.body and not cycle.waiting_for_100_continue and _has_body(cycle.scope):
            self._start_app = start
        else:
            start()

    def _start(self) -> None:
        start, self._start_app = self._start_app, None
        if start is not None:
            start()

    def _wait(self) -> None:
        for other in self.waiting.add(self, self.client[0] if self.client else ""):
            assert isinstance(other, BoundedHttpProtocol)
            other.transport.close()

    def _leave(self) -> None:
        self._start_app = None
        self.waiting.remove(self)
        self._stop_timer()
        _cancel(self._stalled)

    def _check_body(self) -> None:
        """Checks every two seconds whether enough of the body has arrived."""
        if not self.flow.read_paused:
            self._body_s += BODY_CHECK_S
        if self._body_s <= BODY_FIRST_S + self._body_bytes / BODY_BYTES_PER_S:
            self._timer = self.loop.call_later(BODY_CHECK_S, self._check_body)
            return
        self._timer = None
        if self.cycle is not None and not self.cycle.response_started:
            self._refuse(TOO_SLOW)
        self.transport.close()

    def send_400_response(self, msg: str) -> None:
        self._refuse(BROKEN, msg)

    def _refuse(self, status: str, text: str = "") -> None:
        """Answers a request that never reaches the application, with an id as every answer has, and closes."""
        head = f"HTTP/1.1 {status}\r\n{HEADER}: {new_id('req')}\r\nconnection: close\r\n"
        kind = "content-type: text/plain; charset=utf-8\r\n" if text else ""
        self.transport.write(f"{head}{kind}content-length: {len(text.encode())}\r\n\r\n{text}".encode())
        self.transport.close()

    def _stop_timer(self) -> None:
        _cancel(self._timer)


class BoundedWebSocketProtocol(WebSocketsSansIOProtocol):
    """Closes a connection whose client does not read for a minute, and writes several texts at once.

    An unanswered ping only asks for a close, which waits until everything sent before has been read. Of the pings of a
    client that does not read, only the last ones are answered (RFC 6455, 5.5.3). What a client sends is parsed in
    steps of 8 KiB, between which the event loop serves others; nothing more is read from it meanwhile.

    The ASGI extension `TEXTS` is a field of `websocket.send`: a list of texts, each of which becomes a frame of its
    own. One system call, which is the largest part of what a token costs, writes up to 64 KiB of them.
    """

    _stalled: asyncio.TimerHandle | None = None
    _pongs: Sequence[bytes] = ()
    _unparsed: bytes = b""

    def data_received(self, data: bytes) -> None:
        parses = bool(self._unparsed)
        self._unparsed += data
        if not parses:
            self._parse()

    def _parse(self, *, has_paused: bool = False) -> None:
        part, self._unparsed = self._unparsed[:READ_BYTES], self._unparsed[READ_BYTES:]
        super().data_received(part)
        if self.transport.is_closing():
            self._unparsed = b""
        elif self._unparsed:
            self.transport.pause_reading()
            self.loop.call_soon(partial(self._parse, has_paused=True))
        elif has_paused and not self.read_paused:
            self.transport.resume_reading()

    async def receive(self) -> "ASGIReceiveEvent":
        event = await super().receive()
        if self._unparsed:
            self.transport.pause_reading()
        return event

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.handshake_initiated and not self.handshake_complete:
            self.scope["extensions"][TEXTS] = {}

    async def send(self, message: "ASGISendEvent") -> None:
        texts = message.get(TEXTS)
        if not isinstance(texts, list):
            await super().send(message)
            return
        for parts in _writes(texts):
            while not self.writable.is_set():
                await self.writable.wait()
            if self.disconnected:
                raise ClientDisconnected()
            if self.close_sent or self.conn.state is not State.OPEN:
                raise RuntimeError("Texts can be sent only on an open WebSocket.")
            self.transport.write(b"".join(parts))

    def handle_ping(self) -> None:
        if self.writable.is_set():
            super().handle_ping()
        elif pongs := self.conn.data_to_send():  # Empty for all but the first of several pings that came at once.
            self._pongs = pongs

    def handle_close(self, event: Frame) -> None:
        self._send_pongs()  # They include the answer to a close that came together with pings.
        super().handle_close(event)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self.loop.call_later(STALLED_S, self.transport.abort)

    def resume_writing(self) -> None:
        _cancel(self._stalled)
        super().resume_writing()
        self._send_pongs()

    def connection_lost(self, exc: Exception | None) -> None:
        _cancel(self._stalled)
        super().connection_lost(exc)

    def _send_pongs(self) -> None:
        pongs, self._pongs = self._pongs, ()
        if pongs and not self.transport.is_closing():
            self.transport.write(b"".join(pongs))


def text_frame(content: bytes) -> tuple[bytes, bytes]:
    """The header and the content of a server's unmasked, final text frame (RFC 6455, 5.2)."""
    size = len(content)
    if size < 126:
        return bytes((0x81, size)), content
    if size < 65_536:
        return b"\x81\x7e" + size.to_bytes(2, "big"), content
    return b"\x81\x7f" + size.to_bytes(8, "big"), content


def _writes(texts: Sequence[str]) -> Iterator[list[bytes]]:
    """Divides the frames of these texts into writes: between two of them, a client that does not read is waited for."""
    parts: list[bytes] = []
    size = 0
    for text in texts:
        parts += text_frame(text.encode())
        size += len(parts[-1])
        if size >= WRITE_BYTES:
            yield parts
            parts, size = [], 0
    if parts:
        yield parts


def http_protocol(waiting: PendingConnections) -> type[BoundedHttpProtocol]:
    """The HTTP protocol class of one server, whose connections share these limits."""
    return type("ServerHttpProtocol", (BoundedHttpProtocol,), {"waiting": waiting})


def _has_body(scope: "HTTPScope") -> bool:
    """Whether the headers announce a body (RFC 9112, 6.3)."""
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip() != b"0")
        for name, value in scope["headers"]
    )


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
