"""Code behaves as in a notebook, and its output costs the server little. Every backend."""

import asyncio
import io
import os
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import tqdm

from sandbox_pool.backends.base import Backend
from sandbox_pool.outputs import DisplayData, ExecuteResult, Output, Stream, UpdateDisplayData, fold
from sandbox_pool.sandbox.sandbox import Sandbox
from sandbox_pool.spec import Limits
from tests.sandbox_pool.conftest import SPEC, StartSandbox, printed, text

pytestmark = pytest.mark.anyio

GROWTH_MB = 60
"""Generous: twice the allowed output, and what the allocator retains."""
SMALL = replace(SPEC, limits=Limits(output_bytes=2_000_000, execution_timeout_s=100))

WHEEL = """
import zipfile
with zipfile.ZipFile("tiny-1.0-py3-none-any.whl", "w") as wheel:
    wheel.writestr("tiny.py", "value = 42")
    wheel.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: tiny\\nVersion: 1.0\\n")
    wheel.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
    wheel.writestr("tiny-1.0.dist-info/RECORD", "")
"""


async def live(sandbox: Sandbox, code: str) -> list[Output]:
    async with sandbox.execute(code) as execution:
        outputs = [output async for output in execution]
    assert execution.result.status == "ok", execution.result
    return outputs


def resident_mb() -> float:
    return psutil.Process(os.getpid()).memory_info().rss / 2**20


# ---- values, displays, async, threads ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("1 + 1", ["2"]),
        ("1 + 1;", []),
        ("x = 1", []),
        ("None", []),
        ("'a'\n'b'", ["'b'"]),
        ("if True:\n    3", []),
        ("import asyncio\nawait asyncio.gather(asyncio.sleep(0, 1), asyncio.sleep(0, 2))", ["[1, 2]"]),
        ("async def f():\n    return 4\nawait f()", ["4"]),
        ("_ = 5\n_", ["5"]),
    ],
)
async def test_the_value_of_the_last_expression_is_shown(shared: Sandbox, code: str, shown: list[str]) -> None:
    outputs, _ = await shared.run(code)
    assert [output.data["text/plain"] for output in outputs if isinstance(output, ExecuteResult)] == shown
    assert len(outputs) == len(shown)


async def test_a_task_goes_on_while_later_code_awaits(shared: Sandbox) -> None:
    await shared.run(
        "import asyncio\n"
        "go = asyncio.Event()\n"
        "async def work():\n"
        "    await go.wait()\n"
        "    return 'done'\n"
        "task = asyncio.create_task(work())"
    )
    outputs, result = await shared.run("go.set()\nprint(await task)")
    assert (result.status, text(outputs)) == ("ok", "done\n")


async def test_threads_and_pools_print_into_their_execution(shared: Sandbox) -> None:
    outputs = await live(
        shared,
        "import asyncio, threading\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "pool = ThreadPoolExecutor(1)\n"
        "pool.submit(print, 'pool').result()\n"
        "await asyncio.to_thread(print, 'to_thread')\n"
        "thread = threading.Thread(target=print, args=('thread',))\n"
        "thread.start()\n"
        "thread.join()",
    )
    assert text(outputs) == "pool\nto_thread\nthread\n"
    outputs = await live(shared, "pool.submit(print, 'pool again').result()")
    assert fold(outputs) == [Stream("stdout", "pool again\n")]


async def test_the_late_output_of_a_thread_has_the_number_of_its_execution(shared: Sandbox) -> None:
    async with shared.execute(
        "import threading\n"
        "go, gone = threading.Event(), threading.Event()\n"
        "def work():\n"
        "    go.wait()\n"
        "    print('late')\n"
        "    gone.set()\n"
        "threading.Thread(target=work).start()"
    ) as first:
        await first.ended()
    second = await live(shared, "go.set()\ngone.wait()\nprint('mine')")
    assert sorted((output.text, output.execution_count) for output in second if isinstance(output, Stream)) == [
        ("late\n", first.result.execution_count),
        ("mine\n", None),
    ]


async def test_shell_commands_and_magics_work(shared: Sandbox) -> None:
    outputs = await live(shared, "!echo from a shell\n%time 1\nlines = !echo caught\nprint(lines)")
    shown = text(outputs)
    assert "from a shell" in shown
    assert "Wall time" in shown
    assert shown.endswith("['caught']\n")
    assert text(await live(shared, "%%bash\necho from bash")) == "from bash\n"


async def test_pip_installs_into_the_workspace_for_the_code_and_its_children(shared: Sandbox) -> None:
    await live(shared, WHEEL)
    await live(shared, "%pip install --no-index ./tiny-1.0-py3-none-any.whl")
    code = "import subprocess, sys, tiny\nsubprocess.run([sys.executable, '-c', 'import tiny; print(tiny.value)']);"
    assert text(await live(shared, code)) == "42\n"


async def test_without_a_network_pip_says_so_at_once(shared: Sandbox, backend: Backend) -> None:
    if not backend.isolation.isolated:
        pytest.skip("a plain process has the network of its user")
    outputs = await live(shared, "%pip install no-such-package-anywhere")
    assert "This sandbox has no network" in text(outputs, "stderr")


@pytest.mark.parametrize("code", ["input('name? ')", "import getpass; getpass.getpass()", "breakpoint()"])
async def test_what_asks_the_user_fails_at_once_with_the_remedy(shared: Sandbox, code: str) -> None:
    _, result = await shared.run(code)
    assert result.error
    assert "ask the user in your answer" in result.error.evalue


async def test_standard_input_is_empty(shared: Sandbox) -> None:
    outputs = await live(
        shared, "import subprocess, sys\nprint([sys.stdin.read()])\nsubprocess.run(['cat']).returncode"
    )
    assert text(outputs) == "['']\n"


# ---- what is drawn again -----------------------------------------------------------------------------


async def test_a_progress_bar_is_left_as_a_terminal_shows_it(shared: Sandbox) -> None:
    outputs, _ = await shared.run(
        "import sys\n"
        "for done in range(101):\n"
        "    bar = '█' * (done // 10)\n"
        "    sys.stderr.write(f'\\r{done:3}%|{bar:10}|')\n"
        "    sys.stderr.flush()"
    )
    assert outputs == [Stream("stderr", "100%|██████████|")]


async def test_a_bar_of_tqdm_is_one_line_in_the_end(shared: Sandbox) -> None:
    package = Path(tqdm.__file__).parent
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for module in package.glob("*.py"):
            file.write(module, f"tqdm/{module.name}")
    await shared.write_file("tqdm.zip", archive.getvalue())
    outputs, result = await shared.run(
        "import sys\nsys.path.insert(0, 'tqdm.zip')\nfrom tqdm import tqdm\n"
        "for _ in tqdm(range(2000), ncols=70, mininterval=0): pass"
    )
    assert result.status == "ok", result.error
    [bar] = outputs
    assert isinstance(bar, Stream)
    assert bar.name == "stderr"
    assert re.fullmatch(r"100%\|█+\| 2000/2000 \[.*\] *\n", bar.text)


async def test_a_display_that_changes_ends_with_its_last_value(shared: Sandbox) -> None:
    code = "shown = display('start', display_id=True)\nfor number in range(500): shown.update(number)"
    outputs = await live(shared, code)
    assert isinstance(outputs[0], DisplayData)
    assert isinstance(outputs[-1], UpdateDisplayData)
    assert outputs[-1].data == {"text/plain": "499"}


@pytest.mark.parametrize("wait", [True, False])
async def test_what_is_cleared_again_and_again_ends_with_its_last_value(shared: Sandbox, wait: bool) -> None:
    code = (
        "from IPython.display import clear_output\n"
        f"for number in range(300):\n    clear_output(wait={wait})\n    print('step', number)"
    )
    outputs, _ = await shared.run(code)
    assert outputs == [Stream("stdout", "step 299\n")]


# ---- much output -------------------------------------------------------------------------------------


async def test_a_hundred_thousand_lines_arrive_complete_and_in_order(shared: Sandbox) -> None:
    outputs = await live(shared, "for number in range(100_000): print(number)")
    assert text(outputs) == "".join(f"{number}\n" for number in range(100_000))


async def test_the_server_holds_little_of_an_endless_print_and_serves_others(start: StartSandbox) -> None:
    loud, quiet = await start(SMALL), await start(SMALL)
    before_mb = resident_mb()
    async with loud.execute("while True: print('x' * 1000)") as flood:
        while flood.omitted_bytes < 20_000_000:
            outputs, result = await quiet.run("print('served')")
            assert (result.status, text(outputs)) == ("ok", "served\n")
        assert resident_mb() - before_mb < GROWTH_MB
        await flood.aclose()
        kept = [output async for output in flood]
    assert flood.result.limit == "output_bytes"
    assert len(text(kept)) <= SMALL.limits.output_bytes


async def test_of_a_display_of_one_gigabyte_the_server_sees_only_its_size(start: StartSandbox) -> None:
    sandbox = await start(replace(SMALL, limits=replace(SMALL.limits, memory_mb=2600)))
    before_mb = resident_mb()
    code = "from IPython.display import HTML\ndisplay(HTML('x' * 1_000_000_000))\nprint('on')"
    async with asyncio.timeout(100):
        outputs, result = await sandbox.run(code)
    assert (result.status, result.limit) == ("ok", "output_bytes")
    assert result.omitted_bytes >= 1_000_000_000
    assert outputs == [Stream("stdout", "on\n")]
    assert resident_mb() - before_mb < GROWTH_MB


# ---- what a hostile kernel says ----------------------------------------------------------------------

SOCKET = """
import os, socket
def connections(name):
    \"\"\"The kernel's ends of its connections to this socket, as files.\"\"\"
    for number in map(int, os.listdir("/proc/self/fd")):
        try:
            end = socket.socket(fileno=os.dup(number))
        except OSError:
            continue
        if end.family == socket.AF_UNIX and str(end.getsockname()).endswith(name) and not end.getsockopt(
            socket.SOL_SOCKET, socket.SO_ACCEPTCONN
        ):
            yield end
"""

FLOODS = {
    "a message without end": "frame = bytes([1, 255]) + bytes(255)",
    "empty messages": "frame = bytes(2)",
    "one huge frame": "frame = bytes([2]) + (2**62).to_bytes(8, 'big') + bytes(1000)",
}


@pytest.mark.parametrize("frame", FLOODS.values(), ids=FLOODS.keys())
async def test_a_flood_past_the_protocol_costs_the_server_nothing(start: StartSandbox, frame: str) -> None:
    hostile, quiet = await start(SMALL), await start(SMALL)
    before_mb = resident_mb()
    code = f"{SOCKET}\n{frame}\nends = list(connections('-2'))\nprint(len(ends), flush=True)\n"
    # Only now: it is the kernel's own as well, whose thread must still send what was printed.
    code += "ends[0].setblocking(True)\nfor _ in range(2_000): ends[0].sendall(frame * 100)"
    async with hostile.execute(code) as execution:
        assert await printed(execution, "1") >= "1"
        for _ in range(20):
            outputs, result = await quiet.run("print('served')")
            assert (result.status, text(outputs)) == ("ok", "served\n")
    assert resident_mb() - before_mb < GROWTH_MB


async def test_forged_messages_touch_only_their_own_run(start: StartSandbox) -> None:
    forger, other = await start(SMALL), await start(SMALL)
    running = other.execute("import time\ntime.sleep(1)\nprint('untouched')")
    await forger.run(
        "kernel = get_ipython().kernel\n"
        "session, iopub = kernel.session, kernel.iopub_socket\n"
        "session.send(iopub, 'stream', {'name': 'stdout', 'text': 'for you'}, parent={'msg_id': 'another_1'})\n"
        "session.send(iopub, 'status', {'execution_state': 'idle'}, parent=kernel.get_parent())\n"
        "session.send(iopub, 'stream', {'name': 5}, parent=kernel.get_parent())\n"
        "iopub.send_multipart([b'<IDS|MSG>', b'garbage', b'{', b'{', b'{', b'{'])"
    )
    outputs, result = await forger.run("print('still there')")
    assert (result.status, text(outputs)) == ("ok", "still there\n")
    async with running:
        outputs = [output async for output in running]
    assert (running.result.status, text(outputs)) == ("ok", "untouched\n")
