"""The format that a request demands of the answer: instructions for the model, and the check of its answer. No I/O."""

import json
from dataclasses import dataclass
from typing import Any

from codeact.events import JsonObjectFormat, JsonSchemaFormat
from codeact.json_schemas import InvalidSchema, problem
from sandbox_pool import json_size

__all__ = ["Checked", "checked", "format_words", "repair_words"]

MOST_VALUES, DEEPEST = 50_000, 100
PROBLEM_CHARS = 500

Format = JsonSchemaFormat | JsonObjectFormat


@dataclass(frozen=True, slots=True)
class Checked:
    """The result of a check. `text` is the answer's JSON; `wrong` says in part of a sentence what is wrong with it."""

    text: str = ""
    wrong: str | None = None


def format_words(wanted: Format) -> str:
    """Returns the text about the format for the model's instructions."""
    words = (
        "Your answer to the user is read by a program: once you are done, reply with one JSON object and nothing"
        " else, no words around it and no fence. You may run code before."
    )
    if isinstance(wanted, JsonObjectFormat):
        return words
    about = f" ({wanted.description})" if wanted.description else ""
    schema = json.dumps(wanted.schema, ensure_ascii=False)
    return f"{words} It has this JSON Schema, '{wanted.name}'{about}:\n{schema}"


def repair_words(wrong: str) -> str:
    """Returns the message to the model after an answer that does not have the format."""
    return f"your answer is not what the program reads: {wrong} Reply with the corrected JSON and nothing else."


def checked(answer: str, wanted: Format) -> Checked:
    """Extracts and checks the JSON of an answer, which may be in a Markdown fence."""
    text = _without_fence(answer.strip())
    try:
        json_size.check(text.encode(errors="replace"), most=MOST_VALUES, depth=DEEPEST)
        value: Any = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        return Checked(wrong=f"it is no JSON ({str(error)[:PROBLEM_CHARS]}).")
    if isinstance(wanted, JsonObjectFormat):
        return Checked(text) if isinstance(value, dict) else Checked(wrong="it is JSON, and no object.")
    try:
        wrong = problem(wanted.schema, value)
    except InvalidSchema as error:
        return Checked(wrong=str(error)[:PROBLEM_CHARS])
    return Checked(text) if wrong is None else Checked(wrong=f"{wrong[:PROBLEM_CHARS].rstrip('.')}.")


def _without_fence(text: str) -> str:
    if not (text.startswith("```") and text.endswith("```") and "\n" in text):
        return text
    return text[text.index("\n") + 1 : -3].strip()


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
