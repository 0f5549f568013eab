"""Evaluations: tasks with checkers, run in parallel over one pool of sandboxes, and reports about the results."""

from codeact.evals.outcome import Outcome, Verdict
from codeact.evals.task import Limits, Task, code

__all__ = ["Limits", "Outcome", "Task", "Verdict", "code"]
