"""Each example, run as its first line says."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.conftest import running, settings_of

EXAMPLES = Path(__file__).parent.parent / "examples"
FIBONACCI = "354224848179261915075"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(settings_of(tmp_path_factory.mktemp("examples"))) as server:
        yield server.url


def run(*arguments: str, cwd: Path) -> str:
    environment = {"PATH": os.environ["PATH"], "HOME": str(cwd), "CODEACT_MODEL": "demo", "CODEACT_SANDBOX": "process"}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, cwd=cwd, capture_output=True, text=True, check=True, timeout=120
    ).stdout


def test_the_script_with_an_agent(tmp_path: Path) -> None:
    assert FIBONACCI in run(str(EXAMPLES / "agent_script.py"), cwd=tmp_path)


def test_the_websocket_client(url: str, tmp_path: Path) -> None:
    said = run(str(EXAMPLES / "websocket_client.py"), url.replace("http", "ws", 1) + "/v1/responses", cwd=tmp_path)
    assert FIBONACCI in said
    assert said.rstrip().endswith("[completed]")


def test_the_openai_client(url: str, tmp_path: Path) -> None:
    assert FIBONACCI in run(str(EXAMPLES / "openai_client.py"), f"{url}/v1", cwd=tmp_path)


def test_an_agent_in_a_script_writes_nothing_of_its_own_to_stdout(tmp_path: Path) -> None:
    script = "from codeact import Agent\nwith Agent() as agent:\n    print(len(agent.run('Count to 2').output) > 0)\n"
    assert run("-c", script, cwd=tmp_path) == "True\n"
