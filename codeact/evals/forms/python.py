"""Tasks in Python: a module with a list `TASKS`, whose checkers and functions are code."""

import importlib.util
import sys
from pathlib import Path

from codeact.errors import ConfigurationError
from codeact.evals.task import Task

__all__ = ["python_tasks"]


def python_tasks(path: Path) -> list[Task]:
    """Runs the module in this process and returns its `TASKS`.

    The module runs with all rights of the user who starts the evaluation. Raises `ConfigurationError` if it raises, or
    has no list of tasks.
    """
    name = f"codeact_suite_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigurationError(f"{path} is no module of Python.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # Dataclasses and annotations of the module look themselves up there.
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ConfigurationError(f"{path} failed: {type(error).__name__}: {error}") from error
    tasks = getattr(module, "TASKS", None)
    if not isinstance(tasks, list | tuple) or not all(isinstance(task, Task) for task in tasks):
        raise ConfigurationError(f"{path} needs TASKS, a list of codeact.evals.Task.")
    return list(tasks)
