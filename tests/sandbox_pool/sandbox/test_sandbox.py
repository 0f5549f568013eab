"""The lifecycle of a sandbox: starts that fail, and ends that were not requested."""

import asyncio
import venv
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from sandbox_pool.backends.base import Backend
from sandbox_pool.backends.process.backend import ProcessBackend
from sandbox_pool.errors import SandboxGone, SandboxStartFailed
from sandbox_pool.outputs import Stream
from sandbox_pool.sandbox.sandbox import Sandbox
from sandbox_pool.spec import SandboxSpec
from tests.sandbox_pool.conftest import printed

pytestmark = pytest.mark.anyio

SPEC = SandboxSpec(preload=())
DEADLINE_S = 60.0


@pytest.fixture(scope="module")
async def backend(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Backend]:
    backend = ProcessBackend(tmp_path_factory.mktemp("state"))
    await backend.prepare(SPEC, lambda line: None)
    yield backend
    await backend.close()


async def assert_nothing_left(backend: Backend, sandbox_id: str) -> None:
    """The id can be used again, which would fail if anything of that sandbox remained."""
    sandbox = await Sandbox.start(backend, sandbox_id, SPEC, deadline_s=DEADLINE_S)
    await sandbox.close()


async def test_a_start_past_its_deadline_fails_and_leaves_nothing(backend: Backend) -> None:
    with pytest.raises(SandboxStartFailed, match=r"did not answer within 0\.05 s") as caught:
        await Sandbox.start(backend, "late", SPEC, deadline_s=0.05)
    assert caught.value.sandbox_id == "late"
    await assert_nothing_left(backend, "late")


@pytest.mark.parametrize("after_s", [0.0, 0.02, 0.3])
async def test_a_cancelled_start_leaves_nothing(backend: Backend, after_s: float) -> None:
    with anyio.move_on_after(after_s):
        sandbox = await Sandbox.start(backend, "cancelled", SPEC, deadline_s=DEADLINE_S)
        await sandbox.close()  # A machine that starts it in less time has nothing to cancel.
    await assert_nothing_left(backend, "cancelled")


async def test_a_kernel_that_cannot_start_says_why(backend: Backend, tmp_path: Path) -> None:
    venv.create(tmp_path / "broken")
    [packages] = (tmp_path / "broken").glob("lib/python*/site-packages")
    (packages / "ipykernel-7.4.0.dist-info").mkdir()
    (packages / "ipykernel-7.4.0.dist-info" / "METADATA").write_text("Name: ipykernel\nVersion: 7.4.0\n")
    spec = replace(SPEC, python=str(tmp_path / "broken" / "bin" / "python"))
    with pytest.raises(SandboxStartFailed, match="No module named 'ipykernel'"):
        await Sandbox.start(backend, "broken", spec, deadline_s=DEADLINE_S)


async def test_when_its_task_is_cancelled_the_sandbox_ends_and_so_does_its_code(backend: Backend) -> None:
    sandbox = await Sandbox.start(backend, "orphan", SPEC, deadline_s=DEADLINE_S)
    execution = sandbox.execute("print('partial')\nwhile True: pass")
    assert await printed(execution, "partial\n") == "partial\n"
    [life] = [task for task in asyncio.all_tasks() if task.get_name() == "sandbox orphan"]
    life.cancel()
    async with asyncio.timeout(DEADLINE_S):
        assert [output async for output in execution] == []
        await sandbox.died()
    assert (execution.result.status, execution.result.kernel_alive) == ("died", False)
    with pytest.raises(SandboxGone):
        sandbox.execute("1")
    await sandbox.close()
    await assert_nothing_left(backend, "orphan")


async def test_every_waiter_hears_of_the_death(backend: Backend) -> None:
    sandbox = await Sandbox.start(backend, "mourned", SPEC, deadline_s=DEADLINE_S)
    async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as tasks:
        waiters = [tasks.create_task(sandbox.died()) for _ in range(3)]
        await sandbox.close()
    assert [waiter.result() for waiter in waiters] == [sandbox.death] * 3


async def test_closing_goes_on_when_its_caller_is_cancelled(backend: Backend) -> None:
    sandbox = await Sandbox.start(backend, "abandoned", SPEC, deadline_s=DEADLINE_S)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await sandbox.close()
    await assert_nothing_left(backend, "abandoned")


async def test_unread_output_is_bounded_by_its_limit(backend: Backend) -> None:
    limits = replace(SPEC.limits, output_bytes=100_000)
    sandbox = await Sandbox.start(backend, "unread", replace(SPEC, limits=limits), deadline_s=DEADLINE_S)
    execution = sandbox.execute("for _ in range(20_000): print('x' * 100)")
    await execution.ended()
    outputs = [output async for output in execution]
    assert sum(len(output.text) for output in outputs if isinstance(output, Stream)) <= 100_000
    assert execution.result.omitted_bytes > 1_900_000
    await sandbox.close()
