"""The audit log stores each entry exactly once, also when the database fails at any point; on a real mongod."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from structlog.testing import capture_logs

from codeact.errors import StoreError, StoreUnavailable
from codeact.server.auth.audit_log import AuditLog
from codeact.server.auth.audit_queue import AuditQueue
from codeact.server.auth.caller import Caller
from codeact.store import AuditEntry, OwnerLimits, Store, embedded_mongod

pytestmark = pytest.mark.anyio

CALLER = Caller("ann", False, None, OwnerLimits(), OwnerLimits())
Record = Callable[[Sequence[AuditEntry]], Awaitable[None]]


def entry(subject: str) -> AuditEntry:
    return AuditEntry(datetime.now(UTC), "ann", None, "response.create", subject, 200, "")


def subjects(entries: Sequence[AuditEntry]) -> list[str]:
    return [each.subject for each in entries]


# ---- the queue ---------------------------------------------------------------------------------------


def test_a_full_queue_drops_its_oldest_entry_and_counts_it() -> None:
    queue = AuditQueue(capacity=3, batch=2)
    for number in range(5):
        queue.put(entry(str(number)))
    assert (len(queue), queue.dropped) == (3, 2)
    assert subjects(queue.take()) == ["2", "3"]


def test_entries_that_are_being_written_are_not_dropped_and_others_do_not_take_their_place() -> None:
    queue = AuditQueue(capacity=3, batch=2)
    for number in range(3):
        queue.put(entry(str(number)))
    taken = queue.take()
    for number in range(3, 6):
        queue.put(entry(str(number)))
    assert queue.take() is taken
    queue.done()
    assert (subjects(taken), subjects(queue.take()), queue.dropped) == (["0", "1"], ["5"], 3)


def test_a_refused_batch_is_halved_until_the_entry_at_fault_is_alone() -> None:
    queue = AuditQueue(capacity=10, batch=5)
    for subject in "abxde":
        queue.put(entry(subject))
    stored: list[str] = []
    given_up: list[str] = []
    while batch := queue.take():
        if "x" in subjects(batch):
            given_up += subjects(queue.refused())
        else:
            stored += subjects(batch)
            queue.done()
    assert (stored, given_up, queue.dropped) == (list("abde"), ["x"], 1)


# ---- the log, over a database ------------------------------------------------------------------------


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with embedded_mongod(tmp_path) as uri, Store.connect(uri) as store:
        yield store


def log_over(store: Store, record: Record) -> AuditLog:
    """A log whose database calls `record` with the entries."""

    async def get() -> Any:
        return SimpleNamespace(access=SimpleNamespace(record=record))

    return AuditLog(get)


async def stored(store: Store) -> list[str]:
    return sorted(each.subject for _, each in await store.access.audit(limit=1000))


async def test_an_answer_that_is_lost_after_the_write_doubles_nothing(store: Store) -> None:
    failures = 1

    async def record(entries: Sequence[AuditEntry]) -> None:
        nonlocal failures
        await store.access.record(entries)
        if failures:
            failures -= 1
            raise StoreUnavailable("The connection broke after the write.")

    audit = log_over(store, record)
    audit.record(CALLER, "response.create", "a")
    await audit.flush()
    audit.record(CALLER, "response.create", "b")
    await audit.flush()
    assert await stored(store) == ["a", "b"]


async def test_a_write_that_is_cancelled_half_way_loses_and_doubles_nothing(store: Store) -> None:
    under_way, cut = anyio.Event(), True

    async def record(entries: Sequence[AuditEntry]) -> None:
        await store.access.record(entries[:1] if cut else entries)
        if cut:
            under_way.set()
            await anyio.sleep_forever()

    audit = log_over(store, record)
    for subject in "abc":
        audit.record(CALLER, "response.create", subject)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(audit.flush)
        await under_way.wait()
        tasks.cancel_scope.cancel()
    cut = False
    await audit.flush()
    assert await stored(store) == ["a", "b", "c"]


async def test_entries_that_come_while_a_full_queue_is_being_written_take_no_others_with_them(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codeact.server.auth.audit_log.MAX_WAITING", 4)
    monkeypatch.setattr("codeact.server.auth.audit_log.BATCH", 2)
    more = iter(["e", "f"])

    async def record(entries: Sequence[AuditEntry]) -> None:
        for subject in more:
            audit.record(CALLER, "response.create", subject)
        await store.access.record(entries)

    audit = log_over(store, record)
    for subject in "abcd":
        audit.record(CALLER, "response.create", subject)
    with capture_logs() as logs:
        await audit.flush()
    assert await stored(store) == ["a", "b", "e", "f"]
    assert [each["dropped"] for each in logs if "dropped" in each] == [2]


async def test_an_entry_that_the_database_cannot_hold_is_named_and_hinders_no_other(store: Store) -> None:
    audit = log_over(store, store.access.record)
    for subject in ("a", "\ud800", "b"):
        audit.record(CALLER, "response.create", subject)
    with capture_logs() as logs:
        await audit.flush()
    assert await stored(store) == ["a", "b"]
    assert [each["owner"] for each in logs if each["event"] == "audit entry refused"] == ["ann"]


async def test_what_is_left_when_the_server_ends_is_counted_in_the_log() -> None:
    async def none() -> Store:
        raise StoreError("There is no database.")

    async def unavailable() -> Store:
        raise StoreUnavailable("There is no database.")

    for get in (unavailable, none):
        with capture_logs() as logs:
            async with AuditLog.open(get) as audit:
                audit.record(CALLER, "response.create", "a")
        assert [each["lost"] for each in logs if "lost" in each] == [1]
