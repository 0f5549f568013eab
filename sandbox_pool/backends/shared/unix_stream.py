"""Connects to a Unix socket, or accepts the first connection to one, and returns an anyio `ByteStream`.

anyio's own Unix streams are not used: they fail if one task closes a stream just when another begins to receive.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
from anyio.abc import ByteStream

__all__ = ["UnixStream", "listen_once"]


@dataclass(eq=False)
class UnixStream(ByteStream):
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def connect(cls, path: str) -> "UnixStream":
        """Connects to the socket at this path. Raises `OSError`."""
        return cls(*await asyncio.open_unix_connection(path))

    @classmethod
    async def over(cls, connected: socket.socket) -> "UnixStream":
        """Wraps a connected socket, and closes it with the stream."""
        return cls(*await asyncio.open_unix_connection(sock=connected))

    async def receive(self, max_bytes: int = 65_536) -> bytes:
        try:
            data = await self.reader.read(max_bytes)
        except OSError as error:
            raise anyio.BrokenResourceError from error
        if not data:
            raise anyio.EndOfStream
        return data

    async def send(self, item: bytes) -> None:
        try:
            self.writer.write(item)
            await self.writer.drain()
        except OSError as error:
            raise anyio.BrokenResourceError from error

    async def send_eof(self) -> None:
        with suppress(OSError):
            self.writer.write_eof()

    async def aclose(self) -> None:
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()


@asynccontextmanager
async def listen_once(path: Path) -> AsyncIterator[Callable[[], Awaitable[UnixStream]]]:
    """Listens at this path. The yielded function waits for the first connection, after which listening ends."""
    first: asyncio.Future[UnixStream] = asyncio.get_running_loop().create_future()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if first.done():
            writer.close()
        else:
            first.set_result(UnixStream(reader, writer))
            server.close()

    server = await asyncio.start_unix_server(connected, path)
    try:
        yield lambda: first
    finally:
        server.close()
        if first.done() and not first.cancelled():
            await first.result().aclose()
