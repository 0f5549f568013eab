"""Connects to a pod's one port: proves that we have its key, and asks for one of the things behind it.

The other side is `sandbox_pool/guest/pod_main.py`, which describes the handshake.
"""

import asyncio
import hmac
import json
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Door", "Life"]

PROOF_S = 10.0
NONCE_BYTES = MAC_BYTES = 32
END_S = 1.0


@dataclass(frozen=True, slots=True)
class Door:
    """The port of one pod. `key` is what the pod handed over."""

    host: str
    port: int
    key: bytes = field(repr=False)

    async def dial(self, channel: str) -> socket.socket:
        """A connection to this channel of the kernel; each can be had once. Raises `OSError`."""
        return await self._ask({"kind": "channel", "name": channel})

    async def program(self, source: str, *arguments: str) -> socket.socket:
        """Runs a Python program in the pod: its stdin and stdout. Raises `OSError`."""
        return await self._ask({"kind": "program", "source": source, "arguments": arguments})

    async def life(self) -> "Life":
        """The pod ends with this connection. It can be had once. Raises `OSError`."""
        connection = await self._ask({"kind": "life"})
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return Life(*await asyncio.open_connection(sock=connection))

    async def _ask(self, request: Mapping[str, Any]) -> socket.socket:
        loop = asyncio.get_running_loop()
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        connection = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            async with asyncio.timeout(PROOF_S):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                await loop.sock_connect(connection, (self.host, self.port))
                nonce = secrets.token_bytes(NONCE_BYTES)
                await loop.sock_sendall(connection, nonce)
                answer = await _exactly(connection, NONCE_BYTES + MAC_BYTES)
                nonces = nonce + answer[:NONCE_BYTES]
                if not hmac.compare_digest(answer[NONCE_BYTES:], self._sign(b"pod", nonces)):
                    raise ConnectionError("what listens on the pod's port does not have the pod's key")
                body = json.dumps(request).encode()
                sign = self._sign(b"server", nonces + body)
                await loop.sock_sendall(connection, sign + len(body).to_bytes(4, "big") + body)
                await _exactly(connection, 1)
        except BaseException:
            connection.close()
            raise
        return connection

    def _sign(self, who: bytes, data: bytes) -> bytes:
        return hmac.digest(self.key, who + data, "sha256")


class Life:
    """The connection with which a pod ends. `ended` gets what the pod says of its kernel's end; None: nothing."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.ended = asyncio.create_task(_last_words(reader))

    async def end(self) -> bool:
        """Ends every process of the pod; whether the pod confirmed it within a second. Idempotent."""
        try:
            if self._writer.can_write_eof():
                self._writer.write_eof()
            await asyncio.wait({self.ended}, timeout=END_S)
        except OSError:
            pass
        confirmed = self.ended.done() and not self.ended.cancelled()
        self.ended.cancel()
        self._writer.close()
        return confirmed


async def _last_words(reader: asyncio.StreamReader) -> dict[str, Any] | None:
    """Until the connection ends."""
    found = None
    try:
        while line := await reader.readline():
            found = json.loads(line)
    except (OSError, ValueError):
        pass
    return found if isinstance(found, dict) else None


async def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = await asyncio.get_running_loop().sock_recv(connection, size - len(data))
        if not piece:
            raise ConnectionError("the pod ended the connection")
        data += piece
    return data
