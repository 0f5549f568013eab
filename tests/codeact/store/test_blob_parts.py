"""Blobs read in parts: every range has the stored bytes, and a large blob is never completely in memory."""

import random
import tracemalloc
from contextlib import aclosing

import pytest

from codeact.errors import NotFound
from codeact.store import Store
from codeact.store.store import BLOB_PART_BYTES

pytestmark = pytest.mark.anyio

PARTS = 8
CONTENT = random.Random(2).randbytes(PARTS * BLOB_PART_BYTES - 7)


async def stretch(store: Store, sha256: str, start: int, stop: int) -> bytes:
    blob = await store.blob_parts.open(sha256, owner="ann")
    async with aclosing(store.blob_parts.read(blob, start, stop)) as pieces:
        return b"".join([piece async for piece in pieces])


async def test_any_stretch_comes_back_as_it_was_put(store: Store) -> None:
    sha256 = await store.put_blob(CONTENT, "application/pdf", owner="ann")
    blob = await store.blob_parts.open(sha256, owner="ann")
    assert (blob.size_bytes, blob.head.media_type) == (len(CONTENT), "application/pdf")
    edge = 3 * BLOB_PART_BYTES
    for start, stop in ((0, len(CONTENT)), (0, 1), (edge - 5, edge + 5), (len(CONTENT) - 1, len(CONTENT)), (5, 5)):
        assert await stretch(store, sha256, start, stop) == CONTENT[start:stop]
    with pytest.raises(NotFound):
        await store.blob_parts.open(sha256, owner="bob")


async def test_a_blob_without_content_has_no_stretch(store: Store) -> None:
    sha256 = await store.put_blob(b"", "text/plain", owner="ann")
    assert await stretch(store, sha256, 0, 0) == b""


async def test_only_a_part_at_a_time_is_in_memory(store: Store) -> None:
    sha256 = await store.put_blob(CONTENT, "application/pdf", owner="ann")
    tracemalloc.start()
    try:
        blob = await store.blob_parts.open(sha256, owner="ann")
        async with aclosing(store.blob_parts.read(blob, 0, blob.size_bytes)) as pieces:
            assert sum([len(piece) async for piece in pieces]) == len(CONTENT)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < len(CONTENT) * 0.75
