"""A connection to one MCP server. Each message is measured before it is decoded.

Transports: stdio and streamable HTTP, whose answers are JSON or server-sent events (Model Context Protocol 2025-11-25,
"Transports"). The official client implements both; this module adds limits (`codeact.tools.mcp_messages`).
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from typing import Any, Self

import anyio
import httpx2
from anyio.abc import ObjectReceiveStream, ObjectSendStream, Process
from mcp import Client
from mcp.client._transport import TransportStreams
from mcp.client.stdio import PROCESS_TERMINATION_TIMEOUT, get_default_environment
from mcp.client.streamable_http import streamable_http_client
from mcp.os.posix.utilities import terminate_posix_process_tree
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.message import SessionMessage
from mcp.types import jsonrpc_message_adapter

from codeact.concurrency.offloop import off_loop
from codeact.tools.mcp_messages import MESSAGE_BYTES, Bound, Cut, Lines, Messages, Waiting, check
from codeact.tools.mcp_public import public_client

__all__ = ["connect", "decoded"]


class _HttpCut(httpx2.SSEError, httpx2.StreamError):
    """A `Cut` as an exception that the official client expects from a response: the waiting call fails with this
    message.
    """

    def __init__(self, message: str) -> None:
        Exception.__init__(self, message)
        self._request = None


class _Body(httpx2.AsyncByteStream):
    """A response's body, measured: event by event for an event stream, otherwise as a whole."""

    def __init__(self, response: httpx2.Response, bound: Bound) -> None:
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        self._stream, self._bound = response.stream, bound
        self._is_events = response.headers.get("content-type", "").lower().startswith("text/event-stream")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            if self._is_events:
                messages = Messages()
                async for piece in self._stream:
                    for message in messages.feed(piece):
                        await off_loop(len(message), check, message)
                    yield piece
                for message in messages.finish():
                    await off_loop(len(message), check, message)
            else:
                yield await self._whole()
        except Cut as error:
            self._bound.end(error)
            raise _HttpCut(str(error)) from None

    async def _whole(self) -> bytes:
        pieces, size_bytes = [], 0
        async for piece in self._stream:
            pieces.append(piece)
            size_bytes += len(piece)
            if size_bytes > MESSAGE_BYTES:
                raise Cut(f"it sent a message of more than {MESSAGE_BYTES:,} bytes")
        message = b"".join(pieces)
        await off_loop(size_bytes, check, message)
        return message

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Http:
    """Hooks of an HTTP client for each request and response, so that bodies are measured before they are read."""

    def __init__(self, bound: Bound) -> None:
        self._bound = bound

    async def ask(self, request: httpx2.Request) -> None:
        request.headers["accept-encoding"] = "identity"  # Compressed content could expand to any size.

    async def receive(self, response: httpx2.Response) -> None:
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            self._bound.end(Cut("it sent a compressed answer, although none was requested"))
            raise _HttpCut(str(self._bound.reason))
        # Ignore the declared charset: the body was measured as UTF-8 and must be read as UTF-8.
        response.encoding = "utf-8"
        response.stream = _Body(response, self._bound)


class _Wrapped:
    """A stream of the library; a subclass adds to what goes through it."""

    _stream: Any

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def __aenter__(self) -> Self:
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *raised: Any) -> bool | None:
        ended: bool | None = await self._stream.__aexit__(*raised)
        return ended

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Received(_Wrapped):
    """The stream of messages from the server. It counts the server's own requests."""

    def __init__(self, streams: TransportStreams, waiting: Waiting, bound: Bound) -> None:
        self._stream, self._waiting, self._bound = streams[0], waiting, bound

    async def receive(self) -> SessionMessage | Exception:
        received: SessionMessage | Exception = await self._stream.receive()
        if isinstance(received, SessionMessage):
            try:
                self._waiting.received(received.message)
            except Cut as error:
                self._bound.end(error)
                raise anyio.EndOfStream from None
        return received

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    def __aiter__(self) -> Self:
        return self


class _Sent(_Wrapped):
    """The stream of messages to the server. It counts the answers to the server's requests."""

    def __init__(self, streams: TransportStreams, waiting: Waiting) -> None:
        self._stream, self._waiting = streams[1], waiting

    async def send(self, item: SessionMessage) -> None:
        await self._stream.send(item)
        self._waiting.answered(item.message)


@asynccontextmanager
async def _counted(
    transport: AbstractAsyncContextManager[TransportStreams], bound: Bound
) -> AsyncGenerator[TransportStreams, None]:
    waiting = Waiting()
    async with transport as streams:
        yield _Received(streams, waiting, bound), _Sent(streams, waiting)


@asynccontextmanager
async def _stdio(
    command: str, arguments: Sequence[str], environment: Mapping[str, str], bound: Bound
) -> AsyncGenerator[TransportStreams, None]:
    """Runs a program whose lines are measured.

    At the end its stdin is closed; then it is terminated with its children.
    """
    process = await anyio.open_process(
        [command, *arguments], env=get_default_environment() | dict(environment), stderr=None, start_new_session=True
    )
    to_client, received = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    sent, from_client = anyio.create_memory_object_stream[SessionMessage](0)
    try:
        async with anyio.create_task_group() as tasks, received, sent:
            tasks.start_soon(_read, process, to_client, bound)
            tasks.start_soon(_write, process, from_client)
            yield received, sent
            tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await _end(process)


async def _read(process: Process, to_client: ObjectSendStream[SessionMessage | Exception], bound: Bound) -> None:
    lines = Lines()
    assert process.stdout is not None
    async with to_client:
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            try:
                async for piece in process.stdout:
                    for line in lines.feed(piece):
                        await to_client.send(await off_loop(len(line), decoded, line))
            except Cut as error:
                bound.end(error)


async def _write(process: Process, from_client: ObjectReceiveStream[SessionMessage]) -> None:
    assert process.stdin is not None
    async with from_client:
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            async for each in from_client:
                line = each.message.model_dump_json(by_alias=True, exclude_unset=True)
                await process.stdin.send(line.encode() + b"\n")


async def _end(process: Process) -> None:
    assert process.stdin is not None
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
        await process.stdin.aclose()
    with anyio.move_on_after(PROCESS_TERMINATION_TIMEOUT):
        await process.wait()
    if process.returncode is None:
        await terminate_posix_process_tree(process)
    await process.aclose()


def decoded(line: bytes) -> SessionMessage | Exception:
    """Decodes one line. Raises `Cut` if it exceeds a limit.

    An invalid message is returned as an exception, as the client expects.
    """
    check(line)
    try:
        return SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValueError as error:
        return error


@asynccontextmanager
async def connect(
    *,
    command: str | None = None,
    arguments: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    url: str | None = None,
    headers: Mapping[str, str] | None = None,
    public_only: bool = False,
) -> AsyncIterator[tuple[Client, Bound]]:
    """Connects to the server that this command starts, or at this URL; yields the client and the `Bound`, which tells
    whether the server was cut off. With `public_only`, it connects only to addresses of the public internet.

    Raises `Cut` at the end if it was cut off, and whatever the transports raise.
    """
    bound = Bound()
    async with AsyncExitStack() as stack:
        if url is not None:
            http = public_client(headers or {}) if public_only else create_mcp_http_client(headers=dict(headers or {}))
            hooks = _Http(bound)
            http.event_hooks = {"request": [hooks.ask], "response": [hooks.receive]}
            await stack.enter_async_context(http)
            transport = streamable_http_client(url, http_client=http, max_sse_event_size=None)
        else:
            assert command is not None
            transport = _stdio(command, arguments, environment or {}, bound)
        try:
            yield await stack.enter_async_context(Client(_counted(transport, bound))), bound
        except Exception:
            if bound.reason is None:
                raise
        if bound.reason is not None:
            raise Cut(f"It was cut off: {bound.reason}.")
