"""A task of an evaluation: what the model is asked, what it gets for it, and how the answer is checked."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from codeact.errors import ConfigurationError
from codeact.evals.outcome import Outcome, Verdict
from codeact.tools.approval import Judge
from codeact.tools.host_functions import Tool

__all__ = ["FEEDBACK", "Check", "Limits", "Task", "Tools", "check_ids", "code"]

Check = Callable[[Outcome], Verdict | bool | Awaitable[Verdict | bool]]
"""Looks at what came of a task. True or a `Verdict` that passed: the task was solved. May be async."""
Tools = Callable[[], Sequence[Callable[..., Any] | Tool]]
"""Makes the functions that a task's code may call. It is called once for each attempt, so that they may have state."""

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,127}", re.ASCII)

FEEDBACK = "That is wrong. Try again, and answer with the result alone."


@dataclass(frozen=True, slots=True)
class Limits:
    """What one attempt may take: blocks of code for each answer, and seconds in all."""

    max_turns: int = 12
    timeout_s: float = 300.0
    max_output_tokens: int | None = None


def _no_tools() -> Sequence[Callable[..., Any] | Tool]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One task. `questions` are asked one after the other, in one conversation with one kernel.

    Attributes:
        id: Unique in its suite; letters, digits and `_./-`.
        questions: At least one.
        check: Decides whether the task was solved.
        files: Contents by name; code finds them in its working directory.
        tools: Makes the functions of this process that code may call.
        approve: Makes what decides about code and calls that wait for approval, once for each attempt. The setting
            `approval` says which do.
        limits: What one attempt may take.
        tags: Words by which tasks are chosen and results are grouped.
        tries: How often the model may answer. After a wrong answer it is asked `feedback`.
        feedback: What the model is told after a wrong answer, if it has another try.
        settings: Settings of the agent for this task, such as `observation_chars`.
        window_tokens: The model is treated as if its context had at most so many tokens.
        reference: What a scripted model says to solve the task, a text for each of its calls. Code is between the tags
            `<execute>` and `</execute>`; `code(…)` writes them.
        wrong: The same for an answer that the checker must refuse.
    """

    id: str
    questions: Sequence[str]
    check: Check
    files: Mapping[str, bytes] = field(default_factory=dict)
    tools: Tools = _no_tools
    approve: Callable[[], Judge] | None = None
    limits: Limits = Limits()
    tags: frozenset[str] = frozenset()
    tries: int = 1
    feedback: str = FEEDBACK
    settings: Mapping[str, Any] = field(default_factory=dict)
    window_tokens: int | None = None
    reference: Sequence[str] = ()
    wrong: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not ID.fullmatch(self.id):
            raise ConfigurationError(f"The task's id {self.id[:150]!r} may have letters, digits and _./- alone.")
        if not self.questions:
            raise ConfigurationError(f"The task '{self.id}' has no question.")


def code(source: str, before: str = "") -> str:
    """Returns what a scripted model says to run `source`, after the prose `before`."""
    return f"{before}\n<execute>\n{source.strip()}\n</execute>".lstrip()


def check_ids(tasks: Sequence[Task], *, suite: str) -> None:
    """Raises `ConfigurationError` if the suite has no task, or two of one id."""
    if not tasks:
        raise ConfigurationError(f"The suite {suite} has no task.")
    seen: set[str] = set()
    for task in tasks:
        if task.id in seen:
            raise ConfigurationError(f"The suite {suite} has two tasks '{task.id}'.")
        seen.add(task.id)
