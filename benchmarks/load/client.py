"""A client of the server's socket that costs little, so that what is measured is the server.

It speaks as much of RFC 6455 as the server needs: whole text frames, pings and the close. Its frames are masked with
zeros, which leaves the text as it is.
"""

import asyncio
import base64
import json
import os
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast
from urllib.parse import urlsplit

__all__ = ["ENDS", "NUMBER", "Closed", "Frame", "Socket"]

NUMBER = re.compile(rb'"sequence_number":(\d+)')
ENDS = tuple(b'{"type":"response.' + end + b'"' for end in (b"completed", b"incomplete", b"failed"))
CONNECT_S = 30.0
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10

Frame = tuple[float, bytes]
"""When a frame arrived (Unix seconds), and its text."""


class Closed(Exception):
    """The server has closed the socket, or refused it."""


class Socket(asyncio.Protocol):
    """One socket. `frames` yields what arrives; a frame's time is that at which its bytes were read."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._frames: list[Frame] = []
        self._arrived = asyncio.Event()
        self._is_open = False
        self._closed = ""
        self._transport: asyncio.Transport | None = None

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str) -> AsyncIterator["Socket"]:
        """Connects to `ws://host:port/path`. Raises `Closed`, `OSError` and `TimeoutError`."""
        parts = urlsplit(url)
        loop = asyncio.get_running_loop()
        transport, socket = await loop.create_connection(cls, parts.hostname, parts.port)
        key = base64.b64encode(os.urandom(16)).decode()
        head = (
            f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        transport.write(head.encode())
        try:
            async with asyncio.timeout(CONNECT_S):
                while not socket._is_open:
                    await socket._more()
            yield socket
        finally:
            transport.abort()

    def send(self, message: dict[str, Any]) -> None:
        self._write(TEXT, json.dumps(message).encode())

    async def frames(self) -> AsyncIterator[list[Frame]]:
        """Yields what has arrived, a list at a time. Raises `Closed`."""
        while True:
            while not self._frames:
                await self._more()
            frames, self._frames = self._frames, []
            yield frames

    async def _more(self) -> None:
        if self._closed:
            raise Closed(self._closed)
        self._arrived.clear()
        await self._arrived.wait()

    def _write(self, kind: int, content: bytes) -> None:
        assert self._transport is not None
        size = len(content)
        length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
        assert size < 65_536
        self._transport.write(bytes([0x80 | kind]) + length + b"\0\0\0\0" + content)

    # ---- asyncio.Protocol ------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's does not inherit from it.

    def connection_lost(self, error: Exception | None) -> None:
        self._closed = self._closed or repr(error)
        self._arrived.set()

    def data_received(self, data: bytes) -> None:
        now = time.time()
        self._buffer += data
        if not self._is_open:
            head, end, rest = bytes(self._buffer).partition(b"\r\n\r\n")
            if not end:
                return
            if b" 101 " not in head.split(b"\r\n")[0]:
                self._closed = head.split(b"\r\n")[0].decode()
            self._is_open, self._buffer = not self._closed, bytearray(rest)
            self._arrived.set()
        at, buffer = 0, self._buffer
        while len(buffer) - at >= 2:
            size, start = buffer[at + 1] & 0x7F, at + 2
            if size >= 126:
                start += 2 if size == 126 else 8
                if len(buffer) < start:
                    break
                size = int.from_bytes(buffer[at + 2 : start], "big")
            if len(buffer) < start + size:
                break
            self._frame(buffer[at] & 0x0F, bytes(buffer[start : start + size]), now)
            at = start + size
        del buffer[:at]

    def _frame(self, kind: int, content: bytes, now: float) -> None:
        if kind == TEXT:
            self._frames.append((now, content))
        elif kind == PING:
            self._write(PONG, content)
        elif kind == CLOSE:
            self._closed = f"{int.from_bytes(content[:2], 'big')} {content[2:].decode(errors='replace')}"
        self._arrived.set()
