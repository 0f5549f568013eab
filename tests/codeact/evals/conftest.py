"""Evaluations in local sandboxes."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from codeact.evals.record import Attempt, Setup
from codeact.evals.runner import Options, evaluate
from codeact.evals.task import Task

Evaluate = Callable[..., Any]

pytestmark = pytest.mark.anyio


@pytest.fixture
def evaluated(tmp_path: Path) -> Evaluate:
    """Evaluates tasks with their own scripts; returns the attempts by task and model."""

    async def run(tasks: Sequence[Task], *models: str, **options: Any) -> dict[tuple[str, str], Attempt]:
        setups = [Setup(model=model) for model in models or ("reference",)]
        chosen = Options(setups=setups, sandbox={"sandbox": "process", "data_dir": tmp_path / "run"}, **options)
        found = await evaluate("tests", tasks, chosen, tmp_path / "results")
        return {(one.task, one.setup.model): one for one in found}

    return run
