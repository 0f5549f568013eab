"""A store of parts in memory, and the backends of the long tests."""

import pytest

from tests.needs import CLUSTER_BACKENDS, only_long

__all__ = ["BACKENDS", "Parts"]

BACKENDS = ["process", pytest.param("docker", marks=[pytest.mark.docker, only_long]), *CLUSTER_BACKENDS]
"""For the parameter of the fixture `backend`."""


class Parts:
    """Stores parts, and returns them."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}

    async def store(self, sha256: str, content: bytes) -> None:
        # An earlier checkpoint than the last one may have had this part, too.
        assert self.held.setdefault(sha256, content) == content

    async def fetch(self, sha256: str) -> bytes:
        return self.held[sha256]
