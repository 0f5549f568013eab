"""An open block runs its statements as they come, with the effects of the same code in one piece. Every backend."""

import asyncio
import re
import time
from collections.abc import Sequence

import pytest

from sandbox_pool.outputs import Error, ExecuteResult, ExecutionResult, Output, fold
from sandbox_pool.sandbox.execution import Execution, Progress
from sandbox_pool.sandbox.sandbox import Sandbox
from tests.sandbox_pool.conftest import text

pytestmark = pytest.mark.anyio

Seen = list[Output | Progress]


async def follow(execution: Execution, seen: Seen, *, until: int | None = None) -> None:
    """Collects what the execution yields, to its end or until so many statements have run."""
    while until is None or execution.ran < until:
        try:
            item = await execution.next()
        except StopAsyncIteration:
            return
        assert not hasattr(item, "call_id")
        seen.append(item)  # type: ignore[arg-type]


async def run_open(sandbox: Sandbox, statements: Sequence[str]) -> tuple[Seen, ExecutionResult]:
    """Runs statements of which one comes with the request, and the others one by one."""
    execution, seen = sandbox.open(statements[:1]), []  # type: tuple[Execution, Seen]
    for statement in statements[1:]:
        execution.write([statement])
    execution.write([], ended=True)
    await follow(execution, seen)
    return seen, execution.result


def plain(outputs: Sequence[Output | Progress]) -> list[str]:
    """The outputs in a form that is the same for the same outputs, whatever the number of their block."""
    shown = fold([output for output in outputs if not isinstance(output, Progress)])
    return [re.sub(r"In ?\[\d+\]|execution_count=\d+|/\d+\.py|\(\d+\.py", "", repr(output)) for output in shown]


WHOLE = {
    "only the last expression is shown": ["x = 1\n", "x\n", "print(x)\n", "x + 1\n"],
    "not before a comment": ["'a'\n", "# the end\n"],
    "a semicolon hides it": ["5\n", "6;\n"],
    "an expression with await": ["import asyncio\n", "await asyncio.sleep(0, 7)\n"],
    "tasks begin when the block awaits": [
        "import asyncio\n",
        "async def f(n):\n    print('task', n)\n    return n\n\n",
        "t = asyncio.create_task(f(1))\n",
        "print('before')\n",
        "print(await t)\n",
        "u = asyncio.create_task(f(2))\n",
        "v = await asyncio.gather(f(3), asyncio.to_thread(len, 'ab'))\n",
        "v\n",
    ],
    "a loop of its own": [
        "import asyncio\n",
        "print(asyncio.run(asyncio.sleep(0, 'run')))\n",
        "await asyncio.sleep(0)\n",
    ],
    "magics and shell lines": ["x = !echo hi\n", "x[0]\n", "%precision 2\n", "!echo there\n", "1/3\n"],
    "the input": ["a = 1\n", "In[-1][:5]\n"],
    "the input of magics": ["a = 1  # kept\n", "%history -l 1\n"],
    "__name__ and get_ipython": ["if __name__ == '__main__':\n    print('main')\n\n", "type(get_ipython()).__name__\n"],
    "names that are deleted": ["x = 1\n", "del x\n", "'x' in globals()\n"],
    "the future": ["from __future__ import annotations\n", "def f(a: nothing): pass\n", "f.__annotations__\n"],
    "an exit": ["print(1)\n", "raise SystemExit\n", "print(2)\n"],
    "a fork": ["import os\n", "child = os.fork()\n", "if child: done = os.waitpid(child, 0)\n", "print(child > 0)\n"],
    "warnings": ["import warnings\n", "\n\nwarnings.warn('see')\n"],
    "a cell within the block": ["r = 1\n", "get_ipython().run_cell('print(7)\\n8')\n", "print(r)\n", "9\n"],
    "no lines for tracebacks": ["import linecache\n", "linecache.clearcache()\n", "print(1)\n", "2\n"],
    "an automatic magic is only a whole block": ["pwd = 5\n", "pwd\n"],
}


@pytest.mark.parametrize("statements", WHOLE.values(), ids=WHOLE)
async def test_statements_that_come_one_by_one_do_what_the_whole_block_does(
    shared: Sandbox, statements: list[str]
) -> None:
    outputs, result = await shared.run("".join(statements))
    seen, eager = await run_open(shared, statements)
    assert plain(seen) == plain(outputs)
    assert (eager.status, eager.limit, eager.error_kind) == (result.status, result.limit, result.error_kind)
    assert eager.execution_count == (result.execution_count or 0) + 1


@pytest.mark.parametrize(
    ("statements", "ran", "kind"),
    [
        (["x = 1\n", "# why\n\n1 / 0\n", "print('never')\n"], 1, "runtime"),
        (["print(1)\n", "x = = 2\n", "print('never')\n"], 1, "syntax"),
        (["y = 1\n", "def f():\n    return y\n\n", "global y\n"], 2, "syntax"),
        (["print(1)\n", "from __future__ import annotations\n"], 1, "syntax"),
    ],
)
async def test_the_first_error_ends_the_block_and_names_its_own_line(
    shared: Sandbox, statements: list[str], ran: int, kind: str
) -> None:
    execution, seen = shared.open(statements[:1]), []  # type: tuple[Execution, Seen]
    execution.write(statements[1:])
    await follow(execution, seen)  # It ends although more might have come.
    execution.write(["print('late')\n"], ended=True)
    assert (execution.ran, execution.result.error_kind) == (ran, kind)
    error = execution.result.error
    assert error is not None
    line = "".join(statements[: ran + 1]).count("\n")
    assert re.search(rf"line {line}\b", re.sub(r"\x1b\[\d+m", "", "\n".join(error.traceback)))
    assert sum(isinstance(output, Error) for output in seen) == 1
    assert "never" not in text([output for output in seen if not isinstance(output, Progress)])


async def test_outputs_come_after_the_progress_of_their_statement(shared: Sandbox) -> None:
    seen, _ = await run_open(
        shared, ["x = 0\n", "print('a')\n", "y = 0\n", "import sys; print('b', file=sys.stderr)\n"]
    )
    places = {}
    for item in seen:
        if isinstance(item, Progress):
            ran = item.ran
        else:
            places[item.text.strip()] = ran  # type: ignore[union-attr]
    assert places == {"a": 1, "b": 3}


async def test_waiting_for_more_does_not_count_against_the_time_limit(shared: Sandbox) -> None:
    began_at = time.perf_counter()
    execution, seen = shared.open(["x = 1\n"], timeout_s=60.0), []  # type: tuple[Execution, Seen]
    await follow(execution, seen, until=1)
    assert execution._timer is None
    await asyncio.sleep(0.5)  # What is measured: the model writes on.
    execution.write(["x + 1\n"], ended=True)
    assert execution._timer is not None
    await follow(execution, seen)
    assert execution.result.status == "ok"
    assert execution.idle_s >= 0.5
    assert execution.result.duration_s + execution.idle_s <= time.perf_counter() - began_at
    execution = shared.open(["while True: pass\n"], timeout_s=0.5)
    await follow(execution, [])
    assert execution.result.status == "timeout"


async def test_stop_works_between_and_within_statements(shared: Sandbox) -> None:
    for statements, until in (
        (["x = 1\n"], 1),
        (["x = 1\n", "x\n"], 2),
        (["x = 1\n", "import time; time.sleep(60)\n"], 1),
    ):
        execution = shared.open(statements)
        await follow(execution, [], until=until)
        await execution.aclose()
        assert execution.result.status == "interrupted"
    execution = shared.open(["import asyncio\n", "await asyncio.sleep(60)\n"])
    await follow(execution, [], until=1)
    await execution.aclose()
    assert (await shared.run("x"))[1].status == "ok"


async def test_a_kernel_that_lies_about_its_progress_is_not_believed(shared: Sandbox) -> None:
    forged = (
        "k = get_ipython().kernel\n"
        "for ran in (5, 10**30, -1, 'x'):\n"
        "    content = {'ran': ran, 'runs': True, 'got': 9}\n"
        "    k.session.send(k.iopub_socket, 'codeact_progress', content, parent=k.get_parent('shell'))\n\n"
    )
    seen, result = await run_open(shared, [forged, "1\n"])
    assert result.status == "ok"
    assert max(item.ran for item in seen if isinstance(item, Progress)) <= 2
    outputs, result = await shared.run(forged)
    assert (result.status, outputs) == ("ok", [])


async def test_the_value_that_is_shown_is_kept_as_for_a_whole_block(shared: Sandbox) -> None:
    seen, result = await run_open(shared, ["40\n", "41\n", "42\n"])
    assert [item.data["text/plain"] for item in seen if isinstance(item, ExecuteResult)] == ["42"]
    outputs, _ = await shared.run(f"print(_, Out, _{result.execution_count}, In[-2])")
    assert text(outputs) == f"42 {{{result.execution_count}: 42}} 42 40\n41\n42\n"
