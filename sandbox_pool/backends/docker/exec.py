"""Reads the output of a container's first process, or of a program that is started in the container later.

Source: Docker Engine API, "Attach to a container". The engine turns the HTTP connection into a raw stream, in which
stdout and stderr come in frames.
"""

import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
from anyio import to_thread
from anyio.abc import ByteStream
from anyio.streams.buffered import BufferedByteReceiveStream

from sandbox_pool.backends.docker.engine import REQUEST_TIMEOUT_S, Engine
from sandbox_pool.backends.docker.errors import translated
from sandbox_pool.errors import EngineUnavailable, SandboxError

__all__ = ["Heard", "ProcessStream", "hear", "python"]

PYTHON = "/opt/kernel/bin/python"
"""The path of the kernel's interpreter in images from docker/sandbox.Dockerfile."""
HEARD_BYTES = 65_536

HEAD_BYTES = 8_192
FRAME_HEAD_BYTES = 8
STDOUT, STDERR = 1, 2
PIECE_BYTES = 65_536


@dataclass(eq=False)
class ProcessStream(ByteStream):
    """Stdin and output of a process in a container. Uses its own connection to the engine, and closes it.

    `receive` returns the outputs named in `outputs`, in the order in which they come, and skips the others. `send_eof`
    closes the process's stdin.
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
        """Attaches to the first process of a container, which need not run yet. Raises `EngineUnavailable`."""
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
            status_line = head.partition(b"\r\n")[0].decode(errors="replace")
            raise EngineUnavailable(
                f"The Docker engine gave no way to a process in the sandbox: it answered {status_line}."
            )

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


class Heard:
    """Searches for a marker in data that comes in pieces, in linear time, and keeps the end of the data."""

    def __init__(self, sign: bytes) -> None:
        self._sign = sign
        self._tail = b""
        self._pieces: deque[bytes] = deque()
        self._held_bytes = 0

    def feed(self, piece: bytes) -> bool:
        """Adds a piece. Returns whether the marker has come."""
        looked_at = self._tail + piece
        self._tail = looked_at[max(0, len(looked_at) - len(self._sign) + 1) :]
        self._pieces.append(piece)
        self._held_bytes += len(piece)
        while self._held_bytes - len(self._pieces[0]) >= HEARD_BYTES:
            self._held_bytes -= len(self._pieces.popleft())
        return self._sign in looked_at

    @property
    def end(self) -> bytes:
        return b"".join(self._pieces)[-HEARD_BYTES:]


async def hear(engine: Engine, container: str, sign: bytes, *, start: Callable[[], Awaitable[None]]) -> bytes:
    """Starts the container. Returns the end of its output up to this marker, or up to the container's end."""
    async with ProcessStream(await engine.dial(), outputs=(STDOUT, STDERR)) as output:
        await output.attach(container)
        await start()
        heard = Heard(sign)
        async for piece in output:
            if heard.feed(piece):
                break
        return heard.end


@asynccontextmanager
async def python(
    engine: Engine, container: str, program: str, *arguments: str, user: str = ""
) -> AsyncIterator[ProcessStream]:
    """Runs a Python program in the container as the container's user, or as this one. Yields its stdin and stdout.

    Raises `SandboxError`.
    """
    exec_id = await to_thread.run_sync(_prepare, engine, container, program, arguments, user)
    async with AsyncExitStack() as stack:
        try:
            stream = ProcessStream(await stack.enter_async_context(await engine.dial()))
            with anyio.fail_after(REQUEST_TIMEOUT_S):
                await stream.start(exec_id)
        except OSError as error:
            raise EngineUnavailable(f"The Docker engine cannot be reached: {error}.") from error
        yield stream


def _prepare(engine: Engine, container: str, program: str, arguments: Collection[str], user: str) -> str:
    command = [PYTHON, "-I", "-S", "-X", "utf8", "-c", program, *arguments]
    with translated(SandboxError):
        created = engine.api.exec_create(container, command, stdin=True, stderr=False, workdir="/", user=user)
    exec_id: str = created["Id"]
    return exec_id
