"""Tasks in GAIA's form: a question, perhaps with a file, and one short right answer.

A folder with `metadata.jsonl` and the files that it names (Mialon et al., 2023, arXiv:2311.12983). The answer is
compared as that paper says: numbers as numbers, lists element by element, texts without case, space and punctuation.
"""

import re
import string
from functools import partial
from pathlib import Path
from typing import Annotated

import msgspec

from codeact.errors import ConfigurationError
from codeact.evals.forms.lines import typed
from codeact.evals.outcome import Outcome, Verdict
from codeact.evals.task import Limits, Task

__all__ = ["gaia_tasks", "is_right"]

FILE_BYTES = 50_000_000
METADATA = "metadata.jsonl"
_ASK = (
    "\n\nAnswer with the result alone: a number without units and separators, as few words as possible, or a list with"
    " commas between its elements."
)
_DROPPED = str.maketrans("", "", string.punctuation + string.whitespace)


class _Line(msgspec.Struct):
    task_id: str
    question: Annotated[str, msgspec.Meta(min_length=1)] = msgspec.field(name="Question")
    answer: str | int | float = msgspec.field(name="Final answer")
    level: str | int = msgspec.field(name="Level", default="")
    file_name: str = ""


def gaia_tasks(path: Path) -> list[Task]:
    """Reads `metadata.jsonl`, or the folder that has it. Raises `ConfigurationError`, which names what is wrong."""
    metadata = path / METADATA if path.is_dir() else path
    return [_task(line, metadata.parent) for _, line in typed(metadata, _Line)]


def is_right(answer: str, expected: str) -> bool:
    """Whether a short answer is the expected one, by GAIA's rules."""
    if (number := _number(expected)) is not None:
        return _number(answer) == number
    if re.search("[,;]", expected):
        wanted, found = (re.split("[,;]", text) for text in (expected, answer))
        return len(wanted) == len(found) and all(map(_same_element, found, wanted))
    return _plain(answer) == _plain(expected)


def _task(line: _Line, folder: Path) -> Task:
    files = {}
    if line.file_name:
        path = folder / line.file_name
        if Path(line.file_name).name != line.file_name or not path.is_file() or path.stat().st_size > FILE_BYTES:
            raise ConfigurationError(
                f"The task '{line.task_id}': {path} is no file of at most {FILE_BYTES:,} bytes in its folder."
            )
        files[line.file_name] = path.read_bytes()
    return Task(
        id=line.task_id,
        questions=[line.question + _ASK],
        check=partial(_check, str(line.answer)),
        files=files,
        limits=Limits(max_turns=20, timeout_s=900),
        tags=frozenset({"gaia", *([f"level-{line.level}"] if line.level else [])}),
    )


def _check(expected: str, outcome: Outcome) -> Verdict:
    answer = outcome.answer[:10_000]
    return Verdict(is_right(answer, expected), f"expected {expected!r}")


def _number(text: str) -> float | None:
    try:
        return float(text.strip().strip("$%").replace(",", ""))
    except ValueError:
        return None


def _same_element(found: str, wanted: str) -> bool:
    if (number := _number(wanted)) is not None:
        return _number(found) == number
    return _plain(found) == _plain(wanted)


def _plain(text: str) -> str:
    return text.translate(_DROPPED).casefold()
