"""An address enters, one connection to a kernel's socket leaves: opened once, watched, never reopened."""

import asyncio
import functools
from collections.abc import Sequence
from typing import Self

import zmq
import zmq.asyncio
from zmq.utils.monitor import recv_monitor_message

__all__ = ["Channel"]

RETRY_S = 0.01
FRAME_BYTES = 64 * 1024 * 1024
RECEIVE_HWM = 1000
HEARTBEAT_MS = 5_000
HEARTBEAT_TIMEOUT_MS = 30_000
NEVER_MS = 1_000_000_000
MAX_SOCKETS = 65_535

ENDED = (
    zmq.Event.DISCONNECTED
    | zmq.Event.CONNECT_RETRIED
    | zmq.Event.HANDSHAKE_FAILED_NO_DETAIL
    | zmq.Event.HANDSHAKE_FAILED_PROTOCOL
)


class Channel:
    """A connected ZeroMQ socket. A frame over 64 MiB from the other side ends the connection."""

    def __init__(self, kind: int, *, heartbeat: bool) -> None:
        self._socket = _context().socket(kind)
        self._monitor = self._socket.get_monitor_socket(zmq.Event.HANDSHAKE_SUCCEEDED | ENDED)
        self._socket.maxmsgsize = FRAME_BYTES
        # When it is reached, our side reads no more and the kernel has to wait (it never drops, XPUB_NODROP).
        self._socket.rcvhwm = RECEIVE_HWM
        # -1, "no reconnection", would also throw away what was received but not read yet.
        self._socket.reconnect_ivl = NEVER_MS
        if heartbeat:
            self._socket.heartbeat_ivl = HEARTBEAT_MS
            self._socket.heartbeat_timeout = HEARTBEAT_TIMEOUT_MS
        if kind == zmq.SUB:
            self._socket.subscribe(b"")

    @classmethod
    async def open(cls, address: str, kind: int, *, heartbeat: bool = False) -> Self:
        """A connection on which the other side speaks ZMTP. Tries for as long as nobody listens there.

        `heartbeat` also ends it when the other side has been silent for 30 s: a process that died while a
        forked child of it holds the connection open.
        """
        while True:
            channel = cls(kind, heartbeat=heartbeat)
            try:
                channel._socket.connect(address)
                if await channel._next_event() == zmq.Event.HANDSHAKE_SUCCEEDED:
                    return channel
            except BaseException:
                channel.close()
                raise
            channel.close()
            await asyncio.sleep(RETRY_S)

    def send(self, frames: Sequence[bytes]) -> None:
        """Queues one message; nothing happens once the connection has ended."""
        if not self._socket.closed:
            # The asynchronous socket sends at once, or when it can, without being awaited.
            self._socket.send_multipart(frames)

    async def receive(self) -> list[bytes]:
        """The frames of the next message. Safe to cancel."""
        frames: list[bytes] = await self._socket.recv_multipart()
        return frames

    async def quiet(self, gap_ms: int) -> None:
        """Returns when nothing waits to be read and nothing has come for this time."""
        while await self._socket.poll(gap_ms):  # noqa: ASYNC110
            await asyncio.sleep(0)  # The reader's turn.

    async def ended(self) -> None:
        """Returns when the connection has ended; what was received before can still be read."""
        await self._next_event()

    def close(self) -> None:
        self._socket.disable_monitor()
        self._monitor.close(linger=0)
        self._socket.close(linger=0)

    async def _next_event(self) -> int:
        message = await recv_monitor_message(self._monitor)
        return int(message["event"])


@functools.cache
def _context() -> zmq.asyncio.Context:
    context = zmq.asyncio.Context()
    context.set(zmq.MAX_SOCKETS, MAX_SOCKETS)
    return context
