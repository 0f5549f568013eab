"""What every backend's sandboxes must do. Only the public interface is used."""

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import pytest

from sandbox_pool.backends import Backend
from sandbox_pool.errors import SandboxBusy, SandboxGone
from sandbox_pool.outputs import (
    ClearOutput,
    DisplayData,
    Error,
    ExecuteResult,
    Output,
    Stream,
    UpdateDisplayData,
)
from sandbox_pool.sandbox import Sandbox
from sandbox_pool.spec import Limits, SandboxSpec

pytestmark = pytest.mark.anyio

SPEC = SandboxSpec(preload=())
STOP_S = 6.0
SOON_S = 3.0

StartSandbox = Callable[..., Awaitable[Sandbox]]


def text(outputs: Sequence[Output], name: str = "stdout") -> str:
    return "".join(output.text for output in outputs if isinstance(output, Stream) and output.name == name)


async def value(sandbox: Sandbox, expression: str) -> str:
    """What `print(expression)` prints in the sandbox."""
    outputs, result = await sandbox.run(f"print({expression})")
    assert result.status == "ok", result
    return text(outputs).removesuffix("\n")


# ---- state and output --------------------------------------------------------------------------------


async def test_state_lives_from_one_execution_to_the_next(shared: Sandbox) -> None:
    _, result = await shared.run("import math\nkept = math.pi")
    assert (result.status, result.kernel_alive) == ("ok", True)
    outputs, again = await shared.run("round(kept, 2)")
    assert [output.data["text/plain"] for output in outputs if isinstance(output, ExecuteResult)] == ["3.14"]
    assert again.execution_count == (result.execution_count or 0) + 1


async def test_the_first_execution_is_number_one_and_finds_modules_preloaded(start: StartSandbox) -> None:
    sandbox = await start(replace(SPEC, preload=("decimal", "no_such_module_anywhere")))
    outputs, result = await sandbox.run("import sys; print('decimal' in sys.modules)")
    assert (text(outputs), result.execution_count) == ("True\n", 1)
    assert await value(sandbox, "[name for name in dir() if not name.startswith('_')]") == (
        "['In', 'Out', 'exit', 'get_ipython', 'open', 'quit', 'sys']"
    )


async def test_output_arrives_while_the_code_still_runs(shared: Sandbox) -> None:
    async with shared.execute("print('live')\nimport time\ntime.sleep(60)") as execution:
        assert await anext(execution) == Stream("stdout", "live\n")
        with pytest.raises(RuntimeError):
            _ = execution.result
    assert execution.result.status == "interrupted"


async def test_streams_and_values_are_told_apart_and_keep_their_order(shared: Sandbox) -> None:
    outputs, result = await shared.run(
        "import sys\n"
        "print('one')\n"
        "print('two', file=sys.stderr)\n"
        "print('three')\n"
        "display({'four': 4})\n"
        "print('five', file=sys.stderr)\n"
        "6"
    )
    assert result.status == "ok"
    assert outputs[:3] == [Stream("stdout", "one\n"), Stream("stderr", "two\n"), Stream("stdout", "three\n")]
    assert isinstance(outputs[3], DisplayData)
    assert outputs[4] == Stream("stderr", "five\n")
    assert isinstance(outputs[5], ExecuteResult)
    assert len(outputs) == 6


async def test_twenty_thousand_lines_arrive_complete_and_in_order(shared: Sandbox) -> None:
    outputs, _ = await shared.run("for number in range(20_000): print(number)")
    assert text(outputs) == "".join(f"{number}\n" for number in range(20_000))


async def test_a_long_text_arrives_whole(shared: Sandbox) -> None:
    outputs, result = await shared.run("print('é' * 1_000_000, end='')")
    assert outputs == [Stream("stdout", "é" * 1_000_000)]
    assert result.omitted_bytes == 0


async def test_colours_and_carriage_returns_are_kept(shared: Sandbox) -> None:
    outputs, _ = await shared.run(r"print('\x1b[31mred\x1b[0m 1%\r2%')")
    assert outputs == [Stream("stdout", "\x1b[31mred\x1b[0m 1%\r2%\n")]


async def test_a_text_that_is_not_unicode_is_replaced(shared: Sandbox) -> None:
    outputs, result = await shared.run(r"print('a\ud800b')" + "\n" + r"raise ValueError('\ud800')")
    assert text(outputs) == "a?b\n"
    assert result.error
    assert result.error.evalue == "?"


async def test_the_output_of_subprocesses_is_part_of_the_execution(shared: Sandbox) -> None:
    outputs, _ = await shared.run(
        "import os, subprocess\n"
        "print('before')\n"
        "subprocess.run(['sh', '-c', 'echo from a child; echo oops >&2'])\n"
        "os.system('echo ünïcode')\n"
        "print('after');"
    )
    assert text(outputs) == "before\nfrom a child\nünïcode\nafter\n"
    assert text(outputs, "stderr") == "oops\n"


async def test_forked_children_print(shared: Sandbox) -> None:
    outputs, result = await shared.run(
        "import multiprocessing\n"
        "context = multiprocessing.get_context('fork')\n"
        "child = context.Process(target=print, args=('from a fork',))\n"
        "child.start()\n"
        "child.join()"
    )
    assert (text(outputs), result.status) == ("from a fork\n", "ok")


async def test_what_a_thread_prints_after_its_execution_comes_with_the_next(shared: Sandbox) -> None:
    first, _ = await shared.run(
        "import threading\n"
        "ended = threading.Event()\n"
        "thread = threading.Thread(target=lambda: (ended.wait(), print('late')))\n"
        "thread.start()\n"
        "print('early')"
    )
    second, _ = await shared.run("ended.set()\nthread.join()\nprint('next')")
    assert text(first) == "early\n"
    assert sorted(text(second).splitlines()) == ["late", "next"]


async def test_a_cell_may_await(shared: Sandbox) -> None:
    outputs, _ = await shared.run("import asyncio\nawait asyncio.sleep(0)\nprint('awaited')")
    assert text(outputs) == "awaited\n"


# ---- rich results ------------------------------------------------------------------------------------


async def test_rich_values_come_as_mime_bundles(shared: Sandbox) -> None:
    pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    outputs, _ = await shared.run(
        "import base64\n"
        "from IPython.display import HTML, JSON, SVG, Image, Latex, Markdown\n"
        f"display(Image(base64.b64decode('{pixel}')), HTML('<b>bold</b>'), Latex('$x$'), Markdown('*m*'),\n"
        "  JSON({'a': [1, None]}), SVG('<svg xmlns=\"http://www.w3.org/2000/svg\"></svg>'))"
    )
    bundles = [output.data for output in outputs if isinstance(output, DisplayData)]
    assert base64.b64decode(bundles[0]["image/png"]) == base64.b64decode(pixel)
    assert bundles[1]["text/html"] == "<b>bold</b>"
    assert bundles[2]["text/latex"] == "$x$"
    assert bundles[3]["text/markdown"] == "*m*"
    assert bundles[4]["application/json"] == {"a": [1, None]}
    assert bundles[5]["image/svg+xml"].startswith("<svg")


async def test_a_figure_appears_without_being_shown(shared: Sandbox) -> None:
    outputs, result = await shared.run("import matplotlib.pyplot as plt\nplt.plot([1, 2, 3]);", timeout_s=100)
    figures = [output.data for output in outputs if isinstance(output, DisplayData)]
    assert (result.status, len(figures)) == ("ok", 1)
    assert base64.b64decode(figures[0]["image/png"]).startswith(b"\x89PNG")


async def test_a_dataframe_is_a_table_and_a_text(shared: Sandbox) -> None:
    outputs, _ = await shared.run("import pandas\npandas.DataFrame({'a': [1, 2]})", timeout_s=100)
    [frame] = outputs
    assert isinstance(frame, ExecuteResult)
    assert "<table" in frame.data["text/html"]
    assert frame.data["text/plain"].split() == ["a", "0", "1", "1", "2"]


async def test_displays_are_updated_and_cleared(shared: Sandbox) -> None:
    code = (
        "from IPython.display import clear_output\n"
        "handle = display('old', display_id='it')\n"
        "handle.update('new')\n"
        "print('gone')\n"
        "clear_output(wait=True)\n"
        "print('kept')"
    )
    async with shared.execute(code) as execution:
        outputs = [output async for output in execution]
    assert outputs == [
        DisplayData({"text/plain": "'old'"}, {}, "it"),
        UpdateDisplayData({"text/plain": "'new'"}, "it", {}),
        Stream("stdout", "gone\n"),
        ClearOutput(wait=True),
        Stream("stdout", "kept\n"),
    ]


# ---- errors ------------------------------------------------------------------------------------------


async def test_an_exception_is_an_error_with_its_traceback(shared: Sandbox) -> None:
    outputs, result = await shared.run("print('ran')\n{}['missing']")
    assert text(outputs) == "ran\n"
    assert (result.status, result.error_kind, result.kernel_alive) == ("error", "runtime", True)
    assert result.error
    assert (result.error.ename, result.error.evalue) == ("KeyError", "'missing'")
    assert any("line 2" in line for line in result.error.traceback)
    assert outputs[-1] == result.error


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("print('ran')\nx = (1,", "SyntaxError"),
        ("print('ran')\n    indented = 1", "IndentationError"),
        ("if True:\n        pass\n\tpass", "TabError"),
        ("print('ran')\nreturn 1", "SyntaxError"),
        ("print('ran')\nfor i in range(3):\n    pass\nbreak", "SyntaxError"),
    ],
)
async def test_with_a_syntax_error_nothing_has_run(shared: Sandbox, code: str, name: str) -> None:
    outputs, result = await shared.run(code)
    assert (result.status, result.error_kind) == ("error", "syntax")
    assert result.error
    assert result.error.ename == name
    assert text(outputs) == ""


@pytest.mark.parametrize("code", ["eval('1 +')", "compile('x = (', 'f', 'exec')", "raise SyntaxError('mine')"])
async def test_a_syntax_error_raised_by_running_code_is_a_runtime_error(shared: Sandbox, code: str) -> None:
    outputs, result = await shared.run(f"print('ran')\n{code}")
    assert (result.status, result.error_kind) == ("error", "runtime")
    assert result.error
    assert result.error.ename == "SyntaxError"
    assert text(outputs) == "ran\n"


async def test_input_fails_at_once(shared: Sandbox) -> None:
    _, result = await shared.run("input('name? ')")
    assert result.error
    assert result.error.ename == "StdinNotImplementedError"
    assert result.duration_s < SOON_S


@pytest.mark.parametrize("code", ["exit()", "quit()", "import sys; sys.exit(1)"])
async def test_leaving_ends_the_code_and_not_the_kernel(shared: Sandbox, code: str) -> None:
    await shared.run("before = 1")
    outputs, result = await shared.run(f"{code}\nprint('not reached')")
    assert result.error
    assert result.error.ename == "SystemExit"
    assert text(outputs) == ""
    assert await value(shared, "before") == "1"


async def test_an_error_of_any_size_arrives(shared: Sandbox) -> None:
    _, result = await shared.run("raise ValueError('x' * 50_000_000)")
    assert (result.status, result.kernel_alive) == ("error", True)
    assert result.error
    assert result.error.ename == "ValueError"
    assert len(result.error.evalue) < 1_000_000


# ---- stopping ----------------------------------------------------------------------------------------


async def test_an_interrupt_stops_the_code_and_keeps_the_variables(shared: Sandbox) -> None:
    execution = shared.execute("kept = 'kept'\nprint('running')\nwhile True: pass")
    assert await anext(execution) == Stream("stdout", "running\n")
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
    outputs, result = await shared.run("print('partial')\nwhile True: pass", timeout_s=0.5)
    assert text(outputs) == "partial\n"
    assert (result.status, result.limit, result.kernel_alive) == ("timeout", "execution_timeout_s", True)
    assert 0.5 <= result.duration_s < 0.5 + SOON_S
    assert "0.5 s" in result.detail


async def test_the_time_limit_of_the_spec_holds_when_nobody_reads(start: StartSandbox) -> None:
    sandbox = await start(replace(SPEC, limits=Limits(execution_timeout_s=0.5)))
    execution = sandbox.execute("print('unread')\nwhile True: pass")
    await execution.ended()
    assert execution.result.status == "timeout"
    assert text([output async for output in execution][:1]) == "unread\n"


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


@pytest.mark.parametrize("code", UNSTOPPABLE.values(), ids=UNSTOPPABLE.keys())
async def test_code_that_cannot_be_interrupted_costs_the_kernel_its_life(sandbox: Sandbox, code: str) -> None:
    outputs, result = await sandbox.run(f"print('partial', flush=True)\n{code}", timeout_s=0.5)
    assert text(outputs).startswith("partial\n")
    assert (result.status, result.limit, result.kernel_alive) == ("timeout", "execution_timeout_s", False)
    assert result.duration_s < 0.5 + STOP_S
    assert "variables are gone" in result.detail
    assert not sandbox.alive
    assert sandbox.death


# ---- death -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "reason"),
    [("import os; os.kill(os.getpid(), 9)", "SIGKILL"), ("import os; os._exit(3)", "status 3")],
)
async def test_a_kernel_that_dies_is_noticed_at_once(sandbox: Sandbox, code: str, reason: str) -> None:
    execution = sandbox.execute(f"print('partial', flush=True)\nimport time; time.sleep(0.1)\n{code}")
    began_at = time.monotonic()
    outputs = [output async for output in execution]
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


async def test_the_memory_limit_is_enforced_and_named(start: StartSandbox, backend: Backend) -> None:
    if any("memory_mb" in sentence for sentence in backend.isolation.missing):
        pytest.skip(str(backend.isolation.missing))
    sandbox = await start(replace(SPEC, limits=Limits(memory_mb=256)))
    _, result = await sandbox.run("blocks = []\nwhile True: blocks.append(b'x' * 10_000_000)", timeout_s=60)
    assert (result.status, result.limit, result.kernel_alive) == ("died", "memory_mb", False)
    assert "256 MB" in result.detail


async def test_closing_ends_what_runs(sandbox: Sandbox) -> None:
    execution = sandbox.execute("print('partial', flush=True)\nwhile True: pass")
    assert await anext(execution) == Stream("stdout", "partial\n")
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


# ---- limits ------------------------------------------------------------------------------------------


async def test_output_past_its_limit_is_dropped_and_counted(start: StartSandbox) -> None:
    sandbox = await start(replace(SPEC, limits=Limits(output_bytes=10_000)))
    outputs, result = await sandbox.run("for _ in range(5000): print('x' * 99)\nreached = True")
    kept = len(text(outputs))
    assert 9_000 < kept <= 10_000
    assert kept + result.omitted_bytes == 500_000
    assert (result.status, result.limit) == ("ok", "output_bytes")
    assert await value(sandbox, "reached") == "True"


async def test_an_error_is_kept_past_the_output_limit(start: StartSandbox) -> None:
    sandbox = await start(replace(SPEC, limits=Limits(output_bytes=1_000)))
    outputs, result = await sandbox.run("print('x' * 5000)\n1/0")
    assert isinstance(outputs[-1], Error)
    assert (result.status, result.limit) == ("error", "output_bytes")


async def test_an_output_too_large_to_send_is_said_and_the_kernel_lives(shared: Sandbox) -> None:
    outputs, result = await shared.run("from IPython.display import HTML\nHTML('x' * 40_000_000)")
    assert (result.status, result.kernel_alive) == ("ok", True)
    assert "too large" in text(outputs, "stderr")


async def test_a_fork_bomb_meets_the_limit_on_processes(start: StartSandbox, backend: Backend) -> None:
    if any("pids" in sentence for sentence in backend.isolation.missing):
        pytest.skip(str(backend.isolation.missing))
    sandbox = await start(replace(SPEC, limits=Limits(pids=60)))
    _, result = await sandbox.run(
        "import subprocess\nchildren = [subprocess.Popen(['sleep', '60']) for _ in range(100)]"
    )
    assert result.error
    assert result.error.ename == "BlockingIOError"
    assert await value(sandbox, "'alive'") == "alive"


async def test_the_workspace_has_a_size(start: StartSandbox, backend: Backend) -> None:
    if any("workspace_mb" in sentence for sentence in backend.isolation.missing):
        pytest.skip(str(backend.isolation.missing))
    sandbox = await start(replace(SPEC, limits=Limits(workspace_mb=8)))
    _, result = await sandbox.run("with open('big', 'wb') as file: file.write(b'x' * 16_000_000)")
    assert result.error
    assert "No space left on device" in result.error.evalue


# ---- isolation ---------------------------------------------------------------------------------------


@pytest.fixture
def isolated(backend: Backend, shared: Sandbox) -> Sandbox:
    if not backend.isolation.isolated:
        pytest.skip("a plain process is not isolated")
    return shared


async def test_there_is_no_network_but_loopback(isolated: Sandbox) -> None:
    assert await value(isolated, "[name for _, name in __import__('socket').if_nameindex()]") == "['lo']"
    _, result = await isolated.run("import socket; socket.create_connection(('192.0.2.1', 80), timeout=5)")
    assert result.error
    assert "Network is unreachable" in result.error.evalue


async def test_the_code_is_an_ordinary_user_without_capabilities(isolated: Sandbox) -> None:
    assert await value(isolated, "__import__('os').getuid() != 0") == "True"
    outputs, _ = await isolated.run("print(open('/proc/self/status').read())")
    status = dict(line.split(":\t", 1) for line in text(outputs).splitlines() if ":\t" in line)
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
    assert status["NoNewPrivs"].strip() == "1"


async def test_the_system_is_read_only_and_the_workspace_is_writable(isolated: Sandbox) -> None:
    for path in ("/x", "/usr/x", "/etc/x", "/dev/x"):
        _, result = await isolated.run(f"open('{path}', 'w')")
        assert result.error, path
        assert result.error.ename in ("OSError", "PermissionError"), path
    assert await value(isolated, "__import__('os').getcwd()") == "/workspace"
    assert await value(isolated, "open('file.txt', 'w').write('text')") == "4"
    assert await value(isolated, "open('/tmp/file.txt', 'w').write('text')") == "4"


async def test_two_sandboxes_do_not_see_each_others_files_and_processes(isolated: Sandbox, start: StartSandbox) -> None:
    other = await start()
    await isolated.run("for place in ('/workspace', '/tmp', '/dev/shm'): open(f'{place}/mine', 'w').close()")
    seen = "[p for p in ('/workspace', '/tmp', '/dev/shm') if 'mine' in __import__('os').listdir(p)]"
    assert await value(isolated, seen) == "['/workspace', '/tmp', '/dev/shm']"
    assert await value(other, seen) == "[]"
    pids = await value(other, "[p for p in __import__('os').listdir('/proc') if p.isdigit()]")
    assert len(pids.split(",")) < 10


async def test_a_relative_path_is_in_the_workspace_and_can_be_imported_from(shared: Sandbox) -> None:
    await shared.run("open('helper_module.py', 'w').write('answer = 42')")
    assert await value(shared, "__import__('helper_module').answer") == "42"


async def test_the_environment_holds_nothing_of_the_server(
    start: StartSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEACT_MODEL_API_KEY", "top-secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "top-secret")
    sandbox = await start()
    outputs, _ = await sandbox.run(
        "import glob, os\n"
        "print(dict(os.environ))\n"
        "for path in glob.glob('/proc/[0-9]*/environ'):\n"
        "  if os.stat(path).st_uid == os.getuid() and os.getsid(int(path.split('/')[2])) == os.getsid(0):\n"
        "    print(open(path).read())"
    )
    assert "PATH" in text(outputs)
    assert "top-secret" not in text(outputs)
