"""Suites of other forms: JSON Lines, Python, HumanEval, MBPP, GAIA, M3ToolEval, and conversations."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from codeact import Agent
from codeact.errors import ConfigurationError
from codeact.evals.forms.conversations import exported_drafts
from codeact.evals.forms.gaia import is_right
from codeact.evals.forms.jsonl import CHECKS
from codeact.evals.forms.loading import load
from codeact.evals.task import Task
from codeact.models.scripted import ScriptedModel
from tests.codeact.evals.conftest import Evaluate

pytestmark = pytest.mark.anyio


def lines(path: Path, *objects: Any) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in objects))
    return path


async def test_tasks_in_json_lines(tmp_path: Path, evaluated: Evaluate) -> None:
    (tmp_path / "in.txt").write_text("17")
    path = lines(
        tmp_path / "mine.jsonl",
        {
            "id": "double",
            "prompt": ["Read in.txt.", "Twice that?"],
            "files": {"in.txt": {"path": "in.txt"}, "b.txt": {"base64": "eA=="}},
            "check": {"all": [{"number": 34}, {"lacks": "sorry"}, {"any": [{"contains": ["3"]}, {"equals": "x"}]}]},
            "tags": ["mine"],
            "reference": ["<execute>\nn = int(open('in.txt').read())\n</execute>", "Read.", "34"],
            "wrong": ["Read.", "sorry, 34"],
        },
    )
    found = await evaluated(load(str(path)), "reference", "wrong")
    assert found["double", "reference"].passed
    assert "did not expect 'sorry'" in found["double", "wrong"].reason


WRONG = {
    "no JSON": ("{", "Line 1"),
    "an unknown field": ('{"id": "a", "prompt": "b", "check": {"number": 1}, "prmpt": 1}', "prmpt"),
    "no check": ('{"id": "a", "prompt": "b", "check": null}', "has no check yet"),
    "an unknown check": ('{"id": "a", "prompt": "b", "check": {"numbr": 1}}', "There is no check 'numbr'"),
    "two checks": ('{"id": "a", "prompt": "b", "check": {"number": 1, "equals": "a"}}', "one key"),
    "a wrong value": ('{"id": "a", "prompt": "b", "check": {"number": "x"}}', "cannot have this value"),
    "a wrong field of a check": ('{"id": "a", "prompt": "b", "check": {"file": {"nam": "x"}}}', "cannot have this"),
    "checks without an end": ('{"id": "a", "prompt": "b", "check": ' + '{"all": [' * 20 + "]}" * 20 + "}", "one key"),
    "a file elsewhere": (
        '{"id": "a", "prompt": "b", "check": {"number": 1}, "files": {"../x": "y"}}',
        "no folder in its name",
    ),
    "an id that is none": ('{"id": "a b", "prompt": "b", "check": {"number": 1}}', "id 'a b'"),
    "the same id twice": ('{"id": "a", "prompt": "b", "check": {"number": 1}}\n' * 2, "two tasks 'a'"),
    "nothing": ("\n", "has no task"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_line_that_is_wrong_is_named(tmp_path: Path, name: str) -> None:
    text, message = WRONG[name]
    path = tmp_path / "wrong.jsonl"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        load(str(path))


@pytest.mark.parametrize(
    ("suite", "tasks", "message"),
    [
        ("mine", None, "'mine' is no suite"),
        ("none.py", None, "none.py does not exist"),
        ("gaia", None, "needs its tasks"),
        ("humaneval", Path("nowhere"), "nowhere does not exist"),
    ],
)
def test_a_suite_that_is_none_is_refused_by_name(suite: str, tasks: Path | None, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load(suite, tasks)


def test_tasks_in_python(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(
        "from codeact.evals import Task, Verdict\n"
        "TASKS = [Task(id='a', questions=['b'], check=lambda outcome: Verdict(True, score=0.5))]\n"
    )
    [task] = load(str(path))
    assert isinstance(task, Task)
    path.write_text("TASKS = 3\n")
    with pytest.raises(ConfigurationError, match="needs TASKS"):
        load(str(path))
    path.write_text("1 / 0\n")
    with pytest.raises(ConfigurationError, match="ZeroDivisionError"):
        load(str(path))


HUMANEVAL = {
    "task_id": "HumanEval/900",
    "prompt": 'def twice(x):\n    """Return x times two."""\n',
    "entry_point": "twice",
    "canonical_solution": "    return 2 * x\n",
    "test": "def check(candidate):\n    assert candidate(4) == 8\n",
}
MBPP = {
    "task_id": 900,
    "text": "Write thrice.",
    "code": "def thrice(x):\n    return 3 * x",
    "test_list": ["assert thrice(2) == 6"],
}


async def test_programs_are_tested_in_a_fresh_sandbox(tmp_path: Path, evaluated: Evaluate) -> None:
    tasks = [
        *load("humaneval", lines(tmp_path / "h.jsonl", HUMANEVAL)),
        *load("mbpp", lines(tmp_path / "m.jsonl", MBPP)),
    ]
    found = await evaluated(tasks, "reference", "wrong")
    assert {key: one.passed for key, one in found.items()} == {
        ("HumanEval/900", "reference"): True,
        ("HumanEval/900", "wrong"): False,
        ("MBPP/900", "reference"): True,
        ("MBPP/900", "wrong"): False,
    }


@pytest.mark.parametrize(
    ("answer", "expected", "right"),
    [
        ("1,234", "1234", True),
        ("$17", "17", True),
        ("17.5", "17", False),
        ("The Hague", "the hague", True),
        ("St. Petersburg", "St Petersburg", True),
        ("red, blue", "red; blue", True),
        ("red", "red, blue", False),
        ("a, 2", "a, 2.0", True),
    ],
)
def test_gaias_answers_are_compared_as_its_paper_says(answer: str, expected: str, right: bool) -> None:
    assert is_right(answer, expected) is right


def test_tasks_in_gaias_form(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("a\n1\n")
    line = {"task_id": "t-1", "Question": "How many?", "Level": 1, "Final answer": "1", "file_name": "table.csv"}
    lines(tmp_path / "metadata.jsonl", line)
    [task] = load("gaia", tmp_path)
    assert task.files == {"table.csv": b"a\n1\n"}
    assert task.tags == {"gaia", "level-1"}
    lines(tmp_path / "metadata.jsonl", line | {"file_name": "../table.csv"})
    with pytest.raises(ConfigurationError, match="no file of at most"):
        load("gaia", tmp_path)


BASE = """
from collections import namedtuple
ToolType = namedtuple("ToolType", ["name", "description", "function", "fn_signature"])
class Task:
    def __init__(self, name, tools, instruction, expected_output):
        self.name, self.instruction, self.expected_output = name, instruction, expected_output
        self.tools = tools() if callable(tools) else tools
    def check_answer(self, answer):
        return str(answer) == str(self.expected_output)
def get_task_iterator():
    print("a banner")
    return iter(TASKS)
class Pages:
    def __init__(self):
        self.at = 0
    def turn(self):
        self.at += 1
        return f"page {self.at}"
def tools():
    pages = Pages()
    return {
        "turn": ToolType("turn", "Turns the page.", pages.turn, "turn() -> str"),
        "sum": ToolType("sum", "Sums.", lambda *args: sum(args), "sum(*args) -> float"),
        "max": ToolType("max", "Python's.", max, "max(*args) -> float"),
    }
TASKS = [Task("book/second page", tools, "Turn twice.", "page 2"), Task("book/total", tools, "Add 1, 2 and 3.", 6)]
"""


async def test_m3tooleval_from_a_checkout(tmp_path: Path, evaluated: Evaluate) -> None:
    package = tmp_path / "checkout" / "scripts" / "eval" / "m3tooleval" / "tasks"
    package.mkdir(parents=True)
    (package / "base.py").write_text(BASE)
    (package / "__init__.py").write_text("from .base import get_task_iterator\n")
    page, total = load("m3tooleval", tmp_path / "checkout")
    turned = ["<execute>\nturn()\nprint(turn())\n</execute>", "page 2"]
    summed = ["I guess 7", "<execute>\nprint(sum_(1, 2, 3), sum([1, 2]), max(1, 2))\n</execute>", "6"]
    import dataclasses

    tasks = [dataclasses.replace(page, reference=turned), dataclasses.replace(total, reference=summed)]
    found = await evaluated(tasks, repeat=2)
    assert all(one.passed for one in found.values())
    assert "6 3 2" in str(found[total.id, "reference"].transcript)
    with pytest.raises(ConfigurationError, match="has no M3ToolEval"):
        load("m3tooleval", tmp_path)


async def test_an_exported_conversation_becomes_a_draft(tmp_path: Path) -> None:
    data = tmp_path / "data.csv"
    data.write_text("1\n")
    with Agent(ScriptedModel(["Hello.", "No idea."]), sandbox="process", files=[data]) as agent:
        agent.run("Hi")
        agent.run("What is in the file?")
        agent.save(tmp_path / "my talk.json")
    [draft] = await exported_drafts(tmp_path / "my talk.json")
    assert (draft.id, draft.prompt, draft.check) == ("my-talk", ["Hi", "What is in the file?"], None)
    assert "No idea." in draft.note
    assert "data.csv" in draft.note


async def test_the_documented_tasks_in_python_are_solved_by_their_script(tmp_path: Path, evaluated: Evaluate) -> None:
    page = (Path(__file__).parents[3] / "docs" / "evaluation.md").read_text()
    path = tmp_path / "documented.py"
    path.write_text(page.split("```python\n")[1].split("```")[0])
    found = await evaluated(load(str(path)), "reference", "wrong")
    assert {key[1]: one.passed for key, one in found.items()} == {"reference": True, "wrong": False}


def test_every_documented_check_exists() -> None:
    page = (Path(__file__).parents[3] / "docs" / "evaluation.md").read_text()
    table = page.split("| check | passes if |")[1].split("\n\n")[0]
    documented = set(re.findall(r'`\{"(\w+)":', table))
    assert documented == {*CHECKS, "all", "any"}
