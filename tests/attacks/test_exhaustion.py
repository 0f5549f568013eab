"""What hostile code must not use up: processes, memory, processors, disk, files, descriptors."""

import asyncio
import os

import pytest

from sandbox_pool.backends.base import Backend
from sandbox_pool.sandbox.sandbox import Sandbox
from tests.attacks.conftest import ISOLATED_BACKENDS, StartSandbox, assert_answers, attack
from tests.differences import needs_promise

pytestmark = [pytest.mark.anyio, ISOLATED_BACKENDS]

PROCESSES = "pids"


async def test_a_fork_bomb_ends_with_its_sandbox_and_the_neighbour_answers(
    start: StartSandbox, neighbour: Sandbox, backend: Backend
) -> None:
    needs_promise(backend, PROCESSES)
    sandbox = await start()
    async with asyncio.TaskGroup() as tasks:
        bomb = tasks.create_task(attack(sandbox, "fork_bomb", timeout_s=2))
        await assert_answers(neighbour)
    _, result = bomb.result()
    assert (result.status, result.limit) == ("timeout", "execution_timeout_s")
    assert result.duration_s < 60


async def test_threads_meet_the_limit_on_processes(start: StartSandbox, backend: Backend) -> None:
    needs_promise(backend, PROCESSES)
    sandbox = await start(pids=40)
    outcomes, result = await attack(sandbox, "threads")
    assert result.status == "ok"
    assert outcomes["refused"] == "can't start new thread"
    assert int(outcomes["threads"]) < 40


@pytest.mark.parametrize("what", ["memory_file", "system_v", "anonymous_shared", "pipes", "sockets"])
async def test_memory_that_belongs_to_no_process_counts_as_well(
    start: StartSandbox, backend: Backend, what: str
) -> None:
    needs_promise(backend, "memory_mb")
    sandbox = await start(memory_mb=128, pids=32)
    _, result = await attack(sandbox, "memory_in_files", what=what, may_raise=True)
    if result.status == "error":  # the limit on descriptors, or the kernel's own on such memory, came first
        assert result.error
        assert result.error.ename in ("OSError", "MemoryError", "BlockingIOError")
    else:
        assert (result.status, result.limit, result.kernel_alive) == ("died", "memory_mb", False)
        assert "128 MB" in result.detail


async def test_the_neighbour_answers_while_every_processor_is_wanted(
    start: StartSandbox, neighbour: Sandbox, backend: Backend
) -> None:
    needs_promise(backend, PROCESSES)
    sandbox = await start()
    outcomes, _ = await attack(sandbox, "processor")
    assert outcomes == {"started": "yes"}
    for _ in range(5):
        await assert_answers(neighbour)


async def test_every_place_that_can_be_written_to_has_a_size(
    start: StartSandbox, backend: Backend, tmp_path_factory: pytest.TempPathFactory
) -> None:
    needs_promise(backend, "workspace_mb")
    sandbox = await start(memory_mb=512)
    outcomes, _ = await attack(sandbox, "disk", enough=100_000_000)
    assert {"/workspace", "/tmp", "/dev/shm"} <= outcomes.keys()
    for place, outcome in outcomes.items():
        assert outcome.split()[0] in ("ENOSPC", "EACCES", "EPERM", "EFBIG", "EINVAL"), place
    on_disk = [path for path in tmp_path_factory.getbasetemp().glob("state*/**/*") if path.is_file()]
    assert sum(path.stat().st_size for path in on_disk) < 1_000_000


async def test_the_number_of_files_has_a_limit(start: StartSandbox, backend: Backend) -> None:
    needs_promise(backend, "workspace_inodes")
    sandbox = await start(workspace_inodes=2_000)
    outcomes, _ = await attack(sandbox, "inodes")
    refusal, count = outcomes["refused"].split()
    assert refusal == "ENOSPC"
    assert int(count) < 2_000


async def test_descriptors_terminals_and_watches_run_out_for_the_one_who_hoards_them(
    start: StartSandbox, neighbour: Sandbox, backend: Backend
) -> None:
    needs_promise(backend, "isolation")
    sandbox = await start()
    async with asyncio.TaskGroup() as tasks:
        hoard = tasks.create_task(attack(sandbox, "descriptors"))
        await assert_answers(neighbour)
    outcomes, _ = hoard.result()
    assert outcomes["socket"] == "EMFILE"
    # We still can.
    for descriptor in os.pipe():
        os.close(descriptor)


async def test_crashes_leave_no_core_file(start: StartSandbox, backend: Backend) -> None:
    needs_promise(backend, "isolation")
    sandbox = await start()
    outcomes, _ = await attack(sandbox, "crash")
    assert outcomes["allow core files"] in ("EPERM", "not allowed to raise maximum limit")
    assert outcomes["status"] == "-11"
    assert outcomes["core files"] == "0"
    assert outcomes["host's log"] in ("ENOENT", "EPERM", "EACCES")
