"""Operations complete in the driver even if their callers are cancelled, and a busy database is not
reported as silent.
"""

import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import anyio
import pytest

from codeact.errors import NotFound, StoreUnavailable
from codeact.store import Store
from codeact.store.database import operation as operation_module
from codeact.store.database.operation import PLACES, Operations

pytestmark = pytest.mark.anyio

Mongod = Callable[..., AbstractContextManager[Any]]


async def test_what_is_cancelled_goes_on_to_its_end() -> None:
    begun, may_end, ended = anyio.Event(), anyio.Event(), anyio.Event()

    async def call() -> None:
        begun.set()
        await may_end.wait()
        ended.set()

    async with Operations.open("mongodb://nowhere/") as operations:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(operations.run, call)
            await begun.wait()
            tasks.cancel_scope.cancel()
        assert not ended.is_set()
        may_end.set()
        await ended.wait()


async def test_what_waits_for_its_place_is_not_begun_for_nobody_and_the_others_keep_their_order() -> None:
    may_end = anyio.Event()
    begun: list[int] = []

    async def call(number: int) -> None:
        begun.append(number)
        await may_end.wait()

    async with Operations.open("mongodb://nowhere/") as operations, anyio.create_task_group() as tasks:
        for number in range(PLACES):
            tasks.start_soon(operations.run, lambda number=number: call(number))
        await anyio.wait_all_tasks_blocked()
        with anyio.CancelScope() as given_up:
            tasks.start_soon(_give_up, given_up)
            await operations.run(lambda: call(-1))
        for number in range(PLACES, 2 * PLACES):
            tasks.start_soon(operations.run, lambda number=number: call(number))
        await anyio.wait_all_tasks_blocked()
        assert begun == list(range(PLACES))
        may_end.set()
    assert begun == list(range(2 * PLACES))


async def _give_up(scope: anyio.CancelScope) -> None:
    await anyio.wait_all_tasks_blocked()
    scope.cancel()


async def test_operations_inside_of_operations_need_no_place_of_their_own() -> None:
    async with Operations.open("mongodb://nowhere/") as operations:

        async def inner() -> int:
            return 1

        async def outer() -> int:
            await anyio.wait_all_tasks_blocked()
            return await operations.run(inner)

        results: list[int] = []

        async def ask() -> None:
            results.append(await operations.run(outer))

        async with anyio.create_task_group() as tasks:
            for _ in range(2 * PLACES):
                tasks.start_soon(ask)
    assert results == [1] * (2 * PLACES)


async def test_errors_arrive_as_they_are_and_one_that_hangs_holds_up_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operation_module, "CLOSE_S", 0.1)

    async def fail() -> None:
        raise NotFound("not there")

    async def stop() -> None:
        raise StopIteration

    begun = time.monotonic()
    left: list[Operations] = []

    async def use() -> None:
        async with Operations.open("mongodb://nowhere/") as operations:
            left.append(operations)
            with pytest.raises(NotFound, match="not there"):
                await operations.run(fail)
            with pytest.raises(RuntimeError):
                await operations.run(stop)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(operations.run, anyio.sleep_forever)
                await anyio.wait_all_tasks_blocked()
                tasks.cancel_scope.cancel()
            raise OSError("mine")

    with pytest.raises(OSError, match="mine"):
        await use()
    assert time.monotonic() - begun < 60
    with pytest.raises(StoreUnavailable):
        await left[0].run(fail)


async def test_a_database_that_hangs_is_named_and_one_that_is_busy_is_waited_for(
    mongod: Mongod, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operation_module, "SILENCE_S", 0.3)
    monkeypatch.setattr(operation_module, "PING_S", 0.5)
    with mongod("--setParameter", "enableTestCommands=1") as database:
        async with Store.connect(database.uri) as store:
            # It sleeps for longer than the silence that others are given; a ping beside it is answered.
            await store._operations.run(lambda: store._client.admin.command({"sleep": 1, "lock": "none", "secs": 1}))
            await store.ping()
            database.signal(signal.SIGSTOP)
            try:
                with pytest.raises(StoreUnavailable, match="silent"):
                    await store.leases.all()
                monkeypatch.setattr("codeact.store.store.PING_CACHED_S", 0)
                with pytest.raises(StoreUnavailable):
                    await store.ping()
            finally:
                database.signal(signal.SIGCONT)
            assert await store.leases.all() == []
            await store.ping()


async def test_hundreds_that_are_cancelled_at_any_moment_leave_a_store_that_works(store: Store) -> None:
    """Inside PyMongo's pool, these cancellations make it lose its lock, and nothing completes any more."""
    for round_ in range(20):
        async with anyio.create_task_group() as tasks:
            for _ in range(40):
                tasks.start_soon(store.leases.all)
            with anyio.move_on_after(0.001 * round_):
                await anyio.sleep_forever()
            tasks.cancel_scope.cancel()
    with anyio.fail_after(30):
        assert await store.leases.all() == []
