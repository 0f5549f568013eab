"""Joins contents, calls and results into chat messages in which user and assistant alternate."""

from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, Literal

from codeact.model import ChatMessage, PastCall

__all__ = ["Parts", "Turn", "Turns", "as_text"]

Parts = list[dict[str, Any]]
Role = Literal["system", "user", "assistant", "tool"]
PARAGRAPH = "\n\n"


def as_text(parts: Parts) -> str:
    """Returns the text of the text parts, as paragraphs."""
    return PARAGRAPH.join(part["text"] for part in parts if part["type"] == "text")


@dataclass(slots=True)
class Turn:
    """All consecutive contents of one role. `message` joins them once; joining at each `add` would be quadratic."""

    role: Role
    contents: list[str | Parts] = field(default_factory=list)
    glues: list[str] = field(default_factory=list)
    begins_with: str = ""
    calls: list[PastCall] = field(default_factory=list)
    call_id: str | None = None
    reasoning: dict[str, Any] = field(default_factory=dict)

    def add(self, content: str | Parts, glue: str = PARAGRAPH) -> "Turn":
        """Adds text or parts. `glue` separates this text from the text before it."""
        self.contents.append(content)
        self.glues.append(glue)
        if not self.begins_with:
            texts = (part["text"] for part in _listed(content) if part["type"] == "text")
            self.begins_with = content if isinstance(content, str) else next(texts, "")
        return self

    def think(self, reasoning: dict[str, Any]) -> None:
        """Adds reasoning; strings or lists of the same field are concatenated."""
        for name, value in reasoning.items():
            before = self.reasoning.get(name)
            self.reasoning[name] = value if before is None or type(before) is not type(value) else before + value

    def message(self) -> ChatMessage:
        if len(self.contents) == 1 and isinstance(only := self.contents[0], str):
            return ChatMessage(self.role, only, tuple(self.calls), self.call_id, self.reasoning)
        texts = list(takewhile(lambda content: isinstance(content, str), self.contents))
        glues = ["", *self.glues[1:]]
        text = "".join(glue + str(content) for glue, content in zip(glues, texts, strict=False))
        content: str | Parts = text
        if len(texts) < len(self.contents):
            rest = [part for each in self.contents[len(texts) :] for part in _listed(each)]
            content = [*(_listed(text) if texts else ()), *rest]
        return ChatMessage(self.role, content, tuple(self.calls), self.call_id, self.reasoning)


class Turns:
    """Collects the turns of a conversation, beginning with the system message."""

    def __init__(self, system: str) -> None:
        self._turns = [Turn("system").add(system)]
        self._thoughts: list[dict[str, Any]] = []  # Reasoning for the next assistant turn.

    @property
    def last(self) -> Turn:
        return self._turns[-1]

    def add(self, role: Role, content: str | Parts, glue: str = PARAGRAPH) -> None:
        """Appends a turn, or extends the last one if it has the same role."""
        if content:
            self._of(role).add(content, glue)

    def think(self, reasoning: dict[str, Any]) -> None:
        """Adds reasoning to the current assistant turn, or to the next one if another role has the last turn."""
        if self.last.role == "assistant":
            self.last.think(reasoning)
        else:
            self._thoughts.append(reasoning)

    def call(self, call: PastCall, result: str | Parts, *, same_reply: bool) -> None:
        """Adds a call of the model and its result. `same_reply`: the model made it in one reply with the last call."""
        if same_reply and self.last.role == "tool":
            turn = next(turn for turn in reversed(self._turns) if turn.role == "assistant")
        else:
            turn = self._of("assistant")
        turn.calls.append(call)
        self._turns.append(Turn("tool", call_id=call.id).add(result))

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
