"""`Agent(approve=…)`: a function of the program decides about code and calls before they happen."""

from pathlib import Path
from typing import Any

import pytest

from codeact import Agent, ApprovalQuestion, Ruling
from codeact import events as e
from codeact.models.scripted import ScriptedModel
from tests.codeact.api.test_api import settings

CODE = "I send.\n<execute>\nprint(send('Ann'))\n</execute>\n"


def send(name: str) -> str:
    """Sends a letter."""
    return f"sent to {name}"


def run(tmp_path: Path, approve: Any, **more: Any) -> tuple[list[ApprovalQuestion], str, str]:
    """What was asked, what the code printed, and what the model read."""
    asked: list[ApprovalQuestion] = []

    def judge(question: ApprovalQuestion) -> Any:
        asked.append(question)
        return approve(question)

    model = ScriptedModel([CODE, "Done."])
    with Agent(model, tools=[send], approve=judge, **settings(tmp_path), **more) as agent:
        result = agent.run("Write to Ann.")
    blocks = [item for item in result.items if isinstance(item, e.CodeInterpreterCall)]
    printed = "".join(part.logs for part in blocks[0].outputs or () if isinstance(part, e.LogsOutput))
    return asked, printed, str(model.calls[-1][-1].content)


def test_it_is_asked_about_code_and_calls(tmp_path: Path) -> None:
    asked, printed, _ = run(tmp_path, lambda question: True)
    assert [(each.kind, each.name, each.reasons) for each in asked] == [
        ("code", "python", ["always"]),
        ("call", "send", ["always"]),
    ]
    assert asked[0].code == "print(send('Ann'))"
    assert asked[1].arguments == {"name": "Ann"}
    assert printed == "sent to Ann\n"


@pytest.mark.parametrize("answer", ["no code today", False, None])
def test_what_it_rejects_or_leaves_open_does_not_happen(tmp_path: Path, answer: Any) -> None:
    asked, printed, read = run(tmp_path, lambda question: answer)
    assert (len(asked), printed) == (1, "")
    assert "this block was rejected, and nothing of it was run" in read
    assert {"no code today": "no code today", False: "", None: "nobody can be asked"}[answer] in read


def test_it_changes_code_and_arguments(tmp_path: Path) -> None:
    def change(question: ApprovalQuestion) -> Ruling:
        if question.kind == "call":
            return Ruling(True, arguments={"name": "Bob"})
        return Ruling(True, code=question.code.replace("Ann", "Cy"))

    asked, printed, read = run(tmp_path, change)
    assert asked[1].arguments == {"name": "Cy"}
    assert printed == "sent to Bob\n"
    assert "changed your block before it ran. What ran:\nprint(send('Cy'))" in read


def test_an_error_in_it_rejects_and_rules_limit_what_it_is_asked_about(tmp_path: Path) -> None:
    def fail(question: ApprovalQuestion) -> bool:
        raise ValueError(question.name)

    asked, printed, read = run(tmp_path, fail, approval="calls")
    assert [each.kind for each in asked] == ["call"]
    assert "rejected" in printed + read
