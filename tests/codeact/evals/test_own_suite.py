"""The suite that comes with codeact tests itself: each solution passes, and each mistake is found."""

from pathlib import Path

import pytest

from codeact.evals.own import TASKS
from codeact.evals.record import Setup
from codeact.evals.runner import Options, evaluate
from codeact.evals.scripts import SCRIPTED

pytestmark = pytest.mark.anyio


def test_there_are_sixty_and_more_over_several_subjects_each_with_a_solution_and_a_mistake() -> None:
    assert len(TASKS) == len({task.id for task in TASKS}) == 64
    assert all(task.reference and task.wrong and task.tags for task in TASKS)
    tags = {tag for task in TASKS for tag in task.tags}
    assert tags >= {"tools", "state", "recovery", "files", "data", "plots", "long", "approvals"}


@pytest.mark.timeout(600)  # 128 sandboxes, on a machine that others use
async def test_every_solution_passes_and_every_mistake_is_found(tmp_path: Path) -> None:
    setups = [Setup(model=name) for name in SCRIPTED]
    options = Options(setups=setups, parallel=3, sandbox={"sandbox": "process", "data_dir": tmp_path / "run"})
    attempts = await evaluate("codeact", TASKS, options, tmp_path / "results")
    assert len(attempts) == 128
    unlike = [
        (one.task, one.setup.model, one.failure, one.reason)
        for one in attempts
        if one.passed != (one.setup.model == "reference") or one.failure not in (None, "wrong")
    ]
    assert unlike == []
    by_task = {one.task: one for one in attempts if one.setup.model == "reference"}
    assert by_task["tools/halving"].calls <= 25
    assert by_task["recovery/recursion"].failed_blocks == 1
    assert "data:image/png" in str(by_task["plots/two_pictures"].transcript)
