"""Checks the messages of an MCP server before the official client decodes them: bytes, values and depth of each.

The client itself has no such limits.
"""

from contextlib import suppress

import anyio
from mcp.types import JSONRPCError, JSONRPCNotification, JSONRPCRequest, JSONRPCResponse

from codeact.models.shared.sse import Events, TooLong
from sandbox_pool import json_size

__all__ = ["Bound", "Cut", "Lines", "Messages", "Waiting", "check"]

MESSAGE_BYTES = 10_000_000
"""A function's value has at most 4 MB, and escaping can double that."""
MESSAGE_VALUES, MESSAGE_DEPTH = 50_000, 100
MOST_WAITING = 100


class Cut(Exception):
    """The server exceeded a limit of its connection. The message says which, as the end of a sentence."""


def check(message: bytes) -> None:
    """Raises `Cut` for a message that exceeds a limit."""
    if len(message) > MESSAGE_BYTES:
        raise Cut(f"it sent a message of more than {MESSAGE_BYTES:,} bytes")
    try:
        json_size.check(message, most=MESSAGE_VALUES, depth=MESSAGE_DEPTH)
    except json_size.TooComplex as error:
        raise Cut(f"it sent a message that is too large: {error}") from None


class Lines:
    """Splits a stream of bytes into lines. Raises `Cut` for a line that is too long."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._buffered_bytes = 0

    def feed(self, piece: bytes) -> list[bytes]:
        *ended, rest = piece.split(b"\n")
        if ended:
            ended[0] = b"".join([*self._pieces, ended[0]])
            self._pieces, self._buffered_bytes = [], 0
        if rest:
            self._pieces.append(rest)
            self._buffered_bytes += len(rest)
        if self._buffered_bytes > MESSAGE_BYTES:
            raise Cut(f"it sent a message of more than {MESSAGE_BYTES:,} bytes")
        return [line for line in ended if line.strip()]


class Messages:
    """Returns the complete events of a stream, so that they are checked before they are passed on. Raises `Cut`."""

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
    """Counts the server's own requests that wait for an answer. Raises `Cut` for more than `MOST_WAITING`."""

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
    """Shared by everything that reads from one server: whether and why it was cut off."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self.ended = anyio.Event()

    def end(self, error: Cut) -> None:
        self.reason = self.reason or str(error)
        self.ended.set()
