"""One writer for all runs: few batches, in order, and a write that cannot be stored delays nobody else."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import anyio
import pytest

from codeact import events as e
from codeact.errors import ResponseTakenOver, StoreError, StoreUnavailable
from codeact.ids import new_id
from codeact.runs import event_writer as writer_module
from codeact.runs.event_log import EventLog
from codeact.store import Store
from codeact.store.repositories.event_batches import BATCH_BYTES, RunWrite
from tests.codeact.runs.test_event_log import delta, read, stored, until_stored, writing

pytestmark = pytest.mark.anyio

Put = Callable[..., Awaitable[set[str]]]


def watched(store: Store, monkeypatch: pytest.MonkeyPatch, fail: Callable[[Sequence[RunWrite]], None]) -> list[int]:
    """The number of runs in each batch. `fail` may raise instead of writing."""
    sizes: list[int] = []
    put: Put = store.run_writes.put

    async def counted(writes: Sequence[RunWrite], **more: Any) -> set[str]:
        sizes.append(len(writes))
        fail(writes)
        return await put(writes, **more)

    monkeypatch.setattr(store.run_writes, "put", counted)
    return sizes


async def test_what_many_runs_wait_for_is_stored_together(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = watched(store, monkeypatch, lambda writes: None)
    async with writing(store) as writer:
        logs = [EventLog(f"resp_{number}", writer) for number in range(200)]
        async with anyio.create_task_group() as tasks:
            for log in logs:
                for text in "abc":
                    log.append(delta(text))
                tasks.start_soon(log.commit, delta("d"))
    assert len(sizes) <= 5
    assert sum(sizes) == 200
    assert {(log.stored_bytes, log.size_bytes) for log in logs} == {(sum(map(len, log._frames)),) * 2}
    assert writer.ahead_bytes == 0
    for log in logs[::50]:
        assert await stored(store, log.response_id) == [0, 1, 2, 3]


async def test_news_that_nobody_waits_for_gather_without_work(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    async with writing(store) as writer:
        log = EventLog("resp_1", writer)
        await log.commit(delta("waited for"))
        looks = 0
        batch = writer._batch

        def counted() -> Any:
            nonlocal looks
            looks += 1
            return batch()

        monkeypatch.setattr(writer, "_batch", counted)
        for _ in range(3):
            log.append(delta("not waited for"))
            await until_stored(log)
    assert looks <= 12


async def test_whether_a_run_is_still_ours_is_asked_after_what_somebody_waits_for_alone(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, int]] = []
    lost = store.run_writes._lost

    async def counted(epochs: dict[str, int]) -> set[str]:
        asked.append(epochs)
        return await lost(epochs)

    monkeypatch.setattr(store.run_writes, "_lost", counted)
    async with writing(store) as writer:
        log = EventLog("resp_1", writer, epoch=3)
        for _ in range(3):
            log.append(delta("nobody waits"))
            await until_stored(log)
        assert asked == []
        with pytest.raises(ResponseTakenOver):  # The database knows no such run of ours.
            await log.commit(delta("waited for"))
    assert asked == [{"resp_1": 3}]


async def test_a_run_that_cannot_be_stored_is_told_so_alone(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(writes: Sequence[RunWrite]) -> None:
        if any(write.response_id == "resp_bad" for write in writes):
            raise StoreError("It holds what no database takes.")

    watched(store, monkeypatch, refuse)
    async with writing(store) as writer:
        logs = [EventLog(name, writer) for name in ("resp_1", "resp_bad", "resp_2")]
        for log in logs:
            log.append(delta("a"))
        for log in (logs[0], logs[2]):
            await until_stored(log)
        with pytest.raises(StoreError, match="no database takes"):
            await logs[1].commit(delta("b"))
        await logs[0].commit(delta("b"))
    assert await stored(store, "resp_1") == [0, 1]


async def test_an_item_that_mongodb_cannot_hold_fails_its_own_run(store: Store) -> None:
    async with writing(store) as writer:
        good, bad = EventLog("resp_good", writer), EventLog("resp_bad", writer)
        item = e.Message(id=new_id("msg"), content=[])
        item.content = [e.OutputText("x" * 17_000_000)]
        async with anyio.create_task_group() as tasks:
            bad.put_item(0, item)
            good.put_item(0, e.Message(id=new_id("msg"), content=[e.OutputText("short")]))

            async def fails() -> None:
                with pytest.raises(StoreError):
                    await bad.commit(delta("b"))

            tasks.start_soon(fails)
            await good.commit(delta("g"))
    assert await stored(store, "resp_good") == [0]
    assert await store._items.count() == 1


async def test_after_an_outage_what_has_gathered_is_stored_in_bounded_pieces(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that has just come back accepts little at first: one bulk write of everything would never succeed."""
    failures = 3

    def overload(writes: Sequence[RunWrite]) -> None:
        nonlocal failures
        size_bytes = sum(len(frame) for write in writes for frame in write.event_batch.frames)
        assert size_bytes <= writer_module.BATCH_BYTES + BATCH_BYTES
        if failures:
            failures -= 1
            raise StoreUnavailable("away")
        if size_bytes > 1_000_000:
            raise StoreUnavailable("too much for now")

    monkeypatch.setattr(writer_module, "LONGEST_PAUSE_S", 0.1)
    watched(store, monkeypatch, overload)
    async with writing(store) as writer:
        logs = [EventLog(f"resp_{number}", writer) for number in range(20)]
        for log in logs:
            for _ in range(30):
                log.append(delta("x" * 30_000))
        for log in logs:
            await until_stored(log)
        for log in logs[::7]:
            log.end()
            assert [number for number, _ in await read(log)] == list(range(30))
            assert await stored(store, log.response_id) == list(range(30))
        assert writer.ahead_bytes == 0


async def test_an_event_that_cannot_wait_comes_before_the_one_that_is_being_committed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = True

    def fail(writes: Sequence[RunWrite]) -> None:
        if away:
            raise StoreUnavailable("away")

    watched(store, monkeypatch, fail)
    async with writing(store) as writer:
        log = EventLog("resp_1", writer)
        log.append(delta("a"))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(log.commit, delta("committed"))
            await anyio.wait_all_tasks_blocked()
            log.append(delta("later"))
            log.interrupt(delta("at once"))
            away = False
        log.end()
        texts = [(0, "a"), (1, "at once"), (2, "committed"), (3, "later")]
        assert await read(log) == texts
        await until_stored(log)
        late = EventLog("resp_1", writer, first=4)
        late.end()
        assert await read(late) == texts


def test_all_logs_together_hold_a_bounded_amount(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "MAX_AHEAD_BYTES", 3_000_000)
    writer = writer_module.EventWriter(lambda: anyio.sleep_forever(), ttl_s=1)  # type: ignore[arg-type,return-value]
    logs = [EventLog(f"resp_{number}", writer) for number in range(3)]
    for log in logs:
        log.append(delta("x" * 1_100_000))
    assert all(log.is_full for log in logs)
    assert not EventLog("resp_9", writer).is_full


async def test_batches_of_many_logs_are_small_and_each_log_is_stored_once_in_the_delay(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = watched(store, monkeypatch, lambda writes: None)
    monkeypatch.setattr(writer_module, "QUICK_S", 60.0)
    async with writing(store) as writer:
        logs = [EventLog(f"resp_{number}", writer) for number in range(4 * writer_module.BATCH_LOGS)]
        for log in logs:
            log.append(delta("a"))
        for log in logs:
            await until_stored(log)
    assert sizes == [writer_module.BATCH_LOGS] * 4


async def test_a_slow_database_gets_all_logs_in_one_batch(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = watched(store, monkeypatch, lambda writes: None)
    monkeypatch.setattr(writer_module, "QUICK_S", 0.0)
    async with writing(store) as writer:
        await EventLog("resp_first", writer).commit(delta("a"))
        logs = [EventLog(f"resp_{number}", writer) for number in range(4 * writer_module.BATCH_LOGS)]
        for log in logs:
            log.append(delta("a"))
        for log in logs:
            await until_stored(log)
    assert sizes == [1, 4 * writer_module.BATCH_LOGS]
