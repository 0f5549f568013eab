"""Ten tasks asked of a real model server with small weights: it solves none of them, and each attempt is recorded."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from codeact.evals.own import TASKS
from codeact.evals.record import Setup, read_attempts, read_plan
from codeact.evals.report_html import html_report
from codeact.evals.runner import Options, evaluate
from codeact.evals.task import Limits

BASE = os.environ.get("TEST_REAL_MODEL", "")
NAMES = [task.id for task in TASKS if len(task.questions) == 1 and not task.files][:10]

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not BASE, reason="TEST_REAL_MODEL names no llama.cpp server"),
]


async def test_ten_tasks_go_their_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEACT_MODEL_API_BASE", BASE)
    limits = Limits(max_turns=1, timeout_s=280, max_output_tokens=8)
    tasks = [replace(task, limits=limits) for task in TASKS if task.id in NAMES]
    options = Options(
        setups=[Setup(model="smollm2-135m", dialect="tags")],
        parallel=1,
        sandbox={"sandbox": "process", "data_dir": tmp_path / "run"},
    )
    attempts = await evaluate("codeact", tasks, options, tmp_path / "results")
    assert len(attempts) == 10
    for one in attempts:
        assert one.failure not in (None, "timeout", "checker_failed", "model_unreachable"), one
        assert one.input_tokens > 100, one
        assert one.transcript[0].kind == "question"
    page = "".join(html_report(read_plan(tmp_path / "results"), read_attempts(tmp_path / "results")))
    assert "10 of 10 attempts" in page
    assert [name for name in NAMES if name not in page] == []
