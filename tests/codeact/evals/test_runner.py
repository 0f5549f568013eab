"""Runs of evaluations: failures by kind, retries, budgets, and going on where a run was cut off."""

import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from codeact.errors import ConfigurationError, ModelUnreachable
from codeact.evals import checks, runner
from codeact.evals.action_formats import ask_in_format
from codeact.evals.attempt import attempt
from codeact.evals.outcome import Outcome
from codeact.evals.record import ATTEMPTS, Attempt, Setup, read_attempts, read_plan, writing
from codeact.evals.recording import Recording
from codeact.evals.report_html import html_report
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


# ---- budgets, retries and repetitions, without sandboxes ---------------------------------------------


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int | None]]:
    """Replaces attempts, and returns their tasks and seeds.

    Each costs a dollar and ten tokens. Its task's id says how it ends: after `late`, the time of the run is over.
    """
    seen: list[tuple[str, int | None]] = []
    scopes: list[anyio.CancelScope] = []
    move_on_after = anyio.move_on_after

    def with_deadline(delay: float | None, *, shield: bool = False) -> anyio.CancelScope:
        scopes.append(move_on_after(delay, shield=shield))
        return scopes[-1]

    @asynccontextmanager
    async def no_pool(**_: Any) -> AsyncIterator[None]:
        yield

    async def attempt(task: Task, setup: Setup, *, repeat: int, seed: int | None, **_: Any) -> Attempt:
        seen.append((task.id, seed))
        word, _, times = task.id.partition("-")
        spoilt = word == "spoilt" and [each for each, _ in seen].count(task.id) <= int(times)
        if word == "late":
            scopes[-1].deadline = anyio.current_time()
            await anyio.sleep_forever()
        return Attempt(
            task=task.id,
            setup=setup,
            repeat=repeat,
            seed=seed,
            passed=not spoilt,
            failure="model_unreachable" if spoilt else None,
            score=float(not spoilt),
            input_tokens=8,
            output_tokens=2,
            cost_usd=None if word == "unpriced" else 1.0,
        )

    monkeypatch.setattr(runner, "attempt", attempt)
    monkeypatch.setattr(runner, "Pool", no_pool)
    monkeypatch.setattr(runner, "FIRST_PAUSE_S", 0.0)
    monkeypatch.setattr(anyio, "move_on_after", with_deadline)
    return seen


async def run(directory: Path, *names: str, **options: Any) -> dict[str, Attempt]:
    tasks = [dataclasses.replace(SUM, id=name) for name in names]
    sandbox = {"sandbox": "process", "data_dir": directory / "data"}
    chosen = Options(setups=[Setup(model="reference")], sandbox=sandbox, **{"parallel": 1, **options})
    return {f"{one.task}/{one.repeat}": one for one in await evaluate("tests", tasks, chosen, directory / "results")}


async def test_what_the_infrastructure_spoils_is_made_again_and_its_costs_count(
    tmp_path: Path, tried: list[tuple[str, int | None]]
) -> None:
    found = await run(tmp_path, "spoilt-2", "spoilt-9", retries=2)
    ended, gave_up = found["spoilt-2/0"], found["spoilt-9/0"]
    assert (ended.passed, ended.attempts_before, ended.cost_usd, ended.tokens) == (True, 2, 3.0, 30)
    assert (gave_up.failure, gave_up.attempts_before) == ("model_unreachable", 2)
    tried.clear()
    again = await run(tmp_path, "spoilt-2", "spoilt-9", retries=9)
    assert {name for name, _ in tried} == {"spoilt-9"}
    assert again["spoilt-9/0"].passed


async def test_each_repetition_has_a_seed_of_its_own(tmp_path: Path, tried: list[tuple[str, int | None]]) -> None:
    found = await run(tmp_path, "a", "b", repeat=2, seed=7)
    assert tried == [("a", 7), ("b", 7), ("a", 8), ("b", 8)]
    assert len(found) == read_plan(tmp_path / "results").size == 4
    await run(tmp_path, "a", "b", repeat=3, seed=7)
    assert tried[4:] == [("a", 9), ("b", 9)]
    with pytest.raises(ConfigurationError, match="with the seed 7"):
        await run(tmp_path, "a", seed=8)


async def test_money_is_counted_over_all_calls_and_a_price_that_nobody_knows_stops_the_run(
    tmp_path: Path, tried: list[tuple[str, int | None]]
) -> None:
    def stopped() -> str:
        return read_plan(tmp_path / "results").stopped or ""

    assert len(await run(tmp_path, "a", "b", "c", "spoilt-9", budget=Budget(cost_usd=2))) == 2
    assert stopped() == "the budget of 2 USD"
    assert len(await run(tmp_path, "a", "b", "c", "spoilt-9", budget=Budget(cost_usd=2))) == 2
    await run(tmp_path, "a", "b", "c", "spoilt-9", budget=Budget(cost_usd=5), retries=9)
    assert [name for name, _ in tried] == ["a", "b", "c", "spoilt-9", "spoilt-9"]
    await run(tmp_path, "unpriced-1", "unpriced-2", budget=Budget(cost_usd=50))
    assert [name for name, _ in tried[5:]] == ["unpriced-1"]
    assert "the price of reference is not known" in stopped()


async def test_time_that_is_over_gives_up_what_is_under_way(
    tmp_path: Path, tried: list[tuple[str, int | None]]
) -> None:
    found = await run(tmp_path, "a", "late", "b", budget=Budget(minutes=90))
    assert list(found) == ["a/0"]
    assert read_plan(tmp_path / "results").stopped == "the time budget of 90 minutes"


async def test_what_cannot_be_asked_in_a_setup_is_not_planned(
    tmp_path: Path, tried: list[tuple[str, int | None]]
) -> None:
    tasks = [SUM, dataclasses.replace(SUM, id="files", files={"a": b""}), dataclasses.replace(SUM, id="no", wrong=())]
    setups = known_setups(["demo", "wrong"], [], ["code", "json"])
    options = Options(setups=setups, sandbox={"sandbox": "process", "data_dir": tmp_path / "data"})
    found = await evaluate("tests", tasks, options, tmp_path / "results")
    plan = read_plan(tmp_path / "results")
    assert len(found) == plan.size == 7
    every = ["sum", "files", "no"]
    assert plan.not_asked == {"demo · json": ["files"], "wrong": ["no"], "wrong · json": every}
    assert "demo · json was not asked 1 of the tasks, which do not suit it: files." in "".join(html_report(plan, found))
    with pytest.raises(ConfigurationError, match="No task of the suite can be asked so"):
        await evaluate("tests", tasks[1:2], dataclasses.replace(options, setups=[setups[1]]), tmp_path / "other")


async def test_one_run_at_a_time_writes_and_its_readers_damage_nothing(
    tmp_path: Path, tried: list[tuple[str, int | None]]
) -> None:
    await run(tmp_path, "a")
    results = tmp_path / "results"
    with (results / ATTEMPTS).open("ab") as file:
        file.write(b'{"task": "half')  # of a line that another process writes
        file.flush()
        assert [one.task for one in read_attempts(results)] == ["a"]
        file.write(b'"}\n')
    assert (results / ATTEMPTS).read_bytes().endswith(b'{"task": "half"}\n')
    with writing(tmp_path), pytest.raises(ConfigurationError, match="Another `codeact eval` writes"):
        await evaluate("tests", [SUM], Options(setups=[Setup(model="reference")]), tmp_path)


async def test_a_budget_of_tokens_stops_the_run_and_says_so(
    tmp_path: Path, tried: list[tuple[str, int | None]]
) -> None:
    assert len(await run(tmp_path, "a", "b", "c", budget=Budget(tokens=20))) == 2
    assert read_plan(tmp_path / "results").stopped == "the budget of 20 tokens"
    assert len(await run(tmp_path, "a", "b", "c")) == 3
    assert read_plan(tmp_path / "results").stopped is None


async def test_a_run_that_was_cut_off_goes_on_and_does_nothing_twice(
    tmp_path: Path, tried: list[tuple[str, int | None]]
) -> None:
    tasks = [dataclasses.replace(SUM, id=name) for name in ("a", "b", "late", "d")]
    options = Options(setups=[Setup(model="reference")], parallel=1)
    with anyio.CancelScope() as scope:

        def stop(plan: Any, done: Any, running: Any) -> None:
            if len(done) == 2:
                scope.cancel()

        await evaluate("tests", tasks, options, tmp_path, stop)
    assert scope.cancelled_caught
    lines = (tmp_path / ATTEMPTS).read_bytes()
    assert lines.count(b"\n") == 2
    (tmp_path / ATTEMPTS).write_bytes(lines + b'{"task": "d", "torn')
    tasks[2] = dataclasses.replace(SUM, id="c")
    tried.clear()
    found = await evaluate("tests", tasks, options, tmp_path)
    assert [one.task for one in found] == ["a", "b", "c", "d"]
    assert [name for name, _ in tried] == ["c", "d"]
    assert len(read_attempts(tmp_path)) == 4
    with pytest.raises(ConfigurationError, match="holds a run of the suite tests"):
        await evaluate("others", tasks, options, tmp_path)
