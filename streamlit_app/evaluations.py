"""Reads the results of `codeact eval` in the data directory, each once until it changes."""

from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from codeact.dashboard.bridge import settings
from codeact.errors import ConfigurationError
from codeact.evals.record import ATTEMPTS, Attempt, Plan, ordered, read_attempts, read_plan

__all__ = ["MOST_RUNS", "Run", "folder", "runs"]

MOST_RUNS = 100
"""Of the newest runs only so many are read."""


@dataclass(frozen=True, slots=True)
class Run:
    """One evaluation: its directory's name, its plan, and its attempts in the plan's order."""

    name: str
    plan: Plan
    attempts: list[Attempt]


def folder() -> Path:
    """Where `codeact eval` puts its results by default."""
    return settings().data_dir / "evals"


def runs() -> list[Run]:
    """Returns the newest evaluations, the newest first. Directories that cannot be read are left out."""
    if not folder().is_dir():
        return []
    found = [path for path in folder().iterdir() if (path / "run.json").is_file()]
    newest = sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)[:MOST_RUNS]
    read = (_read(str(path), _changed(path)) for path in newest)
    return sorted(filter(None, read), key=lambda run: run.plan.started_at, reverse=True)


def _changed(path: Path) -> float:
    return max(file.stat().st_mtime for file in (path / "run.json", path / ATTEMPTS) if file.exists())


@st.cache_resource(max_entries=MOST_RUNS, show_spinner=False)
def _read(path: str, changed: float) -> Run | None:
    directory = Path(path)
    try:
        plan = read_plan(directory)
        return Run(directory.name, plan, ordered(plan, read_attempts(directory)))
    except ConfigurationError:
        return None
