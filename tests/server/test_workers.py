"""`codeact serve` with several workers: one service, which outlives each of its processes."""

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
import pytest
import uvicorn
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette

from codeact.errors import ConfigurationError
from codeact.server.serve import Server
from codeact.server.workers import worker_settings
from codeact.settings import Settings
from tests.server.test_serve import fails, read_until, serving

pytestmark = pytest.mark.xdist_group("kill")


def wait_until(holds: Callable[[], bool], within_s: float = 60.0) -> None:
    until = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_workers_answer_one_conversation_and_one_that_is_killed_is_replaced(tmp_path: Path) -> None:
    with serving(tmp_path, CODEACT_WORKERS="2", CODEACT_POOL_MAX="2", CODEACT_LEASE_S="30") as process:
        address = re.search(r"http://localhost:\d+", read_until(process, "event=ready"))
        assert address is not None

        def answer(question: str, conversation: str | None = None) -> dict[str, object]:
            body = {"input": question, "conversation": conversation} if conversation else {"input": question}
            # A connection of its own for each request: any worker may get it.
            answer = httpx.post(f"{address[0]}/v1/responses", json=body, trust_env=False, timeout=60)
            return dict(answer.raise_for_status().json())

        def workers() -> set[int]:
            return {child.pid for child in psutil.Process(process.pid).children()}

        first = answer("What is the 100th Fibonacci number?")
        conversation = str(first["conversation"]["id"])  # type: ignore[index]
        for _ in range(4):
            again = answer("What is the 100th Fibonacci number?", conversation)
            assert (again["status"], again["codeact:notices"]) == ("completed", [])
        before = workers()
        assert len(before) == 2

        # Whichever worker answers, its metrics are those of both, each with its number.
        def scrape() -> str:
            return httpx.get(f"{address[0]}/metrics", trust_env=False).raise_for_status().text

        scraped = scrape()
        # On a busy machine, the other worker may be too late for one request.
        while any(f'worker="{number}"' not in scraped for number in (1, 2)):
            scraped = scrape()
        responses = [line for line in scraped.splitlines() if line.startswith("codeact_responses_total{")]
        assert sum(float(line.split()[-1]) for line in responses) == 5
        assert all(re.search(r'worker="[12]"', line) for line in responses)
        families = list(text_string_to_metric_families(scraped))
        resident = next(family for family in families if family.name == "process_resident_memory_bytes")
        assert {sample.labels["worker"] for sample in resident.samples} == {"1", "2"}
        killed = min(before)
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: len(workers()) == 2 and killed not in workers())
        assert answer("What is the 100th Fibonacci number?", conversation)["status"] == "completed"
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 0, said
        assert not any(psutil.pid_exists(pid) for pid in before)
    left = [path for path in (tmp_path / "run").glob("*/*") if path.is_dir()]
    assert left == []


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    with serving(tmp_path, CODEACT_WORKERS="2", CODEACT_POOL_MIN="0") as process:
        read_until(process, "event=listening")
        workers = psutil.Process(process.pid).children()
        process.kill()
        _, alive = psutil.wait_procs(workers, timeout=60)
        assert alive == []


def forked(number: int, body: str, tmp_path: Path, *, steady_s: float = 60.0) -> subprocess.CompletedProcess[str]:
    """Runs `body` in workers; `worker` is the worker's number there. Prints what the parent gets at the end."""
    program = f"""
        import os, signal, sys, time
        from codeact.errors import CodeActError
        from codeact.server import workers
        from codeact.server.workers import become_worker
        workers.STEADY_S = {steady_s}
        try:
            worker = become_worker({number}, end_s=1.0, most_failures=3)
        except CodeActError as error:
            print("gave up:", error.message)
            sys.exit(1)
        if worker is not None:
            open(f"{tmp_path}/{{worker}}", "a").write("x")
            {body}
        print("all have ended")
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    return subprocess.run(command, text=True, capture_output=True, timeout=60, check=False)


def test_a_worker_that_fails_again_and_again_ends_the_service(tmp_path: Path) -> None:
    ended = forked(2, "os._exit(7) if worker == 2 else time.sleep(60)", tmp_path)
    assert "gave up: A worker ended 3 times in a row (exit code 7)" in ended.stdout
    assert ended.returncode == 1
    assert (tmp_path / "2").read_text() == "xxx"
    assert (tmp_path / "1").read_text() == "x"


def test_a_wrong_setting_is_not_tried_again(tmp_path: Path) -> None:
    assert forked(1, "os._exit(2)", tmp_path).returncode == 2
    assert (tmp_path / "1").read_text() == "x"


def test_a_worker_that_cannot_start_again_ends_no_service_that_has_run(tmp_path: Path) -> None:
    """Something else may have its port for a moment."""
    body = (
        f'ends = [7, 2, None][len(open("{tmp_path}/1").read()) - 1]'
        "; os._exit(ends) if ends else os.kill(os.getppid(), signal.SIGTERM); time.sleep(60)"
    )
    assert forked(1, body, tmp_path, steady_s=0.0).returncode == 0
    assert (tmp_path / "1").read_text() == "xxx"


def test_a_worker_that_ignores_signals_is_killed(tmp_path: Path) -> None:
    stubborn = (
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
        "; os.kill(os.getppid(), signal.SIGTERM) if worker == 1 else None; time.sleep(60); os._exit(0)"
    )
    ended = forked(1, stubborn, tmp_path)
    assert ended.returncode == 0
    assert ended.stdout.endswith("all have ended\n")
    assert "exit_code=-9" in ended.stdout


def test_a_signal_that_a_worker_gets_twice_lets_its_answers_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """systemd sends SIGTERM to all processes of a service, and the parent passes on its own."""
    app = Starlette()
    app.state.settings = Settings.load(drain_s=5.0)
    worker = Server(uvicorn.Config(app), copy_s=3600.0)
    limits, stopped = list[float](), list[bool]()
    monkeypatch.setattr(worker.last_resort, "within", limits.append)
    monkeypatch.setattr(worker, "_stop_draining", lambda: stopped.append(True))
    worker.handle_exit(signal.SIGTERM, None)
    worker.handle_exit(signal.SIGTERM, None)
    assert (worker.should_exit, limits, stopped) == (True, [30.0], [])
    worker.handle_exit(signal.SIGINT, None)
    assert (limits, stopped) == ([30.0, 10.0], [True])


def test_workers_share_the_pool_s_sizes(tmp_path: Path) -> None:
    settings = Settings.load(workers=3, pool_min=2, pool_max=16, data_dir=tmp_path, api_keys="secret")
    own = [worker_settings(settings, number, f"http://127.0.0.1:{number}", "s" * 32) for number in (1, 2, 3)]
    assert [each.pool_min for each in own] == [1, 1, 0]
    assert [each.pool_max for each in own] == [6, 5, 5]
    assert {each.api_keys for each in own} == {settings.api_keys}
    assert own[0].shares_database
    assert own[0].disclosure.scrub("s" * 32) != "s" * 32


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"workers": 4, "pool_max": 3}, "CODEACT_WORKERS"),
        ({"workers": 0}, "CODEACT_WORKERS"),
        ({"workers": 2, "peer_url": "http://10.0.0.1", "peer_secret": "s" * 32}, "CODEACT_PEER_URL"),
        ({"workers": 4, "peer_url": "http://10.0.0.1:65533", "peer_secret": "s" * 32}, "CODEACT_PEER_URL"),
    ],
)
def test_settings_that_workers_cannot_have_are_named(settings: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        Settings.load(**settings)


def test_an_address_that_is_not_of_this_machine_is_named_once(data_dir: Path) -> None:
    said = fails(data_dir, CODEACT_WORKERS="2", CODEACT_HOST="203.0.113.1", CODEACT_API_KEYS="k")
    assert said.count("Cannot listen on 203.0.113.1") == 1
