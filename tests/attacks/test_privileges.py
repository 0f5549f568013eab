"""What hostile code must not get from Linux: namespaces, mounts, privileged calls, files and users."""

import platform

import pytest

from sandbox_pool.backends.base import Backend
from sandbox_pool.sandbox.sandbox import Sandbox
from tests.attacks.conftest import assert_refused, attack
from tests.differences import needs_promise

pytestmark = pytest.mark.anyio

FILTER = "System calls are not filtered"
KILLED_BY_SIGSYS = "-31"


async def test_no_namespace_can_be_made_or_entered(attacker: Sandbox, backend: Backend) -> None:
    needs_promise(backend, FILTER)
    outcomes, _ = await attack(attacker, "namespaces")
    assert len(outcomes) == 46
    assert_refused(outcomes)


async def test_nothing_can_be_mounted_unmounted_or_made_writable(attacker: Sandbox) -> None:
    outcomes, _ = await attack(attacker, "mounts")
    assert len(outcomes) == 21
    # Without a filter Linux looks at the arguments first.
    assert_refused(outcomes, "EINVAL")


async def test_no_socket_of_another_family_than_the_ordinary_can_be_opened(attacker: Sandbox, backend: Backend) -> None:
    needs_promise(backend, FILTER)
    outcomes, _ = await attack(attacker, "socket_families")
    assert len(outcomes) == 50
    assert_refused(outcomes, "EPROTONOSUPPORT")


async def test_no_privileged_or_notorious_system_call_can_be_made(attacker: Sandbox, backend: Backend) -> None:
    needs_promise(backend, FILTER)
    outcomes, _ = await attack(attacker, "system_calls")
    assert len(outcomes) == 26
    assert_refused(outcomes)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="only x86-64 has further tables of system calls")
async def test_the_other_tables_of_system_calls_are_closed(attacker: Sandbox, backend: Backend) -> None:
    needs_promise(backend, FILTER)
    outcomes, _ = await attack(attacker, "other_system_call_tables")
    assert outcomes == {"int 0x80 status": KILLED_BY_SIGSYS, "x32 status": KILLED_BY_SIGSYS}


async def test_no_privileged_file_can_be_read_and_none_of_the_system_s_written(attacker: Sandbox) -> None:
    outcomes, _ = await attack(attacker, "privileged_files")
    assert len(outcomes) == 34
    # What is hidden is empty.
    assert_refused(outcomes, "REACHED 'Success'")


async def test_the_code_stays_who_it_is_whatever_program_it_runs(attacker: Sandbox) -> None:
    outcomes, _ = await attack(attacker, "users")
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert outcomes.pop(name) == "0"
    assert outcomes.pop("CapBnd")
    assert outcomes.pop("NoNewPrivs") == "1"
    assert outcomes.pop("Seccomp") in ("0", "2")
    assert len(outcomes) == 8
    assert_refused(outcomes, "EINVAL", "ENODATA", "EOPNOTSUPP")
