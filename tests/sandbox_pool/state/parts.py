"""A store of parts in memory."""

__all__ = ["Parts"]


class Parts:
    """Stores parts, and returns them."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}

    async def store(self, sha256: str, content: bytes) -> None:
        assert sha256 not in self.held
        self.held[sha256] = content

    async def fetch(self, sha256: str) -> bytes:
        return self.held[sha256]
