"""M3ToolEval's tasks, from a checkout of the user's: functions to combine, one right value, up to ten turns.

Published with the CodeAct paper (Wang et al., 2024, arXiv:2402.01030); its tasks are not part of codeact.
"""

import builtins
import contextlib
import copy
import importlib
import importlib.util
import io
import sys
import types
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from codeact.errors import ConfigurationError
from codeact.evals.outcome import Outcome, Verdict
from codeact.evals.task import Limits, Task
from codeact.tools.host_functions import Tool

__all__ = ["m3tooleval_tasks"]

TURNS = 10
PACKAGE = "tasks"
ASK = "Use the functions that you have. Answer with the result alone: one value, no other text."
FEEDBACK = "Your answer is wrong. Try again, and answer with the result alone: one value, no other text."


def m3tooleval_tasks(path: Path) -> list[Task]:
    """Reads the tasks of a folder that has the package `tasks`: M3ToolEval's, or a checkout of CodeAct.

    The package runs in this process, with all rights of the user who starts the evaluation. Its functions run in this
    process, too. Raises `ConfigurationError` if the folder is another one.
    """
    folder = next(
        (one for one in (path, path / "scripts" / "eval" / "m3tooleval") if (one / PACKAGE / "base.py").is_file()), None
    )
    if folder is None:
        raise ConfigurationError(f"{path} has no M3ToolEval: no file tasks/base.py.")
    package = _imported(folder)
    with contextlib.redirect_stderr(io.StringIO()):  # A progress bar.
        return [_task(original) for original in package.get_task_iterator()]


def _imported(folder: Path) -> Any:
    """Imports the folder's package `tasks`, whose modules print a lot, under its own name."""
    if PACKAGE in sys.modules and getattr(sys.modules[PACKAGE], "__path__", None) != [str(folder / PACKAGE)]:
        raise ConfigurationError("Another module 'tasks' is imported already.")
    if importlib.util.find_spec("tqdm") is None:
        sys.modules["tqdm"] = _progress_bars()
    sys.path.insert(0, str(folder))
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return importlib.import_module(PACKAGE)
    except Exception as error:
        raise ConfigurationError(f"{folder} cannot be imported: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(str(folder))


def _progress_bars() -> types.ModuleType:
    """Stands for the package tqdm, which the tasks import for their own command line."""

    class Bar:
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            """Takes what a progress bar takes."""

        def update(self, count: int) -> None:
            """Shows nothing."""

    module = types.ModuleType("tqdm")
    module.tqdm = Bar  # type: ignore[attr-defined]
    return module


def _task(original: Any) -> Task:
    return Task(
        id=original.name.replace(" ", "_"),
        questions=[f"{original.instruction}\n\n{ASK}"],
        tools=partial(_tools, original),
        check=partial(_check, original),
        limits=Limits(max_turns=TURNS),
        tags=frozenset({"m3tooleval", original.name.split("/")[0]}),
        tries=TURNS,
        feedback=FEEDBACK,
    )


def _tools(original: Any) -> Sequence[Tool]:
    """Copies the task's functions, with their state: a browser starts at its first page in every attempt."""
    tools: Mapping[str, Any] = copy.deepcopy(original.tools)
    return [_tool(name, tool) for name, tool in tools.items()]


def _tool(name: str, tool: Any) -> Tool:
    """One of them is named `sum` and is not Python's: it becomes `sum_`, since code must keep Python's own."""
    signature = tool.fn_signature
    builtin = getattr(builtins, name, None)
    if builtin is not None and builtin is not tool.function:
        name, signature = f"{name}_", signature.replace(f"{name}(", f"{name}_(", 1)
    return Tool(tool.function, name=name, description=f"{signature}\n{tool.description}")


def _check(original: Any, outcome: Outcome) -> Verdict:
    answer = outcome.answer.strip().strip("`*").strip()
    passed = bool(original.check_answer(answer))
    return Verdict(passed, "" if passed else f"expected {original.expected_output!r}")
