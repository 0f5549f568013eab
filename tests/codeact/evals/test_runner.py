"""Runs of evaluations: failures by kind, retries, budgets, and going on where a run was cut off."""

import dataclasses
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from codeact.errors import ConfigurationError, ModelUnreachable
from codeact.evals import checks
from codeact.evals.action_formats import ask_in_format
from codeact.evals.attempt import attempt
from codeact.evals.outcome import Outcome
from codeact.evals.record import ATTEMPTS, Attempt, Setup, read_attempts, read_plan
from codeact.evals.recording import Recording
from codeact.evals.runner import Budget, Options, evaluate, known_setups
from codeact.evals.task import Limits, Task, code
from codeact.models.scripted import ScriptedModel
from tests.codeact.evals.conftest import Evaluate

pytestmark = pytest.mark.anyio


def add(a: int, b: int) -> int:
    """Adds two numbers."""
    if a < 0:
        raise ValueError("no negative numbers")
    return a + b


SUM = Task(
    id="sum",
    questions=["What is 2 + 3?"],
    tools=lambda: [add],
    check=checks.all_of(checks.number(5), checks.called("add")),
    tags=frozenset({"small"}),
    reference=[code("print(add(2, 3))"), "It is 5."],
    wrong=["It is 6."],
)


def broken(outcome: Outcome) -> bool:
    raise LookupError("no such thing")


async def test_each_failure_has_its_kind_and_its_reason(evaluated: Evaluate) -> None:
    endless = [code("while True:\n    pass"), "done"]
    found = await evaluated(
        [
            SUM,
            dataclasses.replace(SUM, id="checker", check=broken),
            dataclasses.replace(SUM, id="slow", reference=endless, limits=Limits(timeout_s=2)),
            dataclasses.replace(SUM, id="turns", reference=[code("add(1, 1)")] * 3, limits=Limits(max_turns=2)),
        ],
        "reference",
        "wrong",
    )
    right = found["sum", "reference"]
    assert (right.passed, right.failure, right.answer, right.blocks, right.calls) == (True, None, "It is 5.", 1, 1)
    assert right.output_tokens > 0
    assert [step.kind for step in right.transcript] == ["question", "code", "call", "answer"]
    wrong = found["sum", "wrong"]
    assert (wrong.passed, wrong.failure, wrong.score) == (False, "wrong", 0.0)
    assert "expected the number 5" in wrong.reason
    assert found["checker", "reference"].failure == "checker_failed"
    assert "LookupError: no such thing" in found["checker", "reference"].reason
    assert found["slow", "reference"].failure == "timeout"
    assert found["turns", "reference"].failure == "max_turns"


async def test_eager_execution_is_a_setup_and_gives_the_same_result(tmp_path: Path) -> None:
    setups = known_setups(["reference"], [], [], [True, False])
    sandbox = {"sandbox": "process", "data_dir": tmp_path / "run"}
    found = await evaluate("tests", [SUM], Options(setups=setups, sandbox=sandbox), tmp_path / "results")
    assert sorted((one.setup.label, one.passed, one.calls) for one in found) == [
        ("reference · eager", True, 1),
        ("reference · not eager", True, 1),
    ]
    assert all(one.code_detected_s is not None and one.first_output_s is not None for one in found)


async def test_a_wrong_answer_may_be_tried_again(evaluated: Evaluate) -> None:
    twice = dataclasses.replace(SUM, tries=2, reference=["It is 6.", code("add(2, 3)"), "It is 5."])
    found = await evaluated([twice])
    assert found["sum", "reference"].passed
    assert [step.text for step in found["sum", "reference"].transcript if step.kind == "question"][1] == twice.feedback


async def test_a_checker_can_run_code_with_the_files_of_the_answer(evaluated: Evaluate) -> None:
    write = Task(
        id="write",
        questions=["Write f."],
        check=checks.runs("from made import f\nassert f(2) == 4"),
        reference=[code("open('made.py', 'w').write('def f(x): return 2 * x')"), "done"],
        wrong=[code("open('made.py', 'w').write('def f(x): return x')"), "done"],
    )
    found = await evaluated([write], "reference", "wrong")
    assert found["write", "reference"].passed
    assert "AssertionError" in found["write", "wrong"].reason


async def test_a_run_that_was_cut_off_goes_on_and_does_nothing_twice(tmp_path: Path) -> None:
    tasks = [dataclasses.replace(SUM, id=f"sum-{number}") for number in range(4)]
    options = Options(setups=[Setup(model="reference")], parallel=1, sandbox={"sandbox": "process"})
    with anyio.CancelScope() as scope:

        def stop(plan: Any, done: Any, running: Any) -> None:
            if len(done) == 2:
                scope.cancel()

        await evaluate("tests", tasks, options, tmp_path, stop)
    assert scope.cancelled_caught
    lines = (tmp_path / ATTEMPTS).read_bytes()
    assert lines.count(b"\n") == 2
    (tmp_path / ATTEMPTS).write_bytes(lines + b'{"task": "sum-3", "torn')
    seen: list[str] = []
    found = await evaluate("tests", tasks, options, tmp_path, lambda plan, done, running: seen.extend(running))
    assert sorted(one.task for one in found) == ["sum-0", "sum-1", "sum-2", "sum-3"]
    assert {name.split(" ")[0] for name in seen} == {"sum-2", "sum-3"}
    assert len(read_attempts(tmp_path)) == 4
    with pytest.raises(ConfigurationError, match="holds a run of the suite tests"):
        await evaluate("others", tasks, options, tmp_path)


async def test_a_budget_stops_the_run_and_says_so(tmp_path: Path) -> None:
    tasks = [dataclasses.replace(SUM, id=f"sum-{number}") for number in range(5)]
    options = Options(
        setups=[Setup(model="reference")], parallel=1, budget=Budget(tokens=1), sandbox={"sandbox": "process"}
    )
    assert len(await evaluate("tests", tasks, options, tmp_path)) == 1
    assert read_plan(tmp_path).stopped == "the budget of 1 tokens"
    assert len(await evaluate("tests", tasks, dataclasses.replace(options, budget=Budget()), tmp_path)) == 5
    assert read_plan(tmp_path).stopped is None


async def test_what_the_infrastructure_spoilt_is_told_apart_from_wrong_answers() -> None:
    model = ScriptedModel([[ModelUnreachable("nobody there")]])
    from codeact.api.pool import Pool

    async with Pool(sandbox="process", max_size=1) as pool:
        ended = await attempt(SUM, Setup(model="m"), model=model, pool=pool)
    assert (ended.failure, ended.passed) == ("model_unreachable", False)
    assert "nobody there" in ended.reason


FORMATS = [
    ("json", ['Action: {"tool": "add", "args": {"a": 2, "b": 3}}', "Answer: 5"]),
    ("json", ['Action: {"tool": "add", "args": [2, 3]} End Action', "Answer: 5"]),
    ("text", ["I add. Action: add, 2, 3", "Answer: 5"]),
    ("text", ["hm", "Action: subtract, 2, 3", "Action: add, -2, 3", "Action: add, 2, 3\nAnswer: 4", "Answer: 5"]),
]


@pytest.mark.parametrize(("format_", "said"), FORMATS)
async def test_the_same_functions_are_called_as_json_or_text(format_: str, said: list[str]) -> None:
    model = ScriptedModel(said)
    recording = Recording()
    setup = Setup(model="m", format=format_)
    verdict = await ask_in_format(SUM, setup, recording, model, None, None)  # type: ignore[arg-type]  # No code runs.
    assert verdict.passed
    told = [str(message.content) for message in model.calls[-1]]
    assert told[-1] == "5"
    if len(said) == 5:
        assert "There is no function 'subtract'. There are add." in told[-5]
        assert "no negative numbers" in told[-3]
    [response] = recording.responses
    assert response.usage is not None
    assert response.usage.output_tokens > 0


def test_setups_are_all_combinations_and_dialects_matter_to_code_alone() -> None:
    labels = [setup.label for setup in known_setups(["a", "reference"], ["tags", "tool_call"], ["code", "json"])]
    assert labels == ["a · tags", "a · tool_call", "a · json", "reference", "reference · json"]
    both = [setup.label for setup in known_setups(["a", "reference"], ["tags"], ["code", "json"], [True, False])]
    of_models = ["a · tags · eager", "a · tags · not eager", "a · json"]
    assert both == [*of_models, "reference · eager", "reference · not eager", "reference · json"]
    with pytest.raises(ConfigurationError, match="Name a model"):
        known_setups([], [], [])


def test_a_file_of_attempts_that_is_none_is_refused_by_its_line(tmp_path: Path) -> None:
    (tmp_path / ATTEMPTS).write_bytes(b'{"task": 1}\n')
    with pytest.raises(ConfigurationError, match=r"Line 1 of .* is not an attempt"):
        read_attempts(tmp_path)
    assert msgspec.json.schema(Attempt)
