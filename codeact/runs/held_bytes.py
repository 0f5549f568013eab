"""Limits the memory that this process uses for responses with `store: false` of all connections.

It only counts: a caller calls `take` before it keeps something, and `give_back` when it drops it.
"""

from codeact.errors import CodeActError, Overloaded

__all__ = ["ConnectionMemory", "ConnectionMemoryFull"]

SERVER_BYTES = 256_000_000


class ConnectionMemoryFull(CodeActError):
    """Raised if a connection would use more memory than allowed."""

    code = "unstored_too_large"
    status = 413


class ConnectionMemory:
    """Counts the bytes that all connections of this process keep only in memory."""

    def __init__(self, most_bytes: int = SERVER_BYTES) -> None:
        self.bytes = 0
        self._most_bytes = most_bytes

    def take(self, size_bytes: int) -> None:
        """Counts these bytes. Raises `Overloaded` if the sum would exceed the limit; then it counts nothing."""
        if self.bytes + size_bytes > self._most_bytes:
            raise Overloaded(
                "The server holds as much of responses with 'store': false as it may; try again later, or leave"
                " 'store': false out."
            )
        self.bytes += size_bytes

    def give_back(self, size_bytes: int) -> None:
        """Subtracts bytes that were counted by `take`."""
        self.bytes -= size_bytes
