"""Whatever a block leaves behind, it ends with its own status, and the next one finds a working kernel.

Every backend.
"""

import asyncio

import pytest

from sandbox_pool.sandbox.sandbox import Sandbox
from tests.sandbox_pool.conftest import StartSandbox, printed, text, value

pytestmark = pytest.mark.anyio

HUNG_S = 10.0
"""Far below a block's time limit, far above what these blocks need."""

RAISING = "class Odd:\n    def write(self, text): raise ValueError('no')\n    def flush(self): raise OSError('no')\n"

STREAMS = {
    "nothing to flush": "class Odd:\n    def write(self, text): pass\nsys.stdout = Odd()",
    "a closed file": "sys.stdout = sys.stderr = open('closed', 'w')\nsys.stdout.close()",
    "raising methods": f"{RAISING}sys.stdout = sys.stderr = Odd()",
    "None": "sys.stdout = sys.stderr = None",
    "deleted": "del sys.stdout, sys.stderr",
    "a string": "sys.stdout = io.StringIO()",
    "a context left open": "import contextlib as c\nleft = c.redirect_stdout(io.StringIO())\nleft.__enter__()",
    "a method replaced": "sys.stdout.flush = sys.stdout.write = lambda *a: 1 / 0",
    "itself closed": "sys.stdout.close()",
    "wrapped": "sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding='utf-8')",
    "its descriptor closed": "os.close(1); os.close(2); os.close(0)",
    "its descriptor moved": "file = open('moved', 'w')\nos.dup2(file.fileno(), 1)",
    "the first one closed": "sys.__stdout__.close(); sys.__stderr__.close(); sys.stdin.close()",
}


async def run(sandbox: Sandbox, code: str) -> tuple[str, str, str]:
    """Its status, and its stdout and stderr."""
    async with asyncio.timeout(HUNG_S):
        outputs, result = await sandbox.run(code)
    return result.status, text(outputs), text(outputs, "stderr")


@pytest.mark.parametrize("code", STREAMS.values(), ids=STREAMS.keys())
async def test_a_block_ends_whatever_it_makes_of_its_streams(shared: Sandbox, code: str) -> None:
    status, _, _ = await run(shared, f"import io, os, sys\nlives = 42\n{code}")
    assert status == "ok"
    assert (await run(shared, "print(lives)\nimport subprocess\nsubprocess.run(['echo', 'fd']);"))[:2] == (
        "ok",
        "42\nfd\n",
    )


async def test_a_stream_left_replaced_by_an_error_is_restored_with_a_word(shared: Sandbox) -> None:
    code = "import sys\nwith open('log', 'w') as file:\n    sys.stdout = file\n    print('in the file')\n    1 / 0"
    status, _, words = await run(shared, code)
    assert status == "error"
    assert "left sys.stdout replaced" in words
    assert (await run(shared, "print(open('log').read(), end='')"))[1] == "in the file\n"


ENDS = {
    "a callback that leaves": (
        "def leave(*_): raise SystemExit(4)\nget_ipython().events.register('post_execute', leave)",
        "error",
    ),
    "no more of it": ("get_ipython().events.unregister('post_execute', leave)", "ok"),
    "an error without words": ("class E(Exception):\n    def __str__(self): raise ValueError\nraise E", "error"),
    "a repr that leaves": ("class R:\n    def __repr__(self): raise SystemExit(3)\nR()", "error"),
    "a repr that is no text": ("class R:\n    def __repr__(self): return 5\nR()", "error"),
    "a hook that is none": ("import sys\nsys.displayhook = sys.excepthook = 5\n1", "error"),
    "print replaced": ("import builtins\nkept = print\nbuiltins.print = None", "ok"),
    "print put back": ("builtins.print = kept", "ok"),
    "all tasks cancelled": ("import asyncio\nfor task in asyncio.all_tasks(): task.cancel()", "ok"),
    "all tasks cancelled, awaiting": (
        "for task in asyncio.all_tasks(): task.cancel()\nawait asyncio.sleep(30)",
        "error",
    ),
    "warnings that are errors": ("import warnings\nwarnings.simplefilter('error')", "ok"),
    "no depth for calls": ("sys.setrecursionlimit(60)", "ok"),
    "a watchdog": ("import faulthandler\nfaulthandler.dump_traceback_later(0.01, exit=True)", "ok"),
    "no environment": ("import os\nos.environ.clear()", "ok"),
    "no directory": ("os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')", "ok"),
}


async def test_a_block_ends_whatever_hooks_it_leaves(sandbox: Sandbox) -> None:
    for name, (code, status) in ENDS.items():
        assert (await run(sandbox, code))[0] == status, name
        if name not in ("a callback that leaves", "print replaced"):
            assert await value(sandbox, "6 * 7") == "42", name


async def test_success_that_leaves_is_no_error_and_failure_is(shared: Sandbox) -> None:
    for code in ("import sys\nsys.exit(0)", "exit()", "quit()", "exit", "raise SystemExit", "sys.exit(None)"):
        assert await run(shared, f"print('done')\n{code}\nprint('never')" if "(" in code else code) == (
            "ok",
            "done\n" if "(" in code else "",
            "",
        ), code
    _, result = await shared.run("sys.exit(3)")
    assert result.error is not None
    assert (result.status, result.error.ename, result.error.evalue) == ("error", "SystemExit", "3")
    assert (await shared.run("exit('no data')"))[1].status == "error"


async def test_programs_find_an_empty_command_line(shared: Sandbox) -> None:
    code = "import argparse\np = argparse.ArgumentParser()\np.add_argument('--n', type=int, default=3)\n"
    assert await run(shared, f"{code}print(p.parse_args().n)") == ("ok", "3\n", "")
    test = "import unittest\nclass T(unittest.TestCase):\n    def test(self): assert {}\nunittest.main()"
    status, _, words = await run(shared, test.format("1 + 1 == 2"))
    assert (status, words.endswith("OK\n")) == ("ok", True)
    status, _, words = await run(shared, test.format("1 + 1 == 3"))
    assert (status, "FAILED (failures=1)" in words) == ("error", True)


# ---- between two blocks ------------------------------------------------------------------------------

PAUSE = "import threading\nrang = threading.Event()\n"


async def test_a_late_alarm_is_told_with_the_next_block(sandbox: Sandbox) -> None:
    code = (
        "import signal\nbig = 5\ndef late(number, frame): raise TimeoutError('too long')\n"
        "signal.signal(signal.SIGALRM, late)\nsignal.setitimer(signal.ITIMER_REAL, 2);"
    )
    assert (await run(sandbox, code))[0] == "ok"
    await asyncio.sleep(2.1)  # It rings between the blocks, even if the first one ends late.
    status, printed, words = await run(sandbox, "print(big)")
    assert (status, printed) == ("ok", "5\n")
    assert "SIGALRM" in words
    assert "TimeoutError: too long" in words
    # In a block the handler does what the code wants of it.
    _, result = await sandbox.run("import time\nsignal.setitimer(signal.ITIMER_REAL, 0.05)\ntime.sleep(30)")
    assert result.error is not None
    assert result.error.ename == "TimeoutError"


async def test_an_alarm_without_a_handler_ends_nothing(sandbox: Sandbox) -> None:
    code = "import signal\nsignal.signal(signal.SIGALRM, signal.SIG_DFL)\nsignal.setitimer(signal.ITIMER_REAL, 2);"
    await run(sandbox, code)
    await asyncio.sleep(2.1)  # It rings between the blocks, even if the first one ends late.
    status, printed, words = await run(sandbox, "print(1)")
    assert (status, printed, "no handler" in words) == ("ok", "1\n", True)


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("async def job(): sys.exit('job done')\ntask = asyncio.create_task(job())", "SystemExit: job done"),
        ("asyncio.get_running_loop().call_soon(sys.exit)", "SystemExit"),
        ("asyncio.get_running_loop().stop()", "loop.stop() was called"),
        ("async def job(): raise KeyboardInterrupt\ntask = asyncio.create_task(job())", "KeyboardInterrupt"),
    ],
)
async def test_what_ends_a_loop_does_not_end_the_kernel(shared: Sandbox, code: str, cause: str) -> None:
    _, _, before = await run(shared, f"import asyncio, sys\nbig = 5\nawait asyncio.sleep(0)\n{code}")
    status, printed, words = await run(shared, "await asyncio.sleep(0.05)\nprint(big)")
    _, _, after = await run(shared, "pass")
    assert (status, printed) == ("ok", "5\n")
    assert cause in before + words + after


# ---- forks, shells, loops ----------------------------------------------------------------------------


async def test_a_forked_child_ends_with_its_block(shared: Sandbox) -> None:
    code = "import os\nif not (pid := os.fork()):\n    print('child')\nelse:\n    os.waitpid(pid, 0)\n"
    assert await run(shared, f"{code}    print('parent')") == ("ok", "child\nparent\n", "")


@pytest.mark.parametrize(
    ("end", "code"), [("pass", 0), ("sys.exit(3)", 3), ("1 / 0", 1), ("sys.exit('no')", 1), ("os._exit(7)", 7)]
)
async def test_a_forked_child_has_its_exit_status(sandbox: Sandbox, end: str, code: int) -> None:
    fork = f"import os, sys\npid = os.fork()\nif pid == 0:\n    {end}\nelse:\n"
    status, printed, words = await run(sandbox, f"{fork}    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))")
    assert (status, printed) == ("ok", f"{code}\n")
    assert ("no\n" in words, "ZeroDivisionError" in words) == ("no" in end, "1 / 0" in end)
    assert "SystemExit" not in words


async def test_lines_of_worker_processes_stay_whole(shared: Sandbox) -> None:
    code = (
        "import multiprocessing\n"
        "def work(number):\n"
        "    for _ in range(50): print(number, number * 'x', 'end', sep='-')\n"
        "with multiprocessing.get_context('fork').Pool(4) as pool: pool.map(work, range(40, 60), chunksize=1)"
    )
    _, printed, _ = await run(shared, code)
    lines = printed.splitlines()
    assert sorted(lines) == sorted(f"{number}-{number * 'x'}-end" for number in range(40, 60) for _ in range(50))


async def test_lines_of_the_code_stay_whole_beside_those_of_its_workers(shared: Sandbox) -> None:
    code = (
        "import subprocess\n"
        "loud = subprocess.Popen(['sh', '-c', 'for i in $(seq 2000); do echo worker; done'])\n"
        "while loud.poll() is None: print('a', 'b', 'c', 'd', 'e')"
    )
    _, printed, _ = await run(shared, code)
    lines = printed.splitlines()
    torn = [line for line in lines if line not in ("worker", "a b c d e")]
    # A machine that lets the kernel wait for long in the middle of a line may tear that one.
    assert len(torn) <= len(lines) // 100
    assert lines.count("worker") > 1900


@pytest.mark.parametrize(
    "command", ["read x; echo got $x", "read x < /dev/tty; echo got $x", "cat; echo got", "seq 3 | less; echo got"]
)
async def test_a_command_that_asks_finds_its_input_at_its_end(shared: Sandbox, command: str) -> None:
    status, printed, _ = await run(shared, f"!{command}")
    assert (status, "got" in printed.splitlines()[-1]) == ("ok", True)


async def test_commands_write_live_end_with_a_status_and_stop(shared: Sandbox) -> None:
    assert (await run(shared, "!exit 3\nprint(_exit_code)"))[1] == "3\n"
    assert (await run(shared, "!kill -9 $$\nprint(_exit_code)"))[1] == "-9\n"
    assert (await run(shared, "word = 'a'\n!echo {word} $word; sleep 100 >/dev/null &"))[1] == "a a\n"
    async with shared.execute("!echo live; sleep 60\nprint('never')") as execution:
        assert await printed(execution, "live\n") == "live\n"
        await execution.aclose()
    assert execution.result.kernel_alive
    assert execution.result.status == "interrupted"


async def test_context_variables_last_from_block_to_block(shared: Sandbox) -> None:
    await run(shared, "import contextvars\nkept = contextvars.ContextVar('kept', default=0)")
    for code, seen in (
        ("import asyncio\nawait asyncio.sleep(0)\nkept.set(1);", 1),
        ("kept.set(2);", 2),
        ("await asyncio.sleep(0)\nassert kept.get() == 2\nkept.set(3);", 3),
    ):
        assert (await run(shared, code))[0] == "ok"
        assert await value(shared, "kept.get()") == str(seen)


async def test_a_loop_runs_inside_a_block(shared: Sandbox) -> None:
    await run(
        shared,
        "import asyncio\nasync def main(x=7):\n    await asyncio.sleep(0.001)\n    return x\n"
        "async def bad(): raise KeyError('bad')",
    )
    for code in (
        "print(asyncio.run(main()))",
        "print(asyncio.get_event_loop().run_until_complete(main()))",
        "print(asyncio.get_event_loop().run_until_complete(asyncio.ensure_future(main())))",
        "loop = asyncio.new_event_loop()\nprint(loop.run_until_complete(main()))\nloop.close()",
        "with asyncio.Runner() as runner: print(runner.run(main()))",
        "task = asyncio.create_task(main())\nassert asyncio.run(main(8)) == 8\nprint(await task)",
    ):
        assert await run(shared, code) == ("ok", "7\n", ""), code
    _, result = await shared.run("asyncio.run(bad())")
    assert result.error is not None
    assert result.error.ename == "KeyError"
    assert await value(shared, "asyncio.run(main(9))") == "9"


async def test_a_loop_inside_a_block_is_interrupted(shared: Sandbox) -> None:
    for wait in ("asyncio.run(asyncio.sleep(60))", "asyncio.get_event_loop().run_until_complete(asyncio.sleep(60))"):
        async with shared.execute(f"import asyncio\nprint('on')\n{wait}") as execution:
            await anext(execution)
            await execution.aclose()
        assert execution.result.status == "interrupted"
        assert execution.result.kernel_alive


# ---- memory ------------------------------------------------------------------------------------------


async def test_only_the_last_value_is_kept_and_no_large_one(shared: Sandbox) -> None:
    await run(
        shared,
        "import gc, weakref\nclass Value:\n    def __init__(self, size=1): self.data = bytearray(size)\n"
        "seen = weakref.WeakSet()\ndef value(size=1):\n    new = Value(size)\n    seen.add(new)\n    return new",
    )
    for _ in range(5):
        await run(shared, "value()")
    assert await value(shared, "len(seen), _ in seen, len(Out)") == "1 True 1"
    await run(shared, "value(20_000_000)")
    assert await value(shared, "len(seen), repr(_)") == "0 ''"
    await run(shared, "_ = 'mine'\n5")
    await run(shared, "6")
    assert await value(shared, "_") == "mine"


async def test_a_failure_keeps_nothing_of_its_frames(start: StartSandbox) -> None:
    sandbox = await start()
    await run(
        sandbox,
        "import weakref\nclass Value: pass\nseen = weakref.WeakSet()\n"
        "def fail(again):\n    local = Value()\n    local.itself = local\n    seen.add(local)\n"
        "    try: 1 / 0\n    except ZeroDivisionError as error:\n"
        "        if again: raise\n        kept = error\n        raise KeyError from error",
    )
    for code in ("fail(True)", "fail(False)", "import asyncio\nawait asyncio.sleep(0)\nfail(True)"):
        assert (await run(sandbox, code))[0] == "error"
        # The model thinks longer than this.
        await run(sandbox, "import asyncio\nawait asyncio.sleep(0.2)")
        assert await value(sandbox, "len(seen)") == "0", code
