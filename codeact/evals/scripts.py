"""Models that follow a task's script: its reference solution, or its mistake."""

from collections.abc import Sequence

from codeact.context.compaction_text import ASK
from codeact.context.window import text_of
from codeact.evals.task import Task
from codeact.model import ChatMessage, Model
from codeact.models.scripted import ScriptedModel, Turn

__all__ = ["SCRIPTED", "script_of", "scripted"]

SCRIPTED = ("reference", "wrong")
"""Names in place of a model's: each task's own scripted solution, and its scripted mistake."""
SUMMARY = "The conversation goes on as it began."
REPEATED = "I have nothing more to say."


def script_of(task: Task, name: str) -> Sequence[str]:
    """Returns what the task's model of this name says; empty if the task has no such script."""
    return task.reference if name == "reference" else task.wrong


def scripted(task: Task, name: str) -> Model:
    """Returns a model that says the script's texts, one for each call.

    If it is asked to sum the conversation up, because the window is full, it says a fixed sentence instead. After its
    last text it repeats that it has nothing more to say, as for a task that gives a wrong answer another try.
    """
    texts = iter(script_of(task, name))

    def turn(messages: Sequence[ChatMessage]) -> Turn:
        if text_of(messages[-1]).endswith(ASK):
            return SUMMARY
        return next(texts, REPEATED)

    return ScriptedModel(turn, name=name)
