"""The format in which an answer was asked for: what the model is told of it, and whether its answer has it. No I/O."""

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
    """`text` is the JSON alone; `wrong` says in half a sentence why it is not what was asked for."""

    text: str = ""
    wrong: str | None = None


def format_words(wanted: Format) -> str:
    """What the model's instructions say of the format."""
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
    """What the model is told after an answer that does not have the format."""
    return f"your answer is not what the program reads: {wrong} Reply with the corrected JSON and nothing else."


def checked(answer: str, wanted: Format) -> Checked:
    """The JSON of an answer, with or without a fence around it, or what is wrong with it."""
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
