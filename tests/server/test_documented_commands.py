"""Every command of README and docs: run here, run by another test, or with a reason why no test can run it."""

import re
import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from codeact.cli.main import app
from tests.server.conftest import Running, in_thread
from tests.test_commands import ROOT, commands

ELSEWHERE = {
    r"(\S+=\S+ )*(make|codeact) serve": "test_it_says_where_it_listens_and_what_it_found_and_why",
    r"codeact eval .*": "test_the_command_line_evaluates_reports_and_compares",
    r"make dashboard": "test_a_search_is_in_the_address_and_a_row_opens_its_conversation",
    r"python scripts/release\.py 0\.2\.0": "test_a_release_has_its_version_its_notes_its_artifacts_and_its_tag",
    r"python scripts/release\.py 0\.2\.0 --dry-run": "test_a_dry_run_shows_every_step_and_changes_nothing",
}
"""What starts a server or a dashboard, which does not end by itself, or has a test of its own: by that test's name."""

REASONS = {
    r"make (test|test-long|test-newer|check|docs)( ARGS=.*)?": "is this suite, or what CI runs beside it",
    r"make test-cluster.*": "needs a Kubernetes cluster",
    r"make image.*|docker compose .*": "needs a registry of images",
    r"codeact --install-completion": "changes the files of the reader's shell; test_shells_complete_commands completes",
    r"(codeact runs on|its data is in) .*": "is what a job says in its log",
    r"codeact bench .*|python -m benchmarks.*": "measures for minutes, with nothing else going on",
}
"""What a test cannot run, and why."""

FILES = {"sales.csv": "month,sales\n1,2\n"}
"""The files that the commands name, which are the reader's."""


@pytest.fixture
def terminal(
    make_server: Callable[..., Running], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], str]:
    """Runs a command line of ours in a reader's folder, with a server; returns what it prints."""
    server = make_server(api_keys="reader", data_dir=tmp_path / "data")
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    reader = {"Authorization": "Bearer reader"}
    profile = {"name": "Analyst", "instructions": "Answer in one line."}
    httpx.post(f"{server.url}/v1/profiles", json=profile, headers=reader, trust_env=False).raise_for_status()
    monkeypatch.chdir(tmp_path)
    settings = {"URL": server.url, "API_KEYS": "reader", "DATA_DIR": str(tmp_path / "data"), "MODEL": "demo"}
    for name, value in (settings | {"SANDBOX": "process"}).items():
        monkeypatch.setenv(f"CODEACT_{name}", value)

    def run(line: str) -> str:
        words = shlex.split(line.removeprefix(".venv/bin/"))
        assert words.pop(0) == "codeact", f"no test runs it, and no reason is given: {line}"
        done = in_thread(partial(CliRunner().invoke, app, words, input="What is the 100th Fibonacci number?\n"))
        assert done.exit_code == 0, (line, done.output, done.exception)
        return str(done.output)

    return run


def test_every_command_of_the_docs_runs(terminal: Callable[[str], str]) -> None:
    known = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    key, ran = "", 0
    for line in dict.fromkeys(line for _, line in commands()):
        if any(re.fullmatch(pattern, line) for pattern in REASONS):
            continue
        name = next((name for pattern, name in ELSEWHERE.items() if re.fullmatch(pattern, line)), None)
        if name is not None:
            assert f"def {name}(" in known, line
            continue
        said = terminal(line.replace("key_019…", key))
        found = re.search(r"key_[0-9a-f]{20,}", said)
        key = found[0] if found is not None else key
        ran += 1
    assert ran >= 6


def test_every_pattern_of_these_tables_is_of_a_command_that_is_there() -> None:
    lines = [line for _, line in commands()]
    unused = [one for one in (*ELSEWHERE, *REASONS) if not any(re.fullmatch(one, line) for line in lines)]
    assert unused == []
