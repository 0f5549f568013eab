"""Finds a suite by its name or its path."""

from collections.abc import Sequence
from pathlib import Path

from codeact.errors import ConfigurationError
from codeact.evals.task import Task, check_ids

__all__ = ["NAMES", "load"]

NAMES = ("codeact", "m3tooleval", "humaneval", "mbpp", "gaia")
"""Suites with a name. All but the first need the place of their tasks, which are not part of codeact."""


def load(suite: str, tasks: Path | None = None) -> list[Task]:
    """Returns the tasks of a suite: one of `NAMES`, or a path that ends in `.jsonl` or `.py`.

    `tasks` is where a named suite's tasks are: a checkout or a file. Raises `ConfigurationError` if they cannot be
    read.
    """
    found = _load(suite, tasks)
    check_ids(found, suite=suite)
    return list(found)


def _load(suite: str, tasks: Path | None) -> Sequence[Task]:
    if suite == "codeact":
        from codeact.evals.own import TASKS

        return TASKS
    if suite in NAMES:
        if tasks is None:
            raise ConfigurationError(
                f"The suite {suite} needs its tasks: --tasks PATH (docs/evaluation.md says which)."
            )
        if not tasks.exists():
            raise ConfigurationError(f"--tasks: {tasks} does not exist.")
        return _named(suite, tasks)
    path = Path(suite)
    if path.suffix not in (".jsonl", ".py"):
        raise ConfigurationError(
            f"{suite!r} is no suite: name {', '.join(NAMES)}, or a file that ends in .jsonl or .py."
        )
    if not path.is_file():
        raise ConfigurationError(f"The suite {suite} does not exist.")
    if path.suffix == ".py":
        from codeact.evals.forms.python import python_tasks

        return python_tasks(path)
    from codeact.evals.forms.jsonl import jsonl_tasks

    return jsonl_tasks(path)


def _named(suite: str, tasks: Path) -> Sequence[Task]:
    from codeact.evals.forms import gaia, m3tooleval, programs

    match suite:
        case "m3tooleval":
            return m3tooleval.m3tooleval_tasks(tasks)
        case "humaneval":
            return programs.humaneval_tasks(tasks)
        case "mbpp":
            return programs.mbpp_tasks(tasks)
        case _:
            return gaia.gaia_tasks(tasks)
