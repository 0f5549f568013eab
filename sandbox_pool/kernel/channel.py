"""One connection to a kernel's socket. It is opened once, monitored, and never reopened."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from socket import socket
from typing import Literal, Self, cast

from sandbox_pool.kernel import zmtp
from sandbox_pool.kernel.zmtp import TooLarge

__all__ = ["Channel"]

RETRY_S = 0.01
HEARTBEAT_S = 5.0
SILENCE_S = 30.0
SUBSCRIBE_TO_ALL = b"\x01"
READ_BYTES = 65_536
LONGEST_WAIT_S = 0.5
WRITE_BYTES = 16_000_000
"""How many unsent bytes may wait for a kernel that does not read; beyond that, the connection is closed."""
TURN_S = 0.002
"""How long one channel may process messages before other tasks of the event loop get their turn."""


class Channel(asyncio.BufferedProtocol):
    """A ZMTP connection to one socket of a kernel.

    `on_message` is called with the frames of each message, or with `TooLarge` for a message over `limit_bytes`, which
    is dropped. The channel buffers about `limit_bytes` at most, and stops reading while it is busy.
    """

    def __init__(
        self,
        limit_bytes: int,
        on_message: Callable[[list[bytes] | TooLarge], None],
        pay: Callable[[float], float] = lambda seconds: 0.0,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_message = on_message
        self._pay = pay
        self.overflowed = False
        self._transport: asyncio.Transport | None = None
        self._received = zmtp.Receiver(limit_bytes)
        self._buffer = bytearray(READ_BYTES)
        self._ready = asyncio.Event()
        self._ended = asyncio.Event()
        self._lost = False
        self._waits_for_turn = False
        self._unanswered = 0
        self._pongs = 0
        self._beat: asyncio.TimerHandle | None = None

    @classmethod
    async def open(
        cls,
        address: str,
        kind: Literal["DEALER", "SUB"],
        *,
        limit_bytes: int,
        on_message: Callable[[list[bytes] | TooLarge], None],
        heartbeat: bool = False,
        pay: Callable[[float], float] = lambda seconds: 0.0,
        dial: Callable[[], Awaitable[socket]] | None = None,
    ) -> Self:
        """Connects; retries for as long as nothing listens at the address or the peer does not speak ZMTP.

        With `heartbeat`, the channel also closes when the peer has answered no ping for 30 s: the kernel may have died
        while a forked child keeps the connection open. `pay` is called with the CPU seconds that reading took, and
        returns for how many seconds the channel must read nothing. Cancelling closes the connection. With `dial`, that
        function connects instead of `address`.
        """
        while True:
            channel = cls(limit_bytes, on_message, pay)
            try:
                if dial is None:
                    await channel._connect(address)
                else:
                    await channel._take_over(await dial())
                channel._write(zmtp.GREETING + zmtp.ready(kind))
                await channel._ready.wait()
            except OSError:
                pass
            except BaseException:
                channel.close()
                raise
            if channel._received.is_ready:
                break
            await asyncio.sleep(RETRY_S)
        if kind == "SUB":
            channel.send([SUBSCRIBE_TO_ALL])
        if heartbeat:
            channel._keep_alive()
        return channel

    async def _connect(self, address: str) -> None:
        transport, _, place = address.partition("://")
        if transport == "ipc":
            await self._loop.create_unix_connection(lambda: self, place)
        else:
            host, _, port = place.rpartition(":")
            await self._loop.create_connection(lambda: self, host, int(port))

    async def _take_over(self, connection: socket) -> None:
        try:
            await self._loop.create_connection(lambda: self, sock=connection)
        except BaseException:
            connection.close()
            raise

    def send(self, frames: Sequence[bytes]) -> None:
        """Queues one message. Does nothing if the connection has ended.

        When more than 16 MB are queued, the connection is closed and `overflowed` is set.
        """
        self._write(zmtp.message(frames))
        if self._transport is not None and self._transport.get_write_buffer_size() > WRITE_BYTES:
            self.overflowed = True
            self._abort()

    def limit(self, limit_bytes: int) -> None:
        """Sets the size limit of the following messages."""
        self._received.limit_bytes = limit_bytes

    async def ended(self) -> None:
        """Returns when the connection has ended and all received messages have been delivered."""
        await self._ended.wait()

    def close(self) -> None:
        """Closes the connection at once and delivers no more messages. Idempotent."""
        self._on_message = lambda message: None
        self._abort()

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._lost:
            self._transport.write(data)

    def _abort(self) -> None:
        if self._beat is not None:
            self._beat.cancel()
        if self._transport is not None:
            self._transport.abort()

    def _keep_alive(self) -> None:
        if self._received.pongs != self._pongs:
            self._pongs, self._unanswered = self._received.pongs, 0
        # Pings are counted instead of seconds: after a pause of this process, answers may still wait to be read.
        if self._unanswered * HEARTBEAT_S >= SILENCE_S:
            self._abort()
        else:
            self._unanswered += 1
            self._write(zmtp.PING)
            self._beat = self._loop.call_later(HEARTBEAT_S, self._keep_alive)

    # ---- called by the event loop ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._received.feed(memoryview(self._buffer)[:nbytes])
        if not self._waits_for_turn:
            self._pass_on()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        if self._beat is not None:
            self._beat.cancel()
        if not self._waits_for_turn:
            self._pass_on()

    def _pass_on(self) -> None:
        """Delivers the complete messages. If that takes too long, schedules the rest for a later turn of the loop."""
        turn_ends_at = self._loop.time() + TURN_S
        began = time.thread_time()
        is_over = False
        try:
            while not is_over and (message := self._received.receive()) is not None:
                self._on_message(message)
                is_over = self._loop.time() > turn_ends_at
        except ValueError:
            self._abort()
        wait_s = self._pay(time.thread_time() - began)
        if is_over or (wait_s and not self._lost):
            self._wait_for_turn(wait_s)
            return
        if self._received.is_ready or self._lost:
            self._ready.set()
        if self._lost:
            self._ended.set()
        elif self._waits_for_turn and self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
        self._waits_for_turn = False

    def _wait_for_turn(self, wait_s: float) -> None:
        if not self._waits_for_turn and self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()
        self._waits_for_turn = True
        self._loop.call_later(min(wait_s, LONGEST_WAIT_S), self._pass_on)
