"""The demo model: answers a handful of tasks offline, with scripted prose and real code.

It picks a task by the words of the last question. It then continues according to the observations that follow and
quotes their values: the sandbox computes the answers, not this file.
"""

import re
from collections.abc import Callable, Sequence

from codeact.dialect.history import USER_SAYS
from codeact.dialect.prompt import LAST_TURN
from codeact.model import ChatMessage
from codeact.models.demo.tasks import TASKS, Chat
from codeact.models.scripted import ScriptedModel
from codeact.observations.observation import HEADER

__all__ = ["EXAMPLES", "DemoModel"]

EXAMPLES: tuple[str, ...] = (
    "What is the 100th Fibonacci number?",
    "Plot a sine wave",
    "Make a mistake, then fix it",
    "Count to 10, live",
    "Summarise a table of sales",
)

QUESTION_CHARS = 500
"""How many characters of a question are searched for a task."""
_UNKNOWN = (
    "I am the scripted demo, not a language model, and I know only a few tasks:\n\n"
    + "\n".join(f"- {example}" for example in EXAMPLES)
    + "\n\n`CODEACT_MODEL=…` brings in a real model."
)


class DemoModel(ScriptedModel):
    """A scripted model that streams a word every `pace_s` seconds, about as fast as a hosted model.

    Its script uses tags.
    """

    dialects = frozenset({"tags"})

    def __init__(self, *, pace_s: float = 0.007) -> None:
        super().__init__(_answer, name="demo", pace_s=pace_s)


def _answer(messages: Sequence[ChatMessage]) -> str:
    chat = _read(messages)
    task = _task(chat.question)
    return task(chat) if task else _UNKNOWN


def _task(question: str) -> Callable[[Chat], str] | None:
    return next((task for words, task in TASKS if re.search(words, question, re.IGNORECASE)), None)


def _read(messages: Sequence[ChatMessage]) -> Chat:
    """The last question, the earlier ones, and the observations since the last one."""
    questions: list[str] = []
    seen: list[str] = []
    for message in messages:
        if message.role != "user":
            continue
        text = _text(message).partition(LAST_TURN)[0].rstrip()
        _, says, question = text.rpartition(USER_SAYS)
        if not text:
            continue
        if text.startswith(HEADER) and not says:
            seen.append(text)
        else:
            questions.append(question.strip())
            seen = []
    return Chat(questions[-1][:QUESTION_CHARS] if questions else "", tuple(questions[:-1]), tuple(seen))


def _text(message: ChatMessage) -> str:
    if isinstance(message.content, str):
        return message.content
    return "\n\n".join(part["text"] for part in message.content if part["type"] == "text")
