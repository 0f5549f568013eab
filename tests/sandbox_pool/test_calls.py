"""Code in a sandbox calls functions outside of it, which the test provides."""

import json
from contextlib import aclosing
from unittest.mock import ANY

import pytest

from sandbox_pool.calls import Call
from sandbox_pool.errors import SandboxError
from sandbox_pool.outputs import ExecutionResult, Output, Stream
from sandbox_pool.sandbox.execution import Execution
from sandbox_pool.sandbox.sandbox import Sandbox
from tests.sandbox_pool.conftest import StartSandbox, hurry

pytestmark = pytest.mark.anyio

ADD = """
from codeact_calls import call
def add(a, b):
    return call("add", {"a": a, "b": b})
get_ipython().user_ns["add"] = add
"""


async def run(
    sandbox: Sandbox, code: str, *, timeout_s: float | None = None
) -> tuple[list[Output | Call], ExecutionResult]:
    """Runs the code and makes the additions that it asks for."""
    seen: list[Output | Call] = []
    async with aclosing(sandbox.execute(code, timeout_s=timeout_s, calls=True)) as execution:
        while (item := await following(execution)) is not None:
            seen.append(item)
            if isinstance(item, Call):
                arguments = json.loads(item.arguments)
                if arguments["b"] is None:
                    sandbox.answer(item, error="b is missing")
                else:
                    sandbox.answer(item, value=json.dumps(arguments["a"] + arguments["b"]))
        return seen, execution.result


async def following(execution: Execution) -> Output | Call | None:
    try:
        return await execution.next()
    except StopAsyncIteration:
        return None


def text(seen: list[Output | Call]) -> str:
    return "".join(item.text for item in seen if isinstance(item, Stream))


@pytest.fixture
async def adding(start: StartSandbox) -> Sandbox:
    sandbox = await start()
    await sandbox.define(ADD)
    return sandbox


async def test_calls_come_in_order_with_what_is_printed(adding: Sandbox) -> None:
    seen, result = await run(adding, "print('before')\nprint(add(1, 2))\nprint([add(n, n) for n in range(3)])")
    assert result.status == "ok"
    assert text(seen) == "before\n3\n[0, 2, 4]\n"
    assert isinstance(seen[0], Stream)
    assert [call.name for call in seen if isinstance(call, Call)] == ["add"] * 4


async def test_threads_may_call_at_once(adding: Sandbox) -> None:
    code = (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(8) as pool:\n"
        "    print(sum(pool.map(lambda n: add(n, 0), range(40))))"
    )
    seen, _ = await run(adding, code)
    assert text(seen) == "780\n"


async def test_what_a_function_refuses_is_raised_in_the_code(adding: Sandbox) -> None:
    seen, result = await run(adding, "try:\n    add(1, None)\nexcept Exception as error:\n    print(repr(error))")
    assert text(seen) == "CallError('b is missing')\n"
    assert result.status == "ok"


async def test_arguments_that_json_cannot_say_are_named(adding: Sandbox) -> None:
    _, result = await run(adding, "add(1, object())")
    assert result.error is not None
    assert result.error.ename == "TypeError"
    assert "add() takes what JSON can say" in result.error.evalue


async def test_waiting_for_a_value_is_not_the_codes_time(adding: Sandbox) -> None:
    execution = adding.execute("print(add(1, 2)); import time; time.sleep(1000)", timeout_s=60, calls=True)
    async with aclosing(execution):
        call = await execution.next()
        assert isinstance(call, Call)
        assert execution._timer is None
        assert not execution.cause.done()
        assert execution.open_calls == 1
        adding.answer(call, value="3")
        assert isinstance(await execution.next(), Stream)
        hurry(execution)
        await execution.ended()
    assert execution.result.status == "timeout"


async def test_an_interrupt_ends_the_wait(adding: Sandbox) -> None:
    execution = adding.execute("add(1, 2)", calls=True)
    assert isinstance(await execution.next(), Call)
    await execution.aclose()
    assert execution.result.status == "interrupted"
    assert execution.result.kernel_alive


async def test_without_anybody_to_answer_a_call_fails(adding: Sandbox) -> None:
    _, result = await adding.run("add(1, 2)")
    assert result.error is not None
    assert "nobody to answer add()" in result.error.evalue


async def test_definitions_leave_no_trace_and_fail_by_name(adding: Sandbox) -> None:
    outputs, _ = await adding.run("len(In), {'sys', 'types', 'module', 'call'} & set(dir())")
    assert "(2, set())" in str(outputs)
    with pytest.raises(SandboxError, match="SyntaxError"):
        await adding.define("def (")


ECHO = """
from codeact_calls import call
get_ipython().user_ns["echo"] = lambda value: call("echo", {"value": value})
"""


async def echoed(sandbox: Sandbox, code: str) -> tuple[str, ExecutionResult]:
    """Runs code that calls `echo`, which returns its argument as it was sent."""
    seen: list[Output | Call] = []
    async with aclosing(sandbox.execute(code, calls=True)) as execution:
        while (item := await following(execution)) is not None:
            seen.append(item)
            if isinstance(item, Call):
                sandbox.answer(item, value=json.dumps(json.loads(item.arguments)["value"]))
        return text(seen), execution.result


async def test_values_go_out_and_come_back_as_what_they_are(start: StartSandbox) -> None:
    sandbox = await start()
    await sandbox.define(ECHO)
    code = (
        "import datetime as dt, decimal, enum, math, types\n"
        "values = [None, True, 2**70, 1.5, 'é', [1], (1, (2,)), {1, 2}, {1: 'a', (2,): 'b'}, {'k': 1}, b'\\0\\xff',\n"
        "    dt.datetime(2026, 1, 2, tzinfo=dt.UTC), dt.date(2026, 1, 2), dt.time(1), dt.timedelta(1), math.inf,\n"
        "    decimal.Decimal('0.1'), {'$codeact': 'tuple', 'value': [1]}]\n"
        "for value in values:\n"
        "    back = echo(value)\n"
        "    if back != value or type(back) is not type(value): print(repr(value), repr(back))\n"
        "print('all')"
    )
    assert await echoed(sandbox, code) == ("all\n", ANY)
    for value, words in (
        ("types.SimpleNamespace()", "SimpleNamespace; pass text"),
        ("'\\ud800'", "halves of characters"),
        ("type('DataFrame', (), {})()", "to_dict"),
        ("type('PngFile', (type('Image', (), {}),), {})()", "getvalue"),
        ("type('ndarray', (), {})()", "tolist"),
    ):
        _, result = await echoed(sandbox, f"echo({value})")
        assert result.error is not None
        assert (result.error.ename, words in result.error.evalue) == ("TypeError", True), result.error.evalue


async def test_a_call_in_a_forked_child_fails_at_once(adding: Sandbox) -> None:
    code = (
        "import os\n"
        "if not (pid := os.fork()):\n"
        "    try: add(1, 2)\n"
        "    except Exception as error: print(error)\n"
        "else:\n"
        "    os.waitpid(pid, 0); print(add(1, 2))"
    )
    seen, result = await run(adding, code, timeout_s=100)
    assert result.status == "ok"
    assert "cannot be called in a forked process" in text(seen)
    assert text(seen).endswith("\n3\n")
