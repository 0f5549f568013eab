"""How every backend's sandboxes are stopped and die. Only the public interface is used, except by `hurry`."""

import asyncio
import time
from dataclasses import replace

import pytest

from sandbox_pool.errors import SandboxBusy, SandboxGone
from sandbox_pool.sandbox.sandbox import Sandbox
from sandbox_pool.spec import Limits
from tests.sandbox_pool.conftest import SOON_S, SPEC, StartSandbox, hurry, printed, text, value

pytestmark = pytest.mark.anyio

LIMIT_S = 100.0


# ---- stopping ----------------------------------------------------------------------------------------


async def test_an_interrupt_stops_the_code_and_keeps_the_variables(shared: Sandbox) -> None:
    execution = shared.execute("kept = 'kept'\nprint('running')\nwhile True: pass")
    assert await printed(execution, "running\n") == "running\n"
    await shared.interrupt()
    result = execution.result
    assert (result.status, result.kernel_alive, result.limit) == ("interrupted", True, None)
    assert result.error
    assert result.error.ename == "KeyboardInterrupt"
    assert await value(shared, "kept") == "kept"


async def test_an_interrupt_stops_code_that_has_not_begun(shared: Sandbox) -> None:
    execution = shared.execute("import time\ntime.sleep(60)")
    began_at = time.monotonic()
    await shared.interrupt()
    assert (execution.result.status, execution.result.kernel_alive) == ("interrupted", True)
    assert time.monotonic() - began_at < SOON_S


@pytest.mark.parametrize(
    "code",
    ["await asyncio.sleep(60)", "await asyncio.sleep(0)\nwhile True: pass"],
    ids=["waits", "computes"],
)
async def test_an_interrupt_stops_code_that_awaits(shared: Sandbox, code: str) -> None:
    execution = shared.execute(f"import asyncio\nprint('running')\n{code}")
    await anext(execution)
    began_at = time.monotonic()
    await shared.interrupt()
    assert (execution.result.status, execution.result.kernel_alive) == ("interrupted", True)
    assert time.monotonic() - began_at < SOON_S


async def test_an_interrupt_when_idle_does_nothing(shared: Sandbox) -> None:
    await shared.interrupt()
    assert await value(shared, "'untouched'") == "untouched"


async def test_an_interrupt_never_hits_the_next_execution(shared: Sandbox) -> None:
    for delay_ms in range(0, 30, 2):
        execution = shared.execute("import time\ntime.sleep(0.01)")
        await asyncio.sleep(delay_ms / 1000)
        await shared.interrupt()
        assert execution.result.status in ("ok", "interrupted")
        _, result = await shared.run("for _ in range(1000): pass")
        assert result.status == "ok", (delay_ms, result)
    assert shared.alive


async def test_an_interrupt_reaches_child_processes(shared: Sandbox) -> None:
    execution = shared.execute("import subprocess\nprint('running')\nsubprocess.run(['sleep', '60'])")
    await anext(execution)
    await shared.interrupt()
    assert (execution.result.status, execution.result.kernel_alive) == ("interrupted", True)


async def test_leaving_an_execution_stops_its_code(shared: Sandbox) -> None:
    async with shared.execute("print('running')\nwhile True: pass") as execution:
        await anext(execution)
    assert execution.result.status == "interrupted"
    assert await value(shared, "1") == "1"


async def test_a_cancelled_run_leaves_the_sandbox_idle(shared: Sandbox) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await shared.run("while True: pass")
    await shared.interrupt()
    assert await value(shared, "1") == "1"


async def test_at_the_time_limit_the_code_is_stopped_and_its_output_kept(shared: Sandbox) -> None:
    execution = shared.execute("print('partial')\nwhile True: pass", timeout_s=LIMIT_S)
    outputs = [await anext(execution)]
    hurry(execution)
    outputs += [output async for output in execution]
    assert text(outputs) == "partial\n"
    result = execution.result
    assert (result.status, result.limit, result.kernel_alive) == ("timeout", "execution_timeout_s", True)
    assert 0.5 <= result.duration_s < LIMIT_S
    assert f"{LIMIT_S:g} s" in result.detail


async def test_the_time_limit_of_the_spec_holds_when_nobody_reads(start: StartSandbox) -> None:
    sandbox = await start(replace(SPEC, limits=Limits(execution_timeout_s=LIMIT_S)))
    execution = sandbox.execute("print('unread')\nwhile True: pass")
    async with asyncio.timeout(LIMIT_S):
        await execution._news.wait()
    hurry(execution)
    await execution.ended()
    assert execution.result.status == "timeout"
    assert f"{LIMIT_S:g} s" in execution.result.detail
    assert text([output async for output in execution][:1]) == "unread\n"


UNTIL_SEEN = "while not os.path.exists('seen'): time.sleep(0.01)"
UNSTOPPABLE = {
    "swallows the interrupt": "import time\nwhile True:\n  try: time.sleep(1)\n  except KeyboardInterrupt: pass",
    "computes in C": "sum(range(10**15))",
    "forks children that ignore it": (
        "import os, signal, time\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "for _ in range(3): os.fork()\n"
        "while True: time.sleep(1)"
    ),
}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("code", UNSTOPPABLE.values(), ids=UNSTOPPABLE.keys())
async def test_code_that_cannot_be_interrupted_costs_the_kernel_its_life(sandbox: Sandbox, code: str) -> None:
    execution = sandbox.execute(f"print('partial', flush=True)\n{code}", timeout_s=LIMIT_S)
    outputs = [await anext(execution)]
    hurry(execution)
    outputs += [output async for output in execution]
    assert text(outputs).startswith("partial\n")
    result = execution.result
    assert (result.status, result.limit, result.kernel_alive) == ("timeout", "execution_timeout_s", False)
    assert result.duration_s < LIMIT_S
    assert "variables are gone" in result.detail
    assert not sandbox.alive
    assert sandbox.death


# ---- death -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "reason"),
    [("import os; os.kill(os.getpid(), 9)", "SIGKILL"), ("import os; os._exit(3)", "status 3")],
)
async def test_a_kernel_that_dies_is_noticed_at_once(sandbox: Sandbox, code: str, reason: str) -> None:
    execution = sandbox.execute(f"print('partial', flush=True)\nimport os, time\n{UNTIL_SEEN}\n{code}")
    outputs = [await anext(execution)]
    await sandbox.write_file("seen", b"")
    began_at = time.monotonic()
    outputs += [output async for output in execution]
    assert time.monotonic() - began_at < SOON_S
    assert text(outputs) == "partial\n"
    result = execution.result
    assert (result.status, result.kernel_alive, result.limit) == ("died", False, None)
    assert reason in result.detail
    assert "variables are gone" in result.detail
    assert reason in (await sandbox.died()).detail
    with pytest.raises(SandboxGone, match=reason):
        sandbox.execute("1")


async def test_the_death_of_an_idle_kernel_is_noticed_at_once(sandbox: Sandbox) -> None:
    await sandbox.run("import os, threading\nthreading.Timer(0.2, os._exit, [4]).start()")
    async with asyncio.timeout(SOON_S):
        death = await sandbox.died()
    assert "status 4" in death.detail
    assert not sandbox.alive


async def test_closing_ends_what_runs(sandbox: Sandbox) -> None:
    execution = sandbox.execute("print('partial', flush=True)\nwhile True: pass")
    assert await printed(execution, "partial\n") == "partial\n"
    await sandbox.close()
    assert (execution.result.status, execution.result.kernel_alive) == ("died", False)
    assert "closed" in execution.result.detail
    await sandbox.close()
    assert (await sandbox.died()).detail == "The sandbox was closed."
    with pytest.raises(SandboxGone):
        sandbox.execute("1")


async def test_a_second_execution_is_refused_while_one_runs(shared: Sandbox) -> None:
    async with shared.execute("while True: pass"):
        with pytest.raises(SandboxBusy):
            shared.execute("1")
    assert await value(shared, "1") == "1"
