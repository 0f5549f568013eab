"""Checkpoints in the database: their parts while they are taken, when the next one comes, and when they go."""

import hashlib
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from codeact import events as e
from codeact.errors import NotFound
from codeact.ids import new_id
from codeact.store import Store
from codeact.store.checkpoint_record import CheckpointRecord
from tests.codeact.store.conversations import add_answer

pytestmark = pytest.mark.anyio

LATER = timedelta(days=1)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def record(answer: e.Response, parts: Sequence[bytes]) -> CheckpointRecord:
    assert answer.conversation is not None
    return CheckpointRecord(
        id=new_id("ckpt"),
        owner="ann",
        conversation_id=answer.conversation.id,
        response_id=answer.id,
        container_id="cntr_1",
        created_at=float(int(time.time())),
        manifest=b"{}",
        parts=tuple(map(sha256, parts)),
        placed=(),
        size_bytes=1,
    )


async def put(store: Store, taken: CheckpointRecord, parts: Sequence[bytes]) -> None:
    await store.checkpoints.put_parts(taken.id, {sha256(part): part for part in parts}, owner="ann")


async def taken_of(store: Store, answer: e.Response, parts: Sequence[bytes]) -> CheckpointRecord:
    taken = record(answer, parts)
    await store.checkpoints.begin(taken)
    await put(store, taken, parts)
    assert await store.checkpoints.complete(taken)
    return taken


async def is_stored(store: Store, part: bytes) -> bool:
    try:
        return (await store.get_blob(sha256(part), owner="ann")).data == part
    except NotFound:
        return False


async def purge(store: Store) -> None:
    await store.purging.purge(before=datetime.now(UTC) + LATER, unused_for=-LATER)


async def queries(store: Store) -> int:
    status: dict[str, Any] = await store._documents.blobs.get_pymongo_collection().database.command("serverStatus")
    return sum(int(status["opcounters"][name]) for name in ("query", "update", "delete", "command"))


async def test_a_checkpoint_of_many_parts_is_removed_with_few_queries(store: Store) -> None:
    answer = await add_answer(store, None, "one")
    parts = [b"%d" % number for number in range(600)]
    kept = await taken_of(store, answer, parts[:300])
    gone = await taken_of(store, answer, parts)
    before = await queries(store)
    await store.checkpoints.discard(gone.id)
    assert await queries(store) - before < 150  # Others use this mongod, too, for their pings.
    await purge(store)
    assert [await is_stored(store, parts[number]) for number in (0, 299, 300, 599)] == [True, True, False, False]
    assert (await store.checkpoints.newest(kept.conversation_id, owner="ann")) == kept


async def test_a_part_that_was_found_unused_stays_if_a_checkpoint_uses_it_meanwhile(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = await add_answer(store, None, "one")
    earlier = await taken_of(store, answer, [b"shared"])
    await store.checkpoints.discard(earlier.id)
    again = record(answer, [b"shared"])

    async def too_early(owner: str, sha256: str, *, but: str = "") -> bool:
        await store.checkpoints.begin(again)
        assert await store.checkpoints.complete(again)
        return False

    monkeypatch.setattr(store._documents, "_is_used", too_early)
    await purge(store)
    assert await is_stored(store, b"shared")


async def test_a_checkpoint_leaves_nothing_of_a_conversation_that_is_deleted_meanwhile(store: Store) -> None:
    for begins_late in (False, True):
        answer = await add_answer(store, None, "one")
        assert answer.conversation is not None
        taken = record(answer, [b"first", b"second"])
        if not begins_late:
            await store.checkpoints.begin(taken)
            await put(store, taken, [b"first"])
        await store.history.delete(answer.conversation.id, owner="ann")
        await store.bin.remove(answer.conversation.id, owner="ann")
        if begins_late:
            await store.checkpoints.begin(taken)
            await put(store, taken, [b"first", b"second"])
        else:
            with pytest.raises(NotFound):
                await put(store, taken, [b"second"])
        with pytest.raises(NotFound):
            await store.checkpoints.complete(taken)
        assert await store.checkpoints.keys_of(taken.conversation_id, owner="ann") == []
        await purge(store)
        assert not await is_stored(store, b"first")
        assert not await is_stored(store, b"second")


async def test_the_newest_checkpoint_that_is_left_never_expires(store: Store) -> None:
    first = await add_answer(store, None, "one")
    assert first.conversation is not None
    second = await add_answer(store, first.conversation.id, "two", previous_response_id=first.id)
    kept = await taken_of(store, first, [b"one"])
    await taken_of(store, second, [b"two"])
    await store.delete_response(second.id, owner="ann")
    late = datetime.now(UTC) + LATER
    assert await store.checkpoints.expire(before=late, pending_before=late) == 0
    assert await store.checkpoints.newest(first.conversation.id, owner="ann") == kept


async def test_checkpoints_are_listed_without_what_they_hold_and_read_one_by_one(store: Store) -> None:
    answer = await add_answer(store, None, "one")
    assert answer.conversation is not None
    taken = [await taken_of(store, answer, [b"one"]), await taken_of(store, answer, [b"two"])]
    keys = await store.checkpoints.keys_of(answer.conversation.id, owner="ann")
    assert [key.id for key in keys] == [each.id for each in taken]
    assert [await store.checkpoints.get(key.id, owner="ann") for key in keys] == taken
    assert await store.checkpoints.get(keys[0].id, owner="bob") is None
    await store.checkpoints.begin(record(answer, [b"three"]))
    assert len(await store.checkpoints.keys_of(answer.conversation.id, owner="ann")) == 2
