"""Uploaded files: they expire, and their content is purged once nothing uses it."""

import io
from datetime import UTC, datetime, timedelta

import pytest

from codeact.errors import NotFound
from codeact.store import Store
from codeact.store.repositories.blob_parts import BLOB_PART_BYTES

pytestmark = pytest.mark.anyio

HOUR = timedelta(hours=1)


async def purge(store: Store) -> None:
    for _ in range(2):  # What becomes unused is removed by the next call.
        await store.purging.purge(before=datetime.now(UTC), unused_for=timedelta(days=-1))


async def test_a_large_file_is_stored_in_parts_and_counted_once(store: Store) -> None:
    content = bytes(range(256)) * (BLOB_PART_BYTES // 256) + b"the end"
    for _ in range(2):
        file = await store.uploads.add("a.bin", io.BytesIO(content), media_type="a/b", purpose="user_data", owner="ann")
    assert file.size_bytes == len(content)
    assert (await store.get_blob(file.sha256, owner="ann")).data == content
    assert await store.stored.used("ann") == len(content)


async def test_an_expired_file_is_gone_and_its_content_is_purged_unless_another_file_has_it(store: Store) -> None:
    add = store.uploads.add
    old = await add("a", io.BytesIO(b"alone"), media_type="", purpose="vision", owner="ann", expires_after=-HOUR)
    shared = await add("b", io.BytesIO(b"twice"), media_type="", purpose="vision", owner="ann", expires_after=-HOUR)
    kept = await add("c", io.BytesIO(b"twice"), media_type="", purpose="vision", owner="ann", expires_after=HOUR)
    assert [file.id for file in await store.uploads.page(owner="ann", after=None, limit=10, order="asc")] == [kept.id]
    for file_id in (old.id, shared.id):
        with pytest.raises(NotFound):
            await store.uploads.get(file_id, owner="ann")
        with pytest.raises(NotFound):
            await store.files.file(file_id, owner="ann")
    await purge(store)
    with pytest.raises(NotFound):
        await store.get_blob(old.sha256, owner="ann")
    assert (await store.get_blob(shared.sha256, owner="ann")).data == b"twice"


async def test_a_deleted_file_takes_its_content_along(store: Store) -> None:
    file = await store.uploads.add("a", io.BytesIO(b"abc"), media_type="", purpose="vision", owner="ann")
    with pytest.raises(NotFound):
        await store.uploads.delete(file.id, owner="bob")
    await store.uploads.delete(file.id, owner="ann")
    await purge(store)
    with pytest.raises(NotFound):
        await store.get_blob(file.sha256, owner="ann")
