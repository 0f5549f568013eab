"""The suite that comes with codeact: 64 tasks, each with a checker, a solution and a mistake."""

from codeact.evals.own import approvals, data, files, long, plots, recovery, state, tools
from codeact.evals.task import Task

__all__ = ["TASKS"]

TASKS: list[Task] = [
    *tools.TASKS,
    *state.TASKS,
    *recovery.TASKS,
    *files.TASKS,
    *data.TASKS,
    *plots.TASKS,
    *long.TASKS,
    *approvals.TASKS,
]
