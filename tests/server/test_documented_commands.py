"""Every command of README and docs: run here, run by another test, or with a reason why no test can run it."""

import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from codeact.cli.main import app
from tests.server.conftest import Running, in_thread
from tests.test_commands import ROOT, with_reasons

ELSEWHERE = {
    r"(\S+=\S+ |\S+=\"[^\"]*\" )*(make|codeact) serve": "test_it_says_where_it_listens_and_what_it_found_and_why",
    r"codeact eval .*": "test_the_command_line_evaluates_reports_and_compares",
    r"codeact verify .*": "test_the_certificate_goes_along_with_a_share_a_notebook_and_the_command_line",
    r"make dashboard": "test_a_search_is_in_the_address_and_a_row_opens_its_conversation",
    r"make install": "test_a_copy_that_lost_its_links_is_built_whole",
    r"python scripts/release\.py 0\.2\.0": "test_a_release_has_its_version_its_notes_its_artifacts_and_its_tag",
    r"python scripts/release\.py 0\.2\.0 --dry-run": "test_a_dry_run_shows_every_step_and_changes_nothing",
    r"(nginx|haproxy) .*": "test_clients_of_any_proxy_lose_nothing_while_servers_die_and_stand_still",
    r"sbatch slurm/codeact\.sbatch|scancel .*": "test_a_job_drains_ahead_of_its_end_and_the_next_one_goes_on",
    r"pip install \./examples/backend": "test_the_backend_is_chosen_by_its_name",
    r"helm/verify\.sh .*": "test_what_is_missing_is_named_before_anything_is_created",
}
"""What starts a server or a dashboard, which does not end by itself, or has a test of its own: by that test's name."""

FILES = {"sales.csv": "month,sales\n1,2\n"}
"""The files that the commands name, which are the reader's."""


ORIGIN = "https://shop.example"
KEY = "reader"


@pytest.fixture
def terminal(
    make_server: Callable[..., Running], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], str]:
    """Runs a command line of ours, or of curl, in a reader's folder, with a server; returns what it prints."""
    server = make_server(api_keys=KEY, data_dir=tmp_path / "data", embed_origins=ORIGIN)
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    profile = {"name": "Analyst", "instructions": "Answer in one line."}
    reader = {"Authorization": f"Bearer {KEY}"}
    httpx.post(f"{server.url}/v1/profiles", json=profile, headers=reader, trust_env=False).raise_for_status()
    monkeypatch.chdir(tmp_path)
    settings = {"URL": server.url, "API_KEYS": KEY, "DATA_DIR": str(tmp_path / "data"), "MODEL": "demo"}
    for name, value in (settings | {"SANDBOX": "process"}).items():
        monkeypatch.setenv(f"CODEACT_{name}", value)

    def curl(line: str) -> str:
        for theirs, ours in (("https://SERVER", server.url), ("https://chat.example", server.url)):
            line = line.replace(theirs, ours)
        words = shlex.split(line.replace("OPERATOR_KEY", KEY).replace("$KEY", KEY))
        done = subprocess.run([*words, "--noproxy", "*", "--fail"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, (line, done.stderr)
        return done.stdout

    def run(line: str) -> str:
        if line.startswith("curl "):
            return curl(line)
        words = shlex.split(line.removeprefix(".venv/bin/"))
        assert words.pop(0) == "codeact", f"no test runs it, and its page does not say why: {line}"
        done = in_thread(partial(CliRunner().invoke, app, words, input="What is the 100th Fibonacci number?\n"))
        assert done.exit_code == 0, (line, done.output, done.exception)
        return str(done.output)

    return run


def elsewhere(line: str) -> str | None:
    return next((name for pattern, name in ELSEWHERE.items() if re.fullmatch(pattern, line)), None)


def test_every_command_of_the_docs_runs_or_its_page_says_why_not(terminal: Callable[[str], str]) -> None:
    known = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    key, ran = "", 0
    for line, reason in dict.fromkeys((line, reason) for _, line, reason in with_reasons()):
        if reason:
            continue
        if (name := elsewhere(line)) is not None:
            assert f"def {name}(" in known, line
            continue
        if line.startswith("curl ") and shutil.which("curl") is None:
            pytest.skip("curl is not installed")
        said = terminal(line.replace("key_019…", key))
        found = re.search(r"key_[0-9a-f]{20,}", said)
        key = found[0] if found is not None else key
        ran += 1
    assert ran >= 14


def test_every_test_that_the_table_names_runs_a_command_that_is_there() -> None:
    lines = [line for _, line, _ in with_reasons()]
    assert [one for one in ELSEWHERE if not any(re.fullmatch(one, line) for line in lines)] == []


def test_a_reason_is_read_beside_a_command_and_below_a_block() -> None:
    found = {(page, line): reason for page, line, reason in with_reasons()}
    assert found["README.md", "make check"] == "CI runs it"
    assert found["docs/models.md", "ollama pull xingyaow/codeact-agent-mistral"].startswith("the weights")
    assert found["docs/terminal.md", "codeact list"] == ""
