"""A request enters, after which its connection is a process's stdin and stdout; those leave as one stream.

API: Docker Engine, "Attach to a container" (the connection is taken over; stdout and stderr come in frames).
"""

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import anyio
from anyio.abc import ByteStream
from anyio.streams.buffered import BufferedByteReceiveStream

from sandbox_pool.errors import EngineUnavailable

__all__ = ["STDERR", "STDOUT", "ProcessStream"]

HEAD_BYTES = 8_192
FRAME_HEAD_BYTES = 8
STDOUT, STDERR = 1, 2
PIECE_BYTES = 65_536


@dataclass(eq=False)
class ProcessStream(ByteStream):
    """Over a connection of its own, which it closes; its end closes the process's stdin.

    Of what the process writes, `outputs` are received, mixed, and the rest is passed over.
    """

    connection: ByteStream
    outputs: Collection[int] = (STDOUT,)
    _received: BufferedByteReceiveStream = field(init=False)
    _left: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._received = BufferedByteReceiveStream(self.connection)

    async def start(self, exec_id: str) -> None:
        """Starts the process of a prepared `exec`. Raises `EngineUnavailable` with the engine's answer."""
        await self._take_over(f"/exec/{exec_id}/start", {"Detach": False, "Tty": False})

    async def attach(self, container: str) -> None:
        """To the first process of a container, which need not run yet. Raises as `start`."""
        await self._take_over(f"/containers/{container}/attach?stream=1&stdout=1&stderr=1", {})

    async def _take_over(self, path: str, request: dict[str, Any]) -> None:
        body = json.dumps(request)
        await self.connection.send(
            f"POST {path} HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\n"
            f"Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        try:
            head = await self._received.receive_until(b"\r\n\r\n", HEAD_BYTES)
        except (anyio.IncompleteRead, anyio.DelimiterNotFound):
            head = b"nothing"
        if not head.startswith(b"HTTP/1.1 101 "):
            said = head.partition(b"\r\n")[0].decode(errors="replace")
            raise EngineUnavailable(f"The Docker engine gave no way to a process in the sandbox: it answered {said}.")

    async def receive(self, max_bytes: int = PIECE_BYTES) -> bytes:
        while not self._left:
            head = await self._frame_head()
            size = int.from_bytes(head[4:], "big")
            if head[0] in self.outputs:
                self._left = size
            else:
                await self._skip(size)
        piece = await self._received.receive(min(max_bytes, self._left))
        self._left -= len(piece)
        return piece

    async def send(self, item: bytes) -> None:
        await self.connection.send(item)

    async def send_eof(self) -> None:
        await self.connection.send_eof()

    async def aclose(self) -> None:
        await self.connection.aclose()

    async def _frame_head(self) -> bytes:
        try:
            return await self._received.receive_exactly(FRAME_HEAD_BYTES)
        except anyio.IncompleteRead:
            raise anyio.EndOfStream from None

    async def _skip(self, size: int) -> None:
        while size:
            size -= len(await self._received.receive(min(size, PIECE_BYTES)))
