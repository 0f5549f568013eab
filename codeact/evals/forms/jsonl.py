"""Tasks in JSON Lines: one object a line, with a prompt and a checker that is named in it."""

import base64
import binascii
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from codeact.errors import ConfigurationError
from codeact.evals import checks
from codeact.evals.forms.lines import typed
from codeact.evals.task import FEEDBACK, Check, Limits, Task

__all__ = ["CHECKS", "JsonTask", "check_of", "jsonl_tasks"]

FILE_BYTES = 50_000_000
DEPTH = 8


class JsonTask(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One line. `prompt` is a question, or a list of questions that are asked one after the other.

    `files` has contents by name: a text, `{"base64": …}`, or `{"path": …}` relative to the file of tasks. `check` is
    an object with one key, one of `CHECKS`. `note` is for whoever edits the file.
    """

    id: str
    prompt: str | list[str]
    check: dict[str, Any] | None
    files: dict[str, str | dict[str, str]] = {}
    max_turns: int | None = None
    timeout_s: float | None = None
    max_output_tokens: int | None = None
    tags: list[str] = []
    tries: int = 1
    feedback: str | None = None
    settings: dict[str, Any] = {}
    window_tokens: int | None = None
    reference: list[str] = []
    wrong: list[str] = []
    note: str = ""


def _listed(make: Callable[..., Check]) -> Callable[[Any], Check]:
    return lambda value: make(*(value if isinstance(value, list) else [value]))


def _of_object(make: Callable[..., Check]) -> Callable[[Any], Check]:
    return lambda value: make(**value) if isinstance(value, dict) else make(value)


CHECKS: dict[str, Callable[[Any], Check]] = {
    "number": _of_object(lambda expected, tolerance=1e-6: checks.number(float(expected), tolerance=float(tolerance))),
    "equals": lambda value: checks.equals(_text(value)),
    "contains": _listed(lambda *words: checks.contains(*map(_text, words))),
    "lacks": _listed(lambda *words: checks.lacks(*map(_text, words))),
    "json": checks.json_equals,
    "file": _of_object(lambda name, equals: checks.file_equals(_text(name), _text(equals))),
    "file_contains": _of_object(lambda name, words: checks.file_contains(_text(name), *map(_text, words))),
    "pictures": lambda value: checks.pictures(int(value)),
    "runs": lambda value: checks.runs(_text(value)),
}
"""Makes a checker from the value that stands at its name. `all` and `any` hold lists of further ones."""


def jsonl_tasks(path: Path) -> list[Task]:
    """Reads the tasks of a file. Raises `ConfigurationError`, which names the line and what is wrong with it."""
    found = []
    for number, line in typed(path, JsonTask):
        try:
            found.append(_task(line, path.parent))
        except ConfigurationError as error:
            raise ConfigurationError(f"Line {number} of {path}: {error.message}") from None
    return found


def check_of(described: Any, depth: int = 0) -> Check:
    """Returns the checker that an object describes, such as `{"number": 42}`. Raises `ConfigurationError`."""
    if not isinstance(described, dict) or len(described) != 1 or depth > DEPTH:
        raise ConfigurationError('A check is an object with one key, such as {"number": 42}.')
    [(name, value)] = described.items()
    if name in ("all", "any"):
        if not isinstance(value, list) or not value:
            raise ConfigurationError(f"The check '{name}' has a list of checks.")
        return (checks.all_of if name == "all" else checks.any_of)(*(check_of(one, depth + 1) for one in value))
    if name not in CHECKS:
        raise ConfigurationError(f"There is no check {name!r}. There are {', '.join((*CHECKS, 'all', 'any'))}.")
    try:
        return CHECKS[name](value)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"The check '{name}' cannot have this value: {error}") from None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a text, not {type(value).__name__}")
    return value


def _task(line: JsonTask, folder: Path) -> Task:
    if line.check is None:
        raise ConfigurationError(
            f"The task '{line.id}' has no check yet: write what its answer must be, such as"
            ' {"contains": ["…"]}, in place of null.'
        )
    limits = Limits()
    return Task(
        id=line.id,
        questions=[line.prompt] if isinstance(line.prompt, str) else line.prompt,
        check=check_of(line.check),
        files={name: _content(name, value, folder) for name, value in line.files.items()},
        limits=Limits(line.max_turns or limits.max_turns, line.timeout_s or limits.timeout_s, line.max_output_tokens),
        tags=frozenset(line.tags),
        tries=line.tries,
        feedback=line.feedback or FEEDBACK,
        settings=line.settings,
        window_tokens=line.window_tokens,
        reference=line.reference,
        wrong=line.wrong,
    )


def _content(name: str, value: str | dict[str, str], folder: Path) -> bytes:
    if Path(name).name != name:
        raise ConfigurationError(f"The file {name!r} may have no folder in its name.")
    if isinstance(value, str):
        return value.encode()
    if value.keys() == {"base64"}:
        try:
            return base64.b64decode(value["base64"], validate=True)
        except (binascii.Error, ValueError):
            raise ConfigurationError(f"The file {name!r} is no base64.") from None
    if value.keys() != {"path"}:
        raise ConfigurationError(f'The file {name!r} is a text, {{"base64": …}} or {{"path": …}}.')
    path = folder / value["path"]
    if not path.is_file() or path.stat().st_size > FILE_BYTES:
        raise ConfigurationError(f"{path} is no file of at most {FILE_BYTES:,} bytes.")
    return path.read_bytes()
