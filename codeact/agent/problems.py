"""Replies of a model that are neither an answer nor code: the message to the model, and the error if it repeats one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from codeact.dialect import Aside, Dialect
from codeact.dialect.history import NOTE
from codeact.errors import ModelError, ModelRepeats, ModelSaidNothing, ModelStreamBroken, ModelUnreadable
from codeact.observations.observation import HEADER
from codeact.observations.plaintext import excerpt

__all__ = [
    "SAME_BLOCK",
    "SECOND_BLOCK",
    "Broken",
    "Problem",
    "malformed",
    "must_words",
    "repeats_blocks",
]

RAW_CHARS = 4_000

Kind = Literal["nothing", "unreadable", "invented", "malformed", "repeats", "format", "idle"]

_WORDS = {
    "nothing": f"{NOTE} your last reply had no text: nothing to show and no code to run. ",
    "unreadable": f"{HEADER} not run: code in this form cannot be read here, and nothing else is offered. ",
    "invented": f"{HEADER} nothing was run: you wrote an observation yourself. Only the system writes one, after"
    " code has run. ",
    "malformed": "",
    "format": f"{NOTE} ",
    "idle": f"{NOTE} ",
    "repeats": f"{NOTE} your last reply repeated the same text over and over, and was stopped. Answer shortly, in other"
    " words, or run one block.",
}
_ERRORS: dict[Kind, tuple[Callable[[str], ModelError], str]] = {
    "nothing": (ModelSaidNothing, "twice gave an answer without any text"),
    "unreadable": (
        ModelUnreadable,
        "wrote code in a form that cannot be read, even after it was shown the correct form",
    ),
    "invented": (ModelUnreadable, "made up the result of code that did not run, even after a note about it"),
    "malformed": (ModelUnreadable, "did not close its block of code, even after a note about it"),
    "format": (ModelUnreadable, "did not answer in the demanded format, even after a note about it"),
    "idle": (ModelUnreadable, "answered without the demanded code, even after a note about it"),
    "repeats": (ModelRepeats, "repeats itself, even after a note about it"),
}

SAME_BLOCK = (
    f"{NOTE} this block has run three times now, with the same result each time. Running it again changes nothing: try"
    " another way, or answer the user from what you have."
)
SECOND_BLOCK = f"{NOTE} your reply held more than one block. Only the first one ran: write one block per reply."


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a reply.

    `raw` is the reply's text if no item of the answer has it; `detail` is further text for the model.
    """

    kind: Kind
    raw: str = ""
    detail: str = ""

    def aside(self, dialect: Dialect) -> Aside | None:
        """Returns the message to the model; None if the observation of its block says the same."""
        if not (words := _WORDS[self.kind]):
            return None
        form = self.detail or (dialect.form if words.endswith(" ") else "")
        return Aside(words + form, reply=excerpt(self.raw, RAW_CHARS) if self.raw.strip() else "")

    def error(self, name: str) -> ModelError:
        kind, words = _ERRORS[self.kind]
        return kind(f"{name} {words}. Ask again in other words, or choose another model.")


def malformed(reason: str, dialect: Dialect) -> str:
    """Returns the observation for a block that did not run because of `reason`."""
    if dialect.name == "tags":
        remedy = "Close each block with </execute> on a line of its own, and write nothing after it."
    else:
        remedy = "Call the tool again, with the whole code."
    return f"{HEADER} not run: {reason} {remedy}"


def must_words(function: str | None) -> str:
    """Returns the instruction for an answer that requires code."""
    call = f" that calls {function}()" if function is not None else ""
    return f"Before you answer, run code{call}."


def repeats_blocks(name: str) -> ModelError:
    return ModelRepeats(f"{name} ran the same block with the same result again and again, even after a note about it.")


class Broken(Exception):
    """Raised if a stream broke before a block of code began, so that the model may be asked again."""

    def __init__(self, error: ModelStreamBroken) -> None:
        super().__init__(error.message)
        self.error = error
