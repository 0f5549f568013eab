"""Measures what an MCP server sends before the official client decodes it: bytes, values and depth of each message.

The client itself decodes whatever comes.
"""

from contextlib import suppress

import anyio
from mcp.types import JSONRPCError, JSONRPCNotification, JSONRPCRequest, JSONRPCResponse

from codeact.models.shared.sse import Events, TooLong
from sandbox_pool import json_size

__all__ = ["Bound", "Cut", "Lines", "Messages", "Waiting", "check"]

MESSAGE_BYTES = 10_000_000
"""The value of a function has 4 MB at most, and escapes take twice that."""
MESSAGE_VALUES, MESSAGE_DEPTH = 50_000, 100
MOST_WAITING = 100


class Cut(Exception):
    """The server sent more than a connection takes. The message says what, as the end of a sentence."""


def check(message: bytes) -> None:
    """Raises `Cut` for a message that is not to be decoded."""
    if len(message) > MESSAGE_BYTES:
        raise Cut(f"it sent a message of more than {MESSAGE_BYTES:,} bytes")
    try:
        json_size.check(message, most=MESSAGE_VALUES, depth=MESSAGE_DEPTH)
    except json_size.TooComplex as error:
        raise Cut(f"it sent a message that is too large: {error}") from None


class Lines:
    """Cuts a stream of bytes into lines. Raises `Cut` for one that does not end in time."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._held_bytes = 0

    def feed(self, piece: bytes) -> list[bytes]:
        *ended, rest = piece.split(b"\n")
        if ended:
            ended[0] = b"".join([*self._pieces, ended[0]])
            self._pieces, self._held_bytes = [], 0
        if rest:
            self._pieces.append(rest)
            self._held_bytes += len(rest)
        if self._held_bytes > MESSAGE_BYTES:
            raise Cut(f"it sent a message of more than {MESSAGE_BYTES:,} bytes")
        return [line for line in ended if line.strip()]


class Messages:
    """Measures the events of a stream before their last bytes are handed on. Raises `Cut`."""

    def __init__(self) -> None:
        self._events = Events()

    def feed(self, piece: bytes) -> list[bytes]:
        try:
            return self._events.feed(piece)
        except TooLong:
            raise Cut(f"it sent a message of more than {MESSAGE_BYTES:,} bytes") from None

    def finish(self) -> list[bytes]:
        return self._events.finish()


class Waiting:
    """The server's own requests that wait for an answer. Raises `Cut` beyond `MOST_WAITING` of them."""

    def __init__(self) -> None:
        self._ids: set[str | int] = set()

    def received(self, message: object) -> None:
        match message:
            case JSONRPCRequest(id=request_id):
                if request_id in self._ids:
                    raise Cut("it used the id of a request that waits once more")
                self._ids.add(request_id)
                if len(self._ids) > MOST_WAITING:
                    raise Cut(f"more than {MOST_WAITING} requests of its own wait for an answer")
            case JSONRPCNotification(method="notifications/cancelled", params=dict(params)):
                with suppress(TypeError):
                    self._ids.discard(params.get("requestId", ""))

    def answered(self, message: object) -> None:
        if isinstance(message, JSONRPCResponse | JSONRPCError) and message.id is not None:
            self._ids.discard(message.id)


class Bound:
    """What is shared by all that reads from one server: why it was cut off, once it was."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self.ended = anyio.Event()

    def end(self, error: Cut) -> None:
        self.reason = self.reason or str(error)
        self.ended.set()
