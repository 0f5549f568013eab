"""Which leases have expired, decided without a database and without a clock."""

from codeact.runs.ownership import LeaseWatcher
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
