"""Parses a stream of server-sent events (HTML standard, 9.2.6)."""

__all__ = ["Events", "TooLong"]

MAX_EVENT_BYTES = 16_000_000


class TooLong(Exception):
    """An event is longer than `MAX_EVENT_BYTES`."""


class Events:
    """Parses events from pieces that may be cut anywhere. Lines end in LF, CRLF or CR; only `data` is used."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._buffered_bytes = 0
        self._after_cr = False

    def feed(self, piece: bytes) -> list[bytes]:
        """Returns the data of the events that this piece completes. Raises `TooLong`."""
        if piece.endswith(b"\n\n") and piece.startswith(b"data:") and self._is_plain(piece):
            data = piece[5:-2].strip()  # One whole event, as nearly all pieces are.
            return [data] if data else []
        if self._after_cr and piece:
            self._after_cr = False
            piece = piece.removeprefix(b"\n")
        if b"\r" in piece:
            self._after_cr = piece.endswith(b"\r")
            piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if b"\n" not in piece:
            self._buffer(len(piece))
            self._pieces.append(piece)
            return []
        *lines, rest = piece.split(b"\n")
        if self._pieces:
            lines[0] = b"".join(self._pieces) + lines[0]
        self._pieces = [rest]
        ended: list[bytes] = []
        for line in lines:
            if not line:
                ended += self._take()
            elif line.startswith(b"data:"):
                self._data.append(line[5:])
                self._data_bytes += len(line)
            elif line == b"data":
                self._data.append(b"")
                self._data_bytes += len(line)
        self._buffered_bytes = 0
        self._buffer(len(rest) + self._data_bytes)
        return ended

    def _is_plain(self, piece: bytes) -> bool:
        """Whether the piece has no line ends but the last two, and nothing is left of earlier pieces."""
        is_alone = not self._buffered_bytes and not self._after_cr
        return is_alone and piece.find(b"\n") == len(piece) - 2 and b"\r" not in piece

    def finish(self) -> list[bytes]:
        """Call it at the end of the stream. Accepts a last event without the final empty line."""
        return self.feed(b"\n\n")

    def _take(self) -> list[bytes]:
        if not self._data:
            return []
        data, self._data = b"\n".join(self._data).strip(), []
        self._data_bytes = 0
        return [data] if data else []

    def _buffer(self, size_bytes: int) -> None:
        self._buffered_bytes += size_bytes
        if self._buffered_bytes > MAX_EVENT_BYTES:
            raise TooLong(f"An event of over {MAX_EVENT_BYTES:,} bytes came.")
