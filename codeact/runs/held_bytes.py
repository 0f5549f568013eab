"""Bounds the bytes that connections make this process hold.

Pure: whoever holds something takes its bytes first and gives them back when it lets go.
"""

from codeact.errors import CodeActError, Overloaded

__all__ = ["ConnectionMemory", "ConnectionMemoryFull"]

SERVER_BYTES = 256_000_000


class ConnectionMemoryFull(CodeActError):
    """One connection would hold more than it may."""

    code = "unstored_too_large"
    status = 413


class ConnectionMemory:
    """Counts the bytes that all connections of this process hold in memory alone."""

    def __init__(self, most_bytes: int = SERVER_BYTES) -> None:
        self.bytes = 0
        self._most_bytes = most_bytes

    def take(self, size_bytes: int) -> None:
        """Raises `Overloaded` where the process would hold too much."""
        if self.bytes + size_bytes > self._most_bytes:
            raise Overloaded(
                "The server holds as much of responses with 'store': false as it may; try again later, or leave"
                " 'store': false out."
            )
        self.bytes += size_bytes

    def give_back(self, size_bytes: int) -> None:
        """What was taken is free again."""
        self.bytes -= size_bytes
