"""Reads and writes the ZeroMQ wire protocol (ZMTP), with a limit on the size of each message.

Implements those parts of ZMTP 3.0 with the NULL mechanism (ZeroMQ RFC 23) that the client of a kernel needs. It does
no I/O. The peer may send anything: the memory that its data takes never exceeds the limit.
"""

import struct
from collections.abc import Sequence

__all__ = ["GREETING", "PING", "Receiver", "TooLarge", "message", "ready"]

MORE, LONG, COMMAND = 1, 2, 4
SIGNATURE = b"\xff" + bytes(8) + b"\x7f"
MECHANISM = b"NULL".ljust(20, b"\0")
GREETING = SIGNATURE + b"\x03\x00" + MECHANISM + bytes(32)
PING = bytes([COMMAND, 7]) + b"\x04PING" + bytes(2)
MOST_FRAMES = 64
COMMAND_BYTES = 4096


class TooLarge(int):
    """The size in bytes of a message that was over the limit and has been dropped."""


def ready(socket_type: str) -> bytes:
    """Returns the READY command, which follows the greeting."""
    properties = ((b"Socket-Type", socket_type.encode()), (b"Identity", b""))
    body = b"\x05READY" + b"".join(
        bytes([len(name)]) + name + struct.pack(">I", len(value)) + value for name, value in properties
    )
    return bytes([COMMAND, len(body)]) + body


def message(frames: Sequence[bytes]) -> bytes:
    parts = []
    for number, frame in enumerate(frames, 1):
        flags = MORE if number < len(frames) else 0
        if len(frame) < 256:
            parts.append(bytes([flags, len(frame)]))
        else:
            parts.append(struct.pack(">BQ", flags | LONG, len(frame)))
        parts.append(frame)
    return b"".join(parts)


class Receiver:
    """Parses incoming bytes: pass them to `feed`, then call `receive` until it returns None.

    `is_ready` becomes True when the peer's greeting and READY have arrived; messages may come only after them. `pongs`
    counts the peer's answers to our pings.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.is_ready = False
        self.limit_bytes = limit_bytes
        self.pongs = 0
        self._data = bytearray()
        self._greeted = False
        self._frames: list[bytes] = []
        self._size_bytes = 0
        self._too_large = False
        self._to_skip = 0

    def feed(self, data: bytes | memoryview) -> None:
        skipped = min(self._to_skip, len(data))
        self._to_skip -= skipped
        self._data += data[skipped:]

    def receive(self) -> list[bytes] | TooLarge | None:
        """Returns the next complete message's frames, or None. Raises `ValueError` if the peer violates ZMTP."""
        if not self._greeted:
            if len(self._data) < len(GREETING):
                return None
            _check_greeting(bytes(self._data[: len(GREETING)]))
            self._greeted = True
            del self._data[: len(GREETING)]
        while (head := self._head()) is not None:
            flags, start, size = head
            if flags & COMMAND:
                if size > COMMAND_BYTES:
                    raise ValueError(f"a command of {size} bytes")
                if len(self._data) < start + size:
                    return None
                self._handle_command(self._data[start : start + size])
                del self._data[: start + size]
                continue
            if not self.is_ready:
                raise ValueError("a message comes before READY")
            if self._too_large or size > self._room:
                self._skip(start, size)
            elif len(self._data) < start + size:
                return None
            else:
                self._frames.append(bytes(self._data[start : start + size]))
                del self._data[: start + size]
            self._size_bytes += size
            if not flags & MORE:
                return self._whole()
        return None

    @property
    def _room(self) -> int:
        return self.limit_bytes - self._size_bytes if len(self._frames) < MOST_FRAMES else -1

    def _head(self) -> tuple[int, int, int] | None:
        """Returns the next frame's flags, the offset of its body, and the body's size."""
        data = self._data
        if self._to_skip or len(data) < 2:
            return None
        flags = data[0]
        if flags > MORE | LONG | COMMAND:
            raise ValueError(f"a frame with flags {flags:#x}")
        if not flags & LONG:
            return flags, 2, data[1]
        return (flags, 9, int.from_bytes(data[1:9], "big")) if len(data) >= 9 else None

    def _skip(self, start: int, size: int) -> None:
        self._too_large = True
        self._frames = []
        self._to_skip = max(0, start + size - len(self._data))
        del self._data[: start + size]

    def _whole(self) -> list[bytes] | TooLarge:
        whole = TooLarge(self._size_bytes) if self._too_large else self._frames
        self._frames, self._size_bytes, self._too_large = [], 0, False
        return whole

    def _handle_command(self, command: bytearray) -> None:
        """Notes READY and counts PONGs; ignores any other command."""
        if not self.is_ready and not command.startswith(b"\x05READY"):
            raise ValueError("a command comes before READY")
        self.is_ready = True
        self.pongs += command.startswith(b"\x04PONG")


def _check_greeting(greeting: bytes) -> None:
    if (greeting[0], greeting[9]) != (SIGNATURE[0], SIGNATURE[9]) or greeting[10] < 3:
        raise ValueError("the peer does not speak ZMTP 3")
    if greeting[12:32] != MECHANISM:
        raise ValueError("the peer wants another security mechanism")
