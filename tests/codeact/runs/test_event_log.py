"""Event logs on a real mongod: every reader gets the same events, from memory or from the database, whatever stalls."""

import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, aclosing, asynccontextmanager
from typing import Any
from urllib.parse import unquote

import anyio
import msgspec
import pytest
from pymongo import MongoClient

from codeact import events as e
from codeact.runs import event_log as log_module
from codeact.runs import frames as frames_module
from codeact.runs.event_log import EventLog, EventWriter
from codeact.runs.frames import numbered
from codeact.store import Store
from sandbox_pool.outputs import DisplayData

pytestmark = pytest.mark.anyio


def delta(text: str) -> e.OutputTextDelta:
    return e.OutputTextDelta(item_id="msg_1", output_index=0, delta=text)


def getter(store: Store) -> Callable[[], Awaitable[Store]]:
    async def get_store() -> Store:
        return store

    return get_store


@asynccontextmanager
async def writing(store: Store) -> AsyncIterator[EventWriter]:
    async with EventWriter.open(getter(store), ttl_s=3600) as writer:
        yield writer


async def read(log: EventLog, start: int = 0) -> list[tuple[int, str]]:
    """The numbers and texts of the events until the log ends."""
    events = []
    async with aclosing(log.read(start)) as chunks:
        async for frames in chunks:
            events += [msgspec.json.decode(frame) for frame in frames]
    return [(event["sequence_number"], event["delta"]) for event in events]


async def stored(store: Store, response_id: str, start: int = 0) -> list[int]:
    numbers: list[int] = []
    async with aclosing(store.events.read(response_id, start)) as event_batches:
        async for event_batch in event_batches:
            numbers += range(event_batch.first, event_batch.next)
    return numbers


async def until_stored(log: EventLog) -> None:
    with anyio.fail_after(30):
        while not log.is_stored:
            await log.changed.wait()


async def test_a_reader_gets_what_was_and_then_what_comes() -> None:
    log = EventLog("resp_1", None)
    log.append(delta("a"))
    got: list[tuple[int, str]] = []

    async def reader() -> None:
        got.extend(await read(log))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(reader)
        await anyio.wait_all_tasks_blocked()
        log.append(delta("b"))
        log.append(delta("c"))
        log.end()
    assert got == [(0, "a"), (1, "b"), (2, "c")]
    assert await read(log, 2) == [(2, "c")]


async def test_events_are_stored_soon_after_and_expire(store: Store) -> None:
    async with writing(store) as writer:
        log = EventLog("resp_1", writer)
        for text in "abc":
            log.append(delta(text))
        await until_stored(log)
    assert await stored(store, "resp_1") == [0, 1, 2]
    indexes = await store.events._collection.index_information()
    assert indexes["expiry"]["expireAfterSeconds"] == 0
    document = await store.events._collection.find_one({})
    assert document["expires_at"] is not None


async def test_an_events_size_is_that_of_its_bytes_in_every_language(store: Store) -> None:
    async with writing(store) as writer:
        log = EventLog("resp_1", writer)
        await log.commit(delta("你好"))
        log.append(delta("世界" * 60_000))
        log.append(delta("世界" * 60_000))
        await until_stored(log)
        assert log.size_bytes == log.stored_bytes == sum(len(frame.encode()) for frame in log._frames)
        assert writer.ahead_bytes == 0


async def test_memory_forgets_what_is_stored_and_late_readers_get_it_from_the_database(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "RETAINED_BYTES", 10_000)
    async with writing(store) as writer:
        log = EventLog("resp_1", writer)
        for number in range(2_000):
            log.append(delta(str(number)))
            if number % 500 == 499:
                await until_stored(log)
        assert sum(map(len, log._frames)) <= 10_000
        assert log.base > 1_500
        log.end()
        everything = [(number, str(number)) for number in range(2_000)]
        for start in (0, 1, 777, log.base - 1, log.base, 1_999, 2_000):
            assert await read(log, start) == everything[start:]


async def test_a_slow_reader_holds_no_memory(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "RETAINED_BYTES", 10_000)
    monkeypatch.setattr(frames_module, "CHUNK_BYTES", 1_000)
    async with writing(store) as writer:
        log = EventLog("resp_1", writer)
        log.append(delta("0"))
        async with aclosing(log.read()) as slow:
            numbers = [msgspec.json.decode(frame)["sequence_number"] for frame in await anext(slow)]
            for number in range(1, 1_000):
                log.append(delta(str(number)))
            await until_stored(log)
            assert sum(map(len, log._frames)) <= 10_000
            log.end()
            async for frames in slow:
                numbers += [msgspec.json.decode(frame)["sequence_number"] for frame in frames]
    assert numbers == list(range(1_000))


async def test_frames_longer_than_a_document_come_back_whole(store: Store) -> None:
    long = "é" * 9_000_000
    async with writing(store) as writer:
        log = EventLog("resp_1", writer)
        for text in ("before", long, "after"):
            await log.commit(delta(text))
        log.append(delta("one"))
        log.append(delta(long))
        log.append(delta("last"))
        await until_stored(log)
    texts = []
    async for event_batch in store.events.read("resp_1", 1):
        texts += [msgspec.json.decode(frame)["delta"] for frame in event_batch.frames]
    assert texts == [long, "after", "one", long, "last"]
    assert await stored(store, "resp_1", 2) == [2, 3, 4, 5]


async def test_what_is_committed_is_stored_before_any_reader_has_it(store: Store) -> None:
    found: list[list[int]] = []
    async with writing(store) as writer:
        log = EventLog("resp_1", writer)
        log.append(delta("a"))

        async def reader() -> None:
            found.extend([await stored(store, "resp_1") async for _ in log.read(1)])

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reader)
            await log.commit(delta("b"))
            log.end()
    assert found == [[0, 1]]


async def test_deltas_never_wait_for_the_database_and_nothing_is_lost_or_doubled_by_its_stall(
    mongod: Callable[..., AbstractContextManager[Any]],
) -> None:
    with mongod() as database:
        async with Store.connect(database.uri) as store, writing(store) as writer:
            log = EventLog("resp_1", writer)
            log.append(delta("0"))
            await until_stored(log)
            database.signal(signal.SIGSTOP)
            try:
                for number in range(1, 500):
                    log.append(delta(str(number)))
                assert [number for number, _ in await _first(log, 500)] == list(range(500))
                with anyio.move_on_after(0.3) as waiting:
                    await log.commit(delta("withdrawn"))
                assert waiting.cancelled_caught
            finally:
                database.signal(signal.SIGCONT)
            log.append(delta("500"))
            await log.commit(delta("501"))
            log.end()
            assert await read(log) == [(number, str(number)) for number in range(502)]
            assert await stored(store, "resp_1") == list(range(502))
            late = EventLog("resp_1", writer, first=502)
            late.end()
            assert await read(late) == [(number, str(number)) for number in range(502)]


async def _first(log: EventLog, count: int) -> list[tuple[int, str]]:
    events: list[Any] = []
    async with aclosing(log.read()) as chunks:
        async for frames in chunks:
            events += [msgspec.json.decode(frame) for frame in frames]
            if len(events) >= count:
                break
    return [(event["sequence_number"], event["delta"]) for event in events]


async def test_a_database_that_is_gone_is_waited_for_up_to_a_bound_of_memory(
    mongod: Callable[..., AbstractContextManager[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "MAX_AHEAD", 100)
    with mongod() as database:
        async with Store.connect(database.uri) as store, writing(store) as writer:
            log = EventLog("resp_1", writer)
            database.signal(signal.SIGKILL)
            for number in range(100):
                log.append(delta(str(number)))
            assert log.is_full
            with anyio.move_on_after(0.1) as committing:
                await log.commit(delta("100"))
            assert committing.cancelled_caught
            with anyio.move_on_after(0.1) as waiting:
                await log.room()
            assert waiting.cancelled_caught
            with mongod():
                with anyio.fail_after(30):
                    await log.room()
                await until_stored(log)
                assert await stored(store, "resp_1") == list(range(100))


@pytest.mark.parametrize("replicated", [False, True])
async def test_whoever_waits_for_a_log_in_the_database_learns_of_its_growth(
    mongod: Callable[..., AbstractContextManager[Any]], replicated: bool
) -> None:
    with mongod(*(("--replSet", "rs") if replicated else ())) as database:
        if replicated:
            _become_primary(database.uri)
        async with Store.connect(database.uri) as store:
            assert await store.events._tailer.is_replicated() == replicated
            async with writing(store) as writer:
                log = EventLog("resp_1", writer)
                numbers: list[int] = []
                async with store.events.changes("resp_1") as change, anyio.create_task_group() as tasks:

                    async def produce() -> None:
                        for text in "abc":
                            await log.commit(delta(text))

                    tasks.start_soon(produce)
                    with anyio.fail_after(30):
                        while len(numbers) < 3:
                            await change()
                            numbers += await stored(store, "resp_1", len(numbers))
    assert numbers == [0, 1, 2]


def _become_primary(uri: str) -> None:
    host = unquote(uri.removeprefix("mongodb://").partition("/")[0])
    with MongoClient[dict[str, Any]](uri) as client:
        client.admin.command({"replSetInitiate": {"_id": "rs", "members": [{"_id": 0, "host": host}]}})
        while not client.admin.command("hello")["isWritablePrimary"]:
            pass


async def test_an_event_that_was_prepared_is_committed_without_another_write(store: Store) -> None:
    async with writing(store) as writer:
        log = EventLog("resp_1", writer)
        await log.prepare(delta("first"))
        assert (log.next, await stored(store, "resp_1")) == (0, [0])  # stored, and no reader has it yet
        assert log.commit_prepared(delta("first"))
        assert (log.next, log.is_stored) == (1, True)
        await log.commit(delta("second"))
        log.end()
        assert await read(log) == [(0, "first"), (1, "second")]
    assert await stored(store, "resp_1") == [0, 1]


async def test_another_event_than_the_prepared_one_replaces_it(store: Store) -> None:
    async with writing(store) as writer:
        log = EventLog("resp_1", writer)
        await log.prepare(delta("first"))
        assert not log.commit_prepared(delta("another"))
        assert not log.commit_prepared(delta("first"))
        await log.commit(delta("another"))
        log.end()
        assert await read(log) == [(0, "another")]
    assert [frame async for batch in store.events.read("resp_1", 0) for frame in batch.frames] == log._frames


def test_a_number_in_what_code_displays_is_not_the_events_own() -> None:
    output = DisplayData({"application/json": msgspec.Raw(b'{"sequence_number":0}')}, {})
    frame = e.encode(e.CodeOutput(item_id="ci_1", output_index=0, output=output)).decode()
    event = msgspec.json.decode(numbered(frame, 7))
    assert event["sequence_number"] == 7
    assert event["output"]["data"] == {"application/json": {"sequence_number": 0}}
