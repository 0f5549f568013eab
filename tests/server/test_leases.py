"""Which leases have expired, decided without a database and without a clock."""

from functools import partial
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from codeact.runs.ownership import LeaseWatcher, keep_leases
from codeact.store.database.process import new_name
from codeact.store.repositories.response_leases import LEASE_S, Lease

ELSEWHERE = "elsewhere/boot.1/7/1/aa"
HERE = new_name()


def lease(process: str = ELSEWHERE, beat: int = 0) -> Lease:
    return Lease("resp_1", "ann", process, beat, cancel=False)


def test_a_lease_that_is_renewed_never_expires() -> None:
    watcher = LeaseWatcher(HERE)
    for beat in range(10):
        assert watcher.expired([lease(beat=beat)], at_work=(), now=beat * LEASE_S) == []


def test_a_lease_that_nobody_renews_expires() -> None:
    watcher = LeaseWatcher(HERE)
    assert watcher.expired([lease()], at_work=(), now=0) == []
    assert watcher.expired([lease()], at_work=(), now=LEASE_S - 1) == []
    assert watcher.expired([lease()], at_work=(), now=LEASE_S) == [lease()]


def test_a_look_that_did_not_happen_starts_the_waiting_again() -> None:
    watcher = LeaseWatcher(HERE)
    watcher.expired([lease()], at_work=(), now=0)
    assert LeaseWatcher(HERE).expired([lease()], at_work=(), now=1000) == []


def test_a_process_of_this_host_that_has_died_is_known_at_once() -> None:
    host, space, pid, start, token = HERE.split("/")
    died = lease(f"{host}/{space}/{pid}/{int(start) - 1}/{token}")
    assert LeaseWatcher(HERE).expired([died], at_work=(), now=0) == [died]


def test_what_this_server_is_at_work_on_is_left_alone_and_what_it_forgot_is_not() -> None:
    watcher = LeaseWatcher(HERE)
    for beat in (0, 1):
        assert watcher.expired([lease(HERE, beat)], at_work=["resp_1"], now=beat * LEASE_S) == []
    for beat in (2, 3):
        assert watcher.expired([lease(HERE, beat)], at_work=(), now=beat * LEASE_S) == [lease(HERE, beat)] * (beat == 3)


@pytest.mark.anyio
async def test_a_server_that_reads_slowly_renews_its_leases_and_tells_that_it_lives() -> None:
    renewed = list[set[str]]()
    beats = list[object]()

    class Leases:
        holder = HERE

        async def renew(self, response_ids: set[str]) -> None:
            renewed.append(response_ids)

        async def all(self) -> list[Lease]:
            await anyio.sleep_forever()
            raise AssertionError

    store: Any = SimpleNamespace(leases=Leases())
    runs: Any = SimpleNamespace(live={}, at_work={"resp_1": None}, writer=None)
    workspaces: Any = SimpleNamespace(container_ids=set())

    async def get_store() -> Any:
        return store

    async def beat(store: object) -> None:
        beats.append(store)
        if len(beats) == 5:
            enough.set()

    enough = anyio.Event()
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(keep_leases, runs, workspaces, get_store, lease_s=0.05, beat=beat))
            await enough.wait()
            tasks.cancel_scope.cancel()
    assert renewed == [{"resp_1"}] * 5
