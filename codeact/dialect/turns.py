"""Joins contents, calls and results into chat messages in which the sides take turns."""

from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, Literal

from codeact.model import ChatMessage, PastCall

__all__ = ["Parts", "Turn", "Turns", "as_text"]

Parts = list[dict[str, Any]]
Role = Literal["system", "user", "assistant", "tool"]
PARAGRAPH = "\n\n"


def as_text(parts: Parts) -> str:
    """The text of content parts."""
    return PARAGRAPH.join(part["text"] for part in parts if part["type"] == "text")


@dataclass(slots=True)
class Turn:
    """What one side said until the other one spoke. It is joined once: each time would take the square of it."""

    role: Role
    contents: list[str | Parts] = field(default_factory=list)
    glues: list[str] = field(default_factory=list)
    begins_with: str = ""
    calls: list[PastCall] = field(default_factory=list)
    call_id: str | None = None
    reasoning: dict[str, Any] = field(default_factory=dict)

    def add(self, content: str | Parts, glue: str = PARAGRAPH) -> "Turn":
        """Adds text or parts; `glue` stands between a text and the text before it."""
        self.contents.append(content)
        self.glues.append(glue)
        self.begins_with = self.begins_with or next(
            (part["text"] for part in _listed(content) if part["type"] == "text"), ""
        )
        return self

    def think(self, reasoning: dict[str, Any]) -> None:
        """Adds reasoning: texts and lists of one field are joined."""
        for name, value in reasoning.items():
            before = self.reasoning.get(name)
            self.reasoning[name] = value if before is None or type(before) is not type(value) else before + value

    def message(self) -> ChatMessage:
        texts = list(takewhile(lambda content: isinstance(content, str), self.contents))
        glues = ["", *self.glues[1:]]
        text = "".join(glue + str(content) for glue, content in zip(glues, texts, strict=False))
        content: str | Parts = text
        if len(texts) < len(self.contents):
            rest = [part for each in self.contents[len(texts) :] for part in _listed(each)]
            content = [*(_listed(text) if texts else ()), *rest]
        return ChatMessage(self.role, content, tuple(self.calls), self.call_id, self.reasoning)


class Turns:
    """The turns of a conversation so far, the system's first."""

    def __init__(self, system: str) -> None:
        self._turns = [Turn("system").add(system)]
        self._thoughts: list[dict[str, Any]] = []  # Those of an assistant's turn that has not begun.

    @property
    def last(self) -> Turn:
        return self._turns[-1]

    def add(self, role: Role, content: str | Parts, glue: str = PARAGRAPH) -> None:
        """Appends a turn or, after one of the same role, adds to that."""
        if content:
            self._of(role).add(content, glue)

    def think(self, reasoning: dict[str, Any]) -> None:
        """Adds reasoning of the model to the turn that it led to: the one under way, else the next one."""
        if self.last.role == "assistant":
            self.last.think(reasoning)
        else:
            self._thoughts.append(reasoning)

    def call(self, call: PastCall, result: str | Parts, *, same_reply: bool) -> None:
        """Adds a call of the model and its result. `same_reply`: it stands beside the call before it."""
        if same_reply and self.last.role == "tool":
            turn = next(turn for turn in reversed(self._turns) if turn.role == "assistant")
        else:
            turn = self._of("assistant")
        turn.calls.append(call)
        answered = Turn("tool", call_id=call.id).add(result)
        self._turns.append(answered)

    def messages(self) -> list[ChatMessage]:
        return [turn.message() for turn in self._turns]

    def _of(self, role: Role) -> Turn:
        if self.last.role != role:
            self._turns.append(Turn(role))
            thoughts, self._thoughts = self._thoughts, []
            if role == "assistant":
                for reasoning in thoughts:
                    self.last.think(reasoning)
        return self.last


def _listed(content: str | Parts) -> Parts:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content
