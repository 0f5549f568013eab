"""Parses a stream of server-sent events (HTML standard, 9.2.6)."""

__all__ = ["Events", "TooLong"]

MAX_EVENT_BYTES = 16_000_000


class TooLong(Exception):
    """One event is longer than any answer."""


class Events:
    """Parses events from pieces that may be cut anywhere. Lines end in LF, CRLF or CR; only `data` matters."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._held_bytes = 0
        self._after_cr = False

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of the events that have ended. Raises `TooLong`."""
        if self._after_cr and piece:
            self._after_cr = False
            piece = piece.removeprefix(b"\n")
        if b"\r" in piece:
            self._after_cr = piece.endswith(b"\r")
            piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if b"\n" not in piece:
            self._hold(len(piece))
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
        self._held_bytes = 0
        self._hold(len(rest) + self._data_bytes)
        return ended

    def finish(self) -> list[bytes]:
        """The end of the stream: an event whose last line ends, where its empty line should stand."""
        return self.feed(b"\n\n")

    def _take(self) -> list[bytes]:
        if not self._data:
            return []
        data, self._data = b"\n".join(self._data).strip(), []
        self._data_bytes = 0
        return [data] if data else []

    def _hold(self, size_bytes: int) -> None:
        self._held_bytes += size_bytes
        if self._held_bytes > MAX_EVENT_BYTES:
            raise TooLong(f"An event of over {MAX_EVENT_BYTES:,} bytes came.")
