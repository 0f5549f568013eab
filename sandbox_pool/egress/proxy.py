"""The egress proxy of one sandbox: passes requests on to the hosts of its rules, and completes some with secrets."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import h11

from sandbox_pool.egress.addresses import is_public
from sandbox_pool.egress.certificates import Authority
from sandbox_pool.egress.http import HEAD_BYTES, READ_S, Peer, forward
from sandbox_pool.egress.rules import Refused, Rules, host_and_port

__all__ = ["Proxy", "resolved"]

MOST_CONNECTIONS = 48
HEAD_S, RESOLVE_S, CONNECT_S = 15.0, 5.0, 10.0
PIECE_BYTES = 65_536
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"

Resolve = Callable[[str, int], Awaitable[list[str]]]


async def resolved(host: str, port: int) -> list[str]:
    """The addresses of a host. Raises `OSError`."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(each[4][0]) for each in found))


class Proxy:
    """Serves the connections of one sandbox. `trust` is what other servers' certificates are checked with."""

    def __init__(
        self,
        rules: Rules,
        authority: Authority | None,
        *,
        trust: ssl.SSLContext | None = None,
        resolve: Resolve = resolved,
    ) -> None:
        self._rules = rules
        self._authority = authority
        self._trust = trust or ssl.create_default_context()
        self._trust.set_alpn_protocols(["http/1.1"])
        self._resolve = resolve
        self._open = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one connection to its end. Does not raise."""
        self._open += 1
        client = Peer(h11.SERVER, reader, writer)
        try:
            async with self._refusing(client):
                if self._open > MOST_CONNECTIONS:
                    raise Refused(f"A sandbox may have {MOST_CONNECTIONS} connections at once.")
                await self._serve(client)
        finally:
            self._open -= 1
            writer.close()

    @asynccontextmanager
    async def _refusing(self, client: Peer) -> AsyncIterator[None]:
        """Tells the client why its request failed in the `with` block, if no answer has begun."""
        with suppress(OSError, TimeoutError, RuntimeError):
            try:
                yield
            except Refused as reason:
                await client.refuse(403, str(reason))
            except (OSError, TimeoutError, ExceptionGroup, ValueError, h11.ProtocolError) as error:
                await client.refuse(502, f"The request could not be passed on: {_words(error)}")

    async def _serve(self, client: Peer) -> None:
        request = await client.next(HEAD_S)
        if not isinstance(request, h11.Request):
            return
        if request.method == b"CONNECT":
            await self._tunnel(client, request)
            return
        parts = urlsplit(request.target.decode("ascii", "replace"))
        if parts.scheme != "http":
            raise Refused("Set this as the proxy of your client; it takes http:// requests and CONNECT.")
        host, port = host_and_port(parts.netloc.rpartition("@")[2], self._rules.plain_port)
        self._rules.check(host, port, tls=False)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        await self._exchange(client, request, host, port, target.encode(), tls=False)

    async def _tunnel(self, client: Peer, request: h11.Request) -> None:
        host, port = host_and_port(request.target.decode("ascii", "replace"), self._rules.tls_port)
        self._rules.check(host, port, tls=True)
        if not self._rules.secrets_of(host):
            reader, writer = await self._connected(host, port)
            try:
                await _write(client.writer, ESTABLISHED)
                await _write(writer, client.http.trailing_data[0])
                await _joined(client.reader, client.writer, reader, writer)
            finally:
                writer.close()
            return
        assert self._authority is not None
        await _write(client.writer, ESTABLISHED)
        async with asyncio.timeout(HEAD_S):
            await client.writer.start_tls(self._authority.context(host))
        inner = Peer(h11.SERVER, client.reader, client.writer)
        async with self._refusing(inner):
            while isinstance(event := await inner.next(), h11.Request):
                await self._exchange(inner, event, host, port, event.target, tls=True)
                if inner.http.our_state is not h11.DONE or inner.http.their_state is not h11.DONE:
                    return
                inner.http.start_next_cycle()

    async def _exchange(
        self, client: Peer, request: h11.Request, host: str, port: int, target: bytes, *, tls: bool
    ) -> None:
        """Passes one request on over a connection of its own.

        Inside of a tunnel a request names a path alone: servers prefer the host of a whole address to the header Host.
        """
        if tls and not (target.startswith(b"/") or (request.method, target) == (b"OPTIONS", b"*")):
            raise Refused("Inside of a tunnel a request names a path, not another address.")
        if request.method == b"TRACE":
            raise Refused("TRACE is not passed on.")
        default = self._rules.tls_port if tls else self._rules.plain_port
        for name, value in request.headers:
            if name == b"host" and host_and_port(value.decode("ascii", "replace"), default)[0] != host:
                raise Refused("The header Host names another host than the connection.")
        headers = self._rules.filled(request.headers, host, tls=tls)
        reader, writer = await self._connected(host, port, tls=tls)
        try:
            await forward(client, request, headers, target, Peer(h11.CLIENT, reader, writer))
        finally:
            writer.close()

    async def _connected(
        self, host: str, port: int, *, tls: bool = False
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connects to an address that was checked, so that a name cannot change its meaning in between."""
        async with asyncio.timeout(RESOLVE_S):
            addresses = await self._resolve(host, port)
        if not self._rules.private and not all(map(is_public, addresses)):
            raise Refused(f"{host} has an address that is not on the public internet.")
        context = self._trust if tls else None
        async with asyncio.timeout(CONNECT_S):
            return await asyncio.open_connection(
                addresses[0], port, ssl=context, server_hostname=host if tls else None, limit=HEAD_BYTES * 2
            )


async def _joined(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, other: asyncio.StreamReader, out: asyncio.StreamWriter
) -> None:
    """Copies bytes in both directions until one side is silent for too long, or both have ended."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_copied(reader, out))
        tasks.create_task(_copied(other, writer))


async def _copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        async with asyncio.timeout(READ_S):
            piece = await reader.read(PIECE_BYTES)
        if not piece:
            break
        await _write(writer, piece)
    if writer.can_write_eof():
        writer.write_eof()


async def _write(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    async with asyncio.timeout(READ_S):
        await writer.drain()


def _words(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, h11.LocalProtocolError):  # Its text may have a header with a secret.
        return "it is not valid HTTP, or a secret does not fit into a header."
    return str(error)[:300] or type(error).__name__
