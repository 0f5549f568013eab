"""The server process ends within its limit whatever hangs, and with a non-zero code if a part of it
cannot be repaired.
"""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

START = """
import socket, sys
from pathlib import Path
import anyio
from codeact.settings import Settings
from codeact.server.app import create_app
from codeact.component import Component
from codeact.server.serve import Server, uvicorn_config
from sandbox_pool.supervision import Supervisor

async def hang(*_):
    await anyio.sleep_forever()

async def say(state):
    print("listening", flush=True)

values = {"model": "demo", "sandbox": "process", "pool_min": 0, "drain_s": 600}
settings = Settings.load(data_dir=Path(sys.argv[1]), **values)
"""

HANGS = (
    START
    + """
Component.close = hang
server = Server(uvicorn_config(create_app(settings, on_start=say), settings), end_s=0.5, second_signal_end_s=0.5)
server.run(sockets=[socket.create_server(("127.0.0.1", 0))])
"""
)

BREAKS = (
    START
    + """
import codeact.workspaces.workspace
class Broken(Supervisor):
    async def run(self, name, work):
        if name == "leases":
            raise RuntimeError("nobody foresaw this")
        await work()
supervisor = Broken(first_pause_s=0.01, longest_pause_s=0.01)
server = Server(uvicorn_config(create_app(settings, on_start=say, supervisor=supervisor), settings))
server.run(sockets=[socket.create_server(("127.0.0.1", 0))])
sys.exit(server.failure)
"""
)


@contextmanager
def process(script: str, directory: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", script, str(directory)]
    with subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as started:
        try:
            yield started
        finally:
            started.kill()


def listening(started: subprocess.Popen[str]) -> None:
    assert started.stdout is not None
    assert any("listening" in line for line in started.stdout)


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_an_end_that_hangs_is_cut_short_within_its_limit(tmp_path: Path, first: signal.Signals) -> None:
    with process(HANGS, tmp_path) as started:
        listening(started)
        started.send_signal(first)
        if first == signal.SIGTERM:  # It drains, for up to ten minutes here; the second signal ends that.
            started.send_signal(signal.SIGINT)
        _, said = started.communicate(timeout=120)
        assert started.returncode == 1, said
        assert "did not end in good order" in said


def test_a_task_that_fails_again_and_again_ends_the_process_non_zero(tmp_path: Path) -> None:
    with process(BREAKS, tmp_path) as started:
        _, said = started.communicate(timeout=60)
        assert started.returncode == 1, said
        assert "The background task 'leases' failed again and again (RuntimeError: nobody foresaw this)" in said
