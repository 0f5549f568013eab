"""Reads one side of an HTTP/1.1 connection, and passes one request and its answer on, with bounds for everything."""

import asyncio
from collections.abc import Iterable

import h11

__all__ = ["HEAD_BYTES", "READ_S", "Peer", "forward"]

HEAD_BYTES = 32_768
"""The limit for a request line and its headers, or those of an answer."""
PIECE_BYTES = 65_536
READ_S = 300.0
HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te"}
    | {b"trailer", b"upgrade", b"expect"}
)
"""The headers that are between two neighbours (RFC 9110, section 7.6.1)."""

Header = tuple[bytes, bytes]


class Peer:
    """One side of a connection: streams, and what h11 makes of their bytes."""

    def __init__(
        self, role: type[h11.CLIENT] | type[h11.SERVER], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.reader, self.writer = reader, writer
        self.http = h11.Connection(role, max_incomplete_event_size=HEAD_BYTES)

    async def next(self, timeout_s: float = READ_S) -> "h11.Event | type[h11.PAUSED]":
        """The next event. Raises `h11.RemoteProtocolError`, `OSError` and `TimeoutError`."""
        async with asyncio.timeout(timeout_s):
            while (event := self.http.next_event()) is h11.NEED_DATA:
                if self.http.they_are_waiting_for_100_continue:
                    await self.send(h11.InformationalResponse(status_code=100, headers=[]))
                self.http.receive_data(await self.reader.read(PIECE_BYTES))
        return event  # type: ignore[return-value]

    async def refuse(self, status: int, words: str) -> None:
        """Answers with an error of the proxy itself, unless an answer has begun. The connection is closed then."""
        if self.http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        body = (words + "\n").encode()
        reason = "Forbidden" if status == 403 else "Bad Gateway"
        head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: text/plain; charset=utf-8\r\n"
        self.writer.write(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        async with asyncio.timeout(READ_S):
            await self.writer.drain()

    async def send(self, event: h11.Event) -> None:
        data = self.http.send(event)
        if data:
            self.writer.write(data)
            async with asyncio.timeout(READ_S):
                await self.writer.drain()


async def forward(client: Peer, request: h11.Request, headers: Iterable[Header], target: bytes, server: Peer) -> None:
    """Sends a request to the server as `target` with these headers, and its answer to the client.

    Raises `h11.ProtocolError`, `OSError` and `TimeoutError`; the client may then have a part of the answer.
    """
    kept = [*_end_to_end(headers), (b"Connection", b"close")]
    await server.send(h11.Request(method=request.method, target=target, headers=kept))
    async with asyncio.TaskGroup() as tasks:
        body = tasks.create_task(_pass_body(client, server))
        while True:
            event = await server.next()
            if isinstance(event, h11.InformationalResponse):
                continue
            if isinstance(event, h11.Response):
                answer = [*_end_to_end(event.headers)]
                event = h11.Response(status_code=event.status_code, reason=event.reason, headers=answer)
            if isinstance(event, h11.Response | h11.Data | h11.EndOfMessage):
                await client.send(event)
            if not isinstance(event, h11.Response | h11.Data):
                break
        body.cancel()


async def _pass_body(client: Peer, server: Peer) -> None:
    while isinstance(event := await client.next(), h11.Data):
        await server.send(event)
    if isinstance(event, h11.EndOfMessage):
        await server.send(h11.EndOfMessage())


def _end_to_end(headers: Iterable[Header]) -> list[Header]:
    pairs = [(bytes(name), bytes(value)) for name, value in headers]
    named = {
        word.strip().lower() for name, value in pairs if name.lower() == b"connection" for word in value.split(b",")
    }
    return [(name, value) for name, value in pairs if name.lower() not in HOP | named]
