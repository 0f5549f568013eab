"""Uploaded files: they expire, and their content is purged once nothing uses it."""

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest
from pymongo import AsyncMongoClient

from codeact.errors import InvalidRequest, NotFound, RateLimited
from codeact.store import Store, UploadedFile
from codeact.store.repositories import upload_parts
from codeact.store.repositories.blob_parts import BLOB_PART_BYTES
from codeact.store.repositories.stored_bytes import DOCUMENT_BYTES
from tests.loop_steps import measured_steps

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
    assert await store.stored.used("ann") == len(content) + 2 * DOCUMENT_BYTES


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


async def test_the_number_of_files_is_limited_and_all_of_them_are_listed_in_short_steps(
    store: Store, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = await store.uploads.add("a", io.BytesIO(b""), media_type="", purpose="vision", owner="ann")
    async with AsyncMongoClient[dict[str, Any]](uri) as client:
        files = client.get_default_database()["files"]
        document = await files.find_one({"_id": kept.id})
        assert document is not None
        await files.insert_many([document | {"_id": f"file-{number}"} for number in range(2_999)])
    await store.uploads.page(owner="ann", after=None, limit=10, order="asc")
    with measured_steps() as steps:
        assert len(await store.uploads.page(owner="ann", after=None, limit=10_001, order="desc")) == 3_000
    assert 0 < steps.longest_s < 0.05
    monkeypatch.setattr("codeact.store.repositories.uploads.MOST_FILES", 3_000)
    with pytest.raises(InvalidRequest, match="delete some") as refused:
        await store.uploads.add("b", io.BytesIO(b""), media_type="", purpose="vision", owner="ann")
    assert refused.value.code == "too_many_files"
    await store.uploads.add("b", io.BytesIO(b""), media_type="", purpose="vision", owner="bob")


async def in_parts(store: Store) -> tuple[str, list[str]]:
    """Begins an upload and sends its parts; returns their ids."""
    add = store.upload_parts.add
    upload = await store.upload_parts.create(
        "a.bin", 6, media_type="a/b", purpose="user_data", owner="ann", expires_after_s=None
    )
    return upload.id, [await add(upload.id, io.BytesIO(data), owner="ann") for data in (b"abc", b"def")]


async def test_an_upload_that_is_completed_twice_at_once_makes_one_file(store: Store) -> None:
    upload_id, parts = await in_parts(store)
    made: list[str] = []

    async def complete() -> None:
        while True:
            try:
                file = await store.upload_parts.complete(upload_id, parts, owner="ann", md5=None)
            except RateLimited as error:
                if error.code != "upload_completing":
                    raise
                await anyio.sleep(0.01)  # As a client does.
            else:
                made.append(file.id)
                return

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(complete)
    files = await store.uploads.page(owner="ann", after=None, limit=10, order="asc")
    assert made == [file.id for file in files] * 3


async def test_an_upload_that_is_cancelled_while_it_is_completed_makes_no_file(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id, parts = await in_parts(store)
    add = store.uploads.add

    async def cancelled(*arguments: Any, **named: Any) -> UploadedFile:
        file = await add(*arguments, **named)
        assert (await store.upload_parts.cancel(upload_id, owner="ann")).status == "cancelled"
        return file

    monkeypatch.setattr(store.uploads, "add", cancelled)
    with pytest.raises(InvalidRequest, match="cancelled"):
        await store.upload_parts.complete(upload_id, parts, owner="ann", md5=None)
    assert (await store.upload_parts.get(upload_id, owner="ann")).status == "cancelled"
    assert await store.uploads.page(owner="ann", after=None, limit=10, order="asc") == []


async def test_an_upload_whose_completion_failed_or_died_is_completed_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_id, parts = await in_parts(store)
    complete = store.upload_parts.complete
    with pytest.raises(InvalidRequest, match="MD5"):
        await complete(upload_id, parts, owner="ann", md5="0" * 32)
    upload = await store.upload_parts._find(upload_id, "ann")
    assert await store.upload_parts._claim(upload, datetime.now(UTC))  # By a server that dies now.
    with pytest.raises(RateLimited, match="completing"):
        await complete(upload_id, parts, owner="ann", md5=None)
    monkeypatch.setattr(upload_parts, "CLAIM_LASTS", timedelta(seconds=-1))
    assert (await complete(upload_id, parts, owner="ann", md5=None)).size_bytes == 6
