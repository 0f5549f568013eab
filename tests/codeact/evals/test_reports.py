"""Reports: intervals, differences that are more than noise, one HTML file that runs nothing, and the command line."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from codeact import events as e
from codeact.cli.main import app
from codeact.evals import checks
from codeact.evals.checks import verdict_of
from codeact.evals.outcome import Outcome, Ran
from codeact.evals.record import Attempt, Plan, Setup, Step, append, write_plan
from codeact.evals.report import by_failure, report_as_json, rows
from codeact.evals.report_html import html_report
from codeact.evals.statistics import Share, difference

pytestmark = pytest.mark.anyio


def made(task: str, passed: bool, model: str = "m", repeat: int = 0) -> Attempt:
    return Attempt(
        task=task,
        setup=Setup(model=model),
        repeat=repeat,
        seed=None,
        passed=passed,
        failure=None if passed else "wrong",
        score=float(passed),
        input_tokens=100,
        output_tokens=10,
        cost_usd=0.01,
        total_s=2.0,
        tags=["a"],
        transcript=[
            Step(kind="answer", text="<script>alert(1)</script>", images=["javascript:x", "data:image/png;base64,AA=="])
        ],
    )


def test_only_setups_that_both_runs_have_are_compared() -> None:
    def run(*models: str) -> list[Attempt]:
        return [made(f"t{n}", model == "good", model) for model in models for n in range(6)]

    same = difference(run("good", "bad"), run("good"))
    assert (same.first.total, same.second.total, list(same.won), same.p) == (6, 6, [], 1.0)
    assert same.note == "Only the setups of both runs are compared; left out: bad."
    models = difference(run("bad"), run("good"))
    assert (len(models.won), models.note) == (6, "")
    mixed = difference(run("good", "bad"), run("other"))
    assert "no setup in common" in mixed.note
    assert difference(run("good", "bad"), run("bad", "good")).note == ""


@pytest.mark.parametrize(
    ("passed", "total", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (8, 10, 0.4902, 0.9433), (0, 0, 0, 1)],
)
def test_intervals_are_wilsons(passed: int, total: int, low: float, high: float) -> None:
    assert Share(passed, total).bounds == pytest.approx((low, high), abs=1e-4)


def test_a_difference_is_noise_until_enough_tasks_agree() -> None:
    before = [made(f"t{n}", n < 5) for n in range(20)]
    few = difference(before, [made(f"t{n}", n < 8) for n in range(20)])
    assert (len(few.won), len(few.lost), few.p, few.is_noise) == (3, 0, 0.25, True)
    many = difference(before, [made(f"t{n}", n < 16) for n in range(20)])
    assert many.p == pytest.approx(2 / 2**11)
    assert not many.is_noise
    assert difference(before, before).p == 1.0
    repeated = [made("t0", True, repeat=n) for n in range(50)]
    assert difference(repeated, [made("t0", False, repeat=n) for n in range(50)]).is_noise


def test_rows_sum_up_by_setup_and_failures_by_kind() -> None:
    attempts = [made("a", True), made("b", False), made("a", True, model="n")]
    first, second = rows(attempts)
    assert (first.name, first.share.passed, first.share.total, first.input_tokens) == ("m", 1, 2, 200)
    assert first.cost_usd == pytest.approx(0.02)
    assert second.share.value == 1.0
    assert by_failure(attempts) == [("wrong", 1)]
    assert (first.failures, second.failures) == ({"wrong": 1}, {})
    plan = Plan(suite="s", tasks=["a", "b"], setups=[Setup(model="m"), Setup(model="n")], seed=7)
    assert "<tr><th>kind<th>m<th>n</tr><tr><td>wrong<td>1<td>0</tr>" in "".join(html_report(plan, attempts))
    found = report_as_json(plan, attempts)
    assert (found["made"], found["planned"], found["seed"]) == (3, 4, 7)
    assert [row["failures"] for row in found["setups"]] == [{"wrong": 1}, {}]


def test_the_html_file_runs_and_loads_nothing() -> None:
    plan = Plan(suite="<b>mine</b>", tasks=["a"], setups=[Setup(model="m")])
    page = "".join(html_report(plan, [made("<i>a</i>", False)]))
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "javascript:" not in page
    assert 'src="data:image/png;base64,AA=="' in page
    assert "<b>mine" not in page
    assert "default-src 'none'" in page


def outcome(answer: str, files: dict[str, bytes] | None = None) -> Outcome:
    message = e.Message(id="m", content=[e.OutputText(text=answer)])
    response = e.Response(id="r", created_at=0, model="m", output=[message])

    async def run(source: str, given: object) -> Ran:
        return Ran("")

    return Outcome([response], files or {}, [], [], run)


@pytest.mark.parametrize(
    ("check", "answer", "passed"),
    [
        (checks.number(1234.5), "It is **1,234.5** euros.", True),
        (checks.number(12), "First 7, then 12", True),
        (checks.number(7), "First 7, then 12", False),
        (checks.number(-3), "−3", True),
        (checks.number(1), "none", False),
        (checks.equals("Rome"), "**rome**.", True),
        (checks.equals("Rome"), "Rome, Italy", False),
        (checks.json_equals([1, 2]), "```json\n[1, 2.0]\n```", True),
        (checks.json_equals({"a": True}), "Here: {'a': True}", True),
        (checks.json_equals({"a": 1}), '{"a": true}', False),
        (checks.json_equals([1]), "[" * 5000, False),
        (checks.contains("x", "y"), "X and y", True),
        (checks.lacks("x"), "X", False),
        (checks.any_of(checks.equals("a"), checks.equals("b")), "b", True),
        (checks.pictures(), "no picture", False),
    ],
)
async def test_checkers(check: checks.Check, answer: str, passed: bool) -> None:
    verdict = await verdict_of(check, outcome(answer))
    assert verdict.passed is passed
    assert passed or verdict.reason


async def test_a_checker_of_several_gives_the_share_and_the_first_reason() -> None:
    verdict = await verdict_of(checks.all_of(checks.contains("a"), checks.contains("b")), outcome("a"))
    assert (verdict.passed, verdict.score) == (False, 0.5)
    assert "'b'" in verdict.reason


def stored(directory: Path, *attempts: Attempt) -> Path:
    directory.mkdir()
    write_plan(directory, Plan(suite="s", tasks=["a"], setups=[Setup(model="m")]))
    for one in attempts:
        append(directory, one)
    return directory


def test_the_command_line_evaluates_reports_and_compares(tmp_path: Path) -> None:
    def run(*arguments: Any) -> Result:
        # Browser tests leave a running event loop in this thread.
        with ThreadPoolExecutor(1) as threads:
            return threads.submit(CliRunner().invoke, *arguments).result()

    out = tmp_path / "out"
    chosen = ["--task", "tools/pri*", "--task", "files/zip", "--sandbox", "process", "--out", str(out)]
    first = run(app, ["eval", "codeact", "--model", "reference,wrong", *chosen, "--json"])
    assert first.exit_code == 0, first.output
    told = json.loads(first.stdout)
    assert [(row["name"], row["passed"], row["attempts"]) for row in told["setups"]] == [
        ("reference", 2, 2),
        ("wrong", 0, 2),
    ]
    assert told["failures"] == {"wrong": 2}
    assert (out / "report.html").read_text().startswith("<!doctype html>")
    shown = run(app, ["eval", "report", str(out)])
    assert "reference" in shown.stdout
    assert "2/2" in shown.stdout
    assert "Failures of wrong: 2 wrong" in shown.stdout
    more = run(app, ["eval", "codeact", "--model", "reference", "--task", "files/csv*", *chosen[4:]])
    (ended,) = (line for line in more.stderr.splitlines() if "reference  " in line)
    assert ended.split()[:3] == ["5/6", "solved", "files/csv_to_json"]
    better = stored(tmp_path / "b", *[made(f"t{n}", True) for n in range(8)])
    worse = stored(tmp_path / "w", *[made(f"t{n}", n == 0) for n in range(8)])
    compared = run(app, ["eval", "compare", str(worse), str(better)])
    assert "This is more than chance: p = 0.016" in compared.stdout.replace("\n", " ")
    assert "Failures of first: 7 wrong" in compared.stdout
    assert "800 / 0 / 80" in compared.stdout
    assert (
        json.loads(run(app, ["eval", "compare", str(worse), str(better), "--json"]).stdout)["more_than_noise"] is True
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["codeact"], "Name a model"),
        (["codeact", "--model", "reference", "--task", "nothing"], "No task of the suite"),
        (["codeact", "--model", "reference", "--dialect", "tag"], "'tag' is none of"),
        (["compare", "."], "two directories"),
        (["report", "."], "has no results"),
    ],
)
def test_wrong_arguments_are_named(arguments: list[str], message: str, tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["eval", *arguments])
    assert found.exit_code != 0
    assert message in (found.output + str(found.exception)).replace("│", "").replace("\n", " ")
