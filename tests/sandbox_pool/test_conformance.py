"""What every backend's sandboxes must do. Only the public interface is used."""

import base64
import json
from dataclasses import replace

import pytest

from sandbox_pool.backends.base import READONLY
from sandbox_pool.errors import FileRefused
from sandbox_pool.outputs import (
    ClearOutput,
    DisplayData,
    Error,
    ExecuteResult,
    Stream,
    fold,
)
from sandbox_pool.sandbox.sandbox import Sandbox
from sandbox_pool.spec import Limits
from tests.differences import kind_of, needs_promise
from tests.sandbox_pool.conftest import SOON_S, SPEC, StartSandbox, printed, text, value

pytestmark = pytest.mark.anyio


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


async def test_a_sandbox_says_what_is_installed_in_it(shared: Sandbox) -> None:
    code = "import importlib.metadata as m\nsorted({each.name.lower().replace('_', '-') for each in m.distributions()})"
    outputs, _ = await shared.run(code)
    [found] = [output.data["text/plain"] for output in outputs if isinstance(output, ExecuteResult)]
    names = {name.lower().replace("_", "-") for name in shared.packages}
    assert {"ipykernel", "numpy", "pandas", "matplotlib"} <= names
    assert all(f"'{name}'" in found for name in ("ipykernel", "numpy"))


async def test_output_arrives_while_the_code_still_runs(shared: Sandbox) -> None:
    async with shared.execute("print('live')\nimport time\ntime.sleep(60)") as execution:
        assert await printed(execution, "live\n") == "live\n"
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
    assert text(outputs) == "a\ufffdb\n"
    assert result.error
    assert result.error.evalue == "\ufffd"


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
    assert json.loads(bytes(bundles[4]["application/json"])) == {"a": [1, None]}
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
        "import os, time\n"
        "from IPython.display import clear_output\n"
        "handle = display('old', display_id='it')\n"
        "while not os.path.exists('seen'): time.sleep(0.001)\n"
        "handle.update('new')\n"
        "print('gone')\n"
        "clear_output(wait=True)\n"
        "print('kept')"
    )
    async with shared.execute(code) as execution:
        # What is cleared before anybody has seen it may be left out.
        assert await anext(execution) == DisplayData({"text/plain": "'old'"}, {}, "it")
        await shared.write_file("seen", b"")
        outputs = [output async for output in execution]
    assert ClearOutput(wait=True) in outputs
    assert fold(outputs) == [Stream("stdout", "kept\n")]


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
    assert "ask the user in your answer" in result.error.evalue
    assert result.duration_s < SOON_S


@pytest.mark.parametrize("code", ["exit(1)", "quit('no')", "import sys; sys.exit(1)"])
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


# ---- limits ------------------------------------------------------------------------------------------


async def test_output_past_its_limit_is_dropped_and_counted(start: StartSandbox) -> None:
    sandbox = await start(replace(SPEC, limits=Limits(output_bytes=10_000)))
    outputs, result = await sandbox.run("for _ in range(5000): print('x' * 99)\nreached = True")
    kept = len(text(outputs))
    assert 9_000 < kept <= 10_000
    # Of what was dropped the size is known as it came, in messages.
    assert 500_000 <= kept + result.omitted_bytes < 550_000
    assert (result.status, result.limit) == ("ok", "output_bytes")
    assert await value(sandbox, "reached") == "True"


async def test_an_error_is_kept_past_the_output_limit(start: StartSandbox) -> None:
    sandbox = await start(replace(SPEC, limits=Limits(output_bytes=1_000)))
    outputs, result = await sandbox.run("print('x' * 5000)\n1/0")
    assert isinstance(outputs[-1], Error)
    assert (result.status, result.limit) == ("error", "output_bytes")


async def test_an_output_too_large_to_send_is_counted_and_the_kernel_lives(shared: Sandbox) -> None:
    outputs, result = await shared.run("from IPython.display import HTML\ndisplay(HTML('x' * 40_000_000))\nprint('on')")
    assert (result.status, result.kernel_alive, result.limit) == ("ok", True, "output_bytes")
    assert result.omitted_bytes >= 40_000_000
    assert outputs == [Stream("stdout", "on\n")]


async def test_files_that_are_added_readonly_can_be_read_and_not_changed(start: StartSandbox) -> None:
    sandbox = await start()
    if kind_of(sandbox._backend) == "kubernetes":
        with pytest.raises(FileRefused, match="not pods"):
            await sandbox.add_readonly("notes", {"SKILL.md": b"old"})
    needs_promise(sandbox._backend, "readonly files")
    await sandbox.add_readonly("notes", {"SKILL.md": b"old", "gone.txt": b"x"})
    await sandbox.add_readonly("notes", {"SKILL.md": b"read me", "lib/run.sh": b"#!/bin/sh\necho ran\n"})
    root = READONLY
    code = f"""
import os, subprocess
root = {root!r}
print(open(f"{{root}}/notes/SKILL.md").read(), sorted(os.listdir(f"{{root}}/notes")))
print(subprocess.run(["sh", f"{{root}}/notes/lib/run.sh"], capture_output=True, text=True).stdout, end="")
def tried(action, *arguments):
    try:
        action(*arguments)
        print("done", action.__name__, arguments)
    except OSError:
        pass
tried(open, f"{{root}}/notes/SKILL.md", "w")
tried(os.chmod, f"{{root}}/notes/SKILL.md", 0o777)
tried(os.unlink, f"{{root}}/notes/SKILL.md")
tried(os.rename, f"{{root}}/notes", f"{{root}}/other")
tried(open, f"{{root}}/notes/new", "w")
tried(os.mkdir, f"{{root}}/new")
"""
    outputs, result = await sandbox.run(code)
    assert text(outputs) == "read me ['SKILL.md', 'lib']\nran\n", result
