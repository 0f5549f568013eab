"""WebSockets to a server of the Responses API: opens them, keeps some open between responses, and closes them at once.

A socket carries one response at a time. The responses of any conversations may follow each other on it.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec

from codeact.models.openai_compatible.errors import Refused, StreamBroken
from codeact.models.responses_api.fields import head_of

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection  # Imported where it is used: not every model needs it.
    from websockets.exceptions import ConnectionClosed

__all__ = ["MAX_FRAME_BYTES", "MAX_IDLE", "NoWebSocket", "Socket", "Sockets", "chain"]

MAX_FRAME_BYTES = 4_000_000
"""The limit for one event. The last one contains the whole answer."""
MAX_QUEUED = 16
"""How many frames are read in advance."""
MAX_IDLE = 8
"""How many idle sockets of one model stay open."""
LONGEST_S, LONGEST_IDLE_S = 50 * 60.0, 5 * 60.0
"""The maximum age and idle time of a socket that is used again. OpenAI closes a socket after an hour."""
STOP_S = 1.0
REASON_CHARS = 200
_STATUSES = {4401: 401, 4403: 403, 4429: 429, 1013: 503}
"""Close codes of servers, and the HTTP statuses that they correspond to."""
_LIMIT = "websocket_connection_limit_reached"


class NoWebSocket(Exception):
    """The server answered without opening a WebSocket. `status` is that of its answer; 0 if the answer was not HTTP."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP status {status}")
        self.status = status


def chain(items: Sequence[bytes]) -> list[bytes]:
    """A digest of each prefix of a conversation: the first is of no items, the last of all."""
    whole = sha256()
    digests = [whole.digest()]
    for item in items:
        whole.update(len(item).to_bytes(8, "big"))
        whole.update(item)
        digests.append(whole.digest())
    return digests


class Socket:
    """One open socket. `holds` says which items the server still has; `response_id` identifies them to the server."""

    def __init__(self, connection: "ClientConnection", now: float) -> None:
        self.opened_at = self.idle_since = now
        self.is_used = False
        self.response_id: str | None = None
        self._last_id: str | None = None
        self._count = 0
        self._digest = b""
        self._connection = connection
        self._first: bytes | None = None

    @property
    def is_open(self) -> bool:
        return self._connection.state.name == "OPEN"

    def remember(self, response_id: str | None, digests: Sequence[bytes]) -> None:
        """Notes that the server has these items, including the response's own. Without an id, it has none."""
        self.response_id, self._count, self._digest = response_id, len(digests) - 1, digests[-1]

    def forget(self) -> None:
        self.response_id = None

    def holds(self, digests: Sequence[bytes]) -> int:
        """How many items of this conversation the server has; 0 if it has another conversation."""
        if self.response_id is None or len(digests) <= self._count or digests[self._count] != self._digest:
            return 0
        return self._count

    async def begin(self, frame: bytes) -> None:
        """Sends a request and waits until the first event of its response.

        Raises the errors of `receive`, and `StreamBroken` if an earlier response is not over. After an exception the
        socket must not be used again.
        """
        await self._send(frame)
        first = await self.receive()
        kind, response_id, code = head_of(first)
        is_late = kind != "error" and (response_id is None or response_id == self._last_id)
        if self.is_used and (is_late or code == _LIMIT):
            raise StreamBroken("The server's socket serves no further response.")
        self.is_used, self._last_id, self._first = True, response_id or self._last_id, first

    async def receive(self) -> bytes:
        """The next event. Raises `Refused` or `StreamBroken` if the server closes the socket."""
        from websockets.exceptions import ConnectionClosed

        if self._first is not None:
            first, self._first = self._first, None
            return first
        try:
            while True:
                if frame := await self._connection.recv(decode=False):
                    return frame
        except ConnectionClosed as error:
            raise _ended(error) from None

    def stop(self) -> None:
        """Closes the connection while a response runs. A server that supports `response.cancel` (ours) stops the
        response.

        At other servers, the closed connection stops it. What cannot be sent within `STOP_S` is dropped.
        """
        if self._last_id is not None and self.is_open:
            cancel = {"type": "response.cancel", "response_id": self._last_id}
            self._connection.protocol.send_text(msgspec.json.encode(cancel))
            self._connection.send_data()
        self._connection.transport.close()
        self._connection.loop.call_later(STOP_S, self.abort)

    def abort(self) -> None:
        """Closes the connection at once, without a closing frame. Idempotent."""
        self._connection.transport.abort()

    async def _send(self, frame: bytes) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            await self._connection.send(frame, text=True)
        except ConnectionClosed as error:
            raise _ended(error) from None


def _ended(error: "ConnectionClosed") -> Refused | StreamBroken:
    """Why the socket was closed, by the server or by us."""
    received, sent = error.rcvd, error.sent
    if received is None:
        too_long = sent is not None and sent.code == 1009
        return StreamBroken(
            f"An event of over {MAX_FRAME_BYTES:,} bytes came." if too_long else "The connection ended."
        )
    reason = received.reason[:REASON_CHARS]
    if (status := _STATUSES.get(received.code)) is not None:
        return Refused(status, (reason or f"The socket was closed with {received.code}").encode())
    said = f": {reason}" if reason else ""
    return StreamBroken(f"The server closed the socket before the answer was complete ({received.code:d}{said}).")


class Sockets:
    """The sockets of one model. At most `MAX_IDLE` idle ones stay open; the number of used ones is not limited here.

    Each socket from `kept` or `opened` must be returned with `keep`, or with `drop` after it was closed.
    """

    def __init__(self, url: str, headers: Callable[[], Mapping[str, str]], *, direct: bool) -> None:
        self._url = "ws" + url.removeprefix("http")
        self._headers = headers
        self._direct = direct
        self._idle: list[Socket] = []
        self._used: set[Socket] = set()
        self._clock = asyncio.get_running_loop().time

    def kept(self, digests: Sequence[bytes]) -> Socket | None:
        """An idle socket whose server has this conversation, or none; None: open a new one.

        If no further idle sockets are allowed, returns the one that has been idle longest.
        """
        now = self._clock()
        for socket in self._idle[:]:
            too_old = now - socket.opened_at > LONGEST_S or now - socket.idle_since > LONGEST_IDLE_S
            if too_old or not socket.is_open:
                self._idle.remove(socket)
                socket.abort()
        best = max(self._idle, key=lambda socket: socket.holds(digests), default=None)
        if best is not None and not best.holds(digests):
            free = next((socket for socket in self._idle if socket.response_id is None), None)
            is_full = len(self._idle) + len(self._used) >= MAX_IDLE
            best = free or (self._idle[0] if is_full else None)
        if best is not None:
            self._idle.remove(best)
            self._used.add(best)
        return best

    async def opened(self) -> Socket:
        """Opens a socket. Raises `NoWebSocket`, and `OSError` if nobody answers. Cancelling closes it."""
        from websockets.asyncio.client import connect
        from websockets.exceptions import InvalidHandshake, InvalidStatus

        class Connecting(connect):
            def process_redirect(self, exc: Exception) -> Exception:
                return exc  # No other host may get the key.

        try:
            connection = await Connecting(
                self._url,
                additional_headers=dict(self._headers()),
                user_agent_header=None,
                compression=None,
                proxy=None if self._direct else True,
                open_timeout=None,
                max_size=MAX_FRAME_BYTES,
                max_queue=MAX_QUEUED,
            )
        except InvalidStatus as error:
            raise NoWebSocket(error.response.status_code) from None
        except InvalidHandshake:
            raise NoWebSocket(0) from None
        socket = Socket(connection, self._clock())
        self._used.add(socket)
        return socket

    def keep(self, socket: Socket) -> None:
        """Takes back a socket whose response is over."""
        self.drop(socket)
        if not socket.is_open or len(self._idle) >= MAX_IDLE:
            socket.abort()
            return
        socket.idle_since = self._clock()
        self._idle.append(socket)

    def drop(self, socket: Socket) -> None:
        """Removes a socket from the used ones. Idempotent."""
        self._used.discard(socket)

    def close(self) -> None:
        """Closes the idle sockets. Idempotent."""
        while self._idle:
            self._idle.pop().abort()
