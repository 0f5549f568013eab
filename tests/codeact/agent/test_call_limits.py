"""Limits for one block's calls of functions outside of its sandbox: number, bytes and time.

Each error names its limit.
"""

import time
from pathlib import Path
from typing import Any

from codeact import Agent
from codeact import events as e
from codeact.models.scripted import ScriptedModel
from sandbox_pool.calls import CallBudget
from sandbox_pool.outputs import ExecutionResult

LOOP = """
n = 0
while True:
    try:
        answer()
    except Exception:
        pass
    n += 1
"""


def ran(code: str, function: Any, tmp_path: Path, **settings: Any) -> tuple[ExecutionResult, list[e.McpCall], str]:
    """How the code ended, its calls, and what it printed."""
    model = ScriptedModel([f"<execute>\n{code}\n</execute>\n", "<execute>\nprint(n)\n</execute>\n", "Done."])
    with Agent(model, tools=[function], sandbox="process", data_dir=tmp_path, **settings) as agent:
        response = agent.run("go")
    blocks = [item for item in response.output if isinstance(item, e.CodeInterpreterCall)]
    assert blocks[0].result is not None
    said = "".join(output.logs for output in blocks[1].outputs or () if isinstance(output, e.LogsOutput))
    return blocks[0].result, [item for item in response.output if isinstance(item, e.McpCall)], said


def test_calls_in_a_loop_are_ended_by_number(tmp_path: Path) -> None:
    def answer() -> int:
        return 1

    result, calls, said = ran(LOOP, answer, tmp_path, calls=20)
    assert (result.status, result.limit, result.kernel_alive) == ("interrupted", "calls", True)
    assert "20 calls" in result.detail
    assert len(calls) == 20
    assert int(said) >= 20


def test_calls_with_large_values_are_ended_by_bytes(tmp_path: Path) -> None:
    def answer() -> str:
        return "x" * 90_000

    result, calls, _ = ran(LOOP, answer, tmp_path, call_bytes=1_000_000)
    assert (result.status, result.limit) == ("interrupted", "call_bytes")
    assert sum(len(call.output or "") for call in calls) < 1_000_000


def test_calls_with_large_arguments_are_ended_by_bytes(tmp_path: Path) -> None:
    def answer(text: str = "") -> int:
        return len(text)

    code = LOOP.replace("answer()", "answer(text='x' * 90_000)")
    result, calls, _ = ran(code, answer, tmp_path, call_bytes=1_000_000)
    assert (result.status, result.limit) == ("interrupted", "call_bytes")
    assert len(calls) <= 11


def test_slow_calls_share_one_time_limit(tmp_path: Path) -> None:
    def answer() -> int:
        time.sleep(0.5)
        return 1

    began = time.monotonic()
    result, calls, _ = ran(LOOP, answer, tmp_path, calls=50, call_timeout_s=4.0)
    assert (result.status, result.limit) == ("interrupted", "calls")
    answered = [call for call in calls if call.error is None]
    assert 1 <= len(answered) <= 8
    assert "did not answer within the 4 s of all calls" in str(calls[-1].error)
    assert time.monotonic() - began < 60


def test_a_budget_names_what_was_passed_first() -> None:
    budget = CallBudget(calls=2, call_bytes=100)
    assert budget.take(50, calls=1)
    assert budget.take(50)
    assert not budget.take(1)
    assert not budget.take(0, calls=5)
    assert budget.exceeded == "call_bytes"
