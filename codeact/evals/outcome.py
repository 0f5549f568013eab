"""What came of a task: the answers and everything that the work for them left, for a checker to look at."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from codeact import events as e
from codeact.api.images import Image
from codeact.api.result import answer_of

__all__ = ["Call", "Outcome", "Ran", "Verdict", "answers_of", "blocks_of"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A checker's decision. `reason` says what was expected and what came instead; `score` is between 0 and 1."""

    passed: bool
    reason: str = ""
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """A call of one of the task's functions. `error` is the text of the exception that it raised."""

    name: str
    arguments: Mapping[str, Any]
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Ran:
    """What a checker's own code printed in a fresh sandbox, and its traceback if it failed."""

    text: str
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of an attempt.

    Attributes:
        responses: One for each question, in order, and for each further try.
        files: What code wrote, by path; the last content of each.
        images: What code displayed.
        calls: The calls of the task's functions, in order.
        run: Runs code with files in a fresh sandbox, and returns what it printed: for checkers that have to execute the
            model's work. Async.
    """

    responses: Sequence[e.Response]
    files: Mapping[str, bytes]
    images: Sequence[Image]
    calls: Sequence[Call]
    run: Callable[[str, Mapping[str, bytes]], Awaitable[Ran]] = field(repr=False)

    @property
    def answers(self) -> list[str]:
        """The text of each answer after its last block of code."""
        return answers_of(self.responses)

    @property
    def answer(self) -> str:
        """The text of the last answer."""
        return self.answers[-1] if self.responses else ""

    @property
    def blocks(self) -> list[e.CodeInterpreterCall]:
        """Every block of code that ran, in order."""
        return blocks_of(self.responses)

    def text(self, name: str) -> str:
        """Returns the file as text; empty if code did not write it."""
        return self.files.get(name, b"").decode(errors="replace")


def answers_of(responses: Sequence[e.Response]) -> list[str]:
    """Returns the text of each answer after its last block of code."""
    return [answer_of(response).strip() for response in responses]


def blocks_of(responses: Sequence[e.Response]) -> list[e.CodeInterpreterCall]:
    """Returns every block of code that ran, in order."""
    items = [item for response in responses for item in response.output]
    return [item for item in items if isinstance(item, e.CodeInterpreterCall) and item.status == "completed"]
