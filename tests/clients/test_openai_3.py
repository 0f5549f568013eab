"""The official client in its newest major version, which cannot share an environment with litellm."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.matrix import proved
from tests.server.conftest import running, settings_of

ROOT = Path(__file__).parent.parent.parent
PYTHON = ROOT / ".venv-openai" / "bin" / "python"

pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason="no .venv-openai; `make install-dev` makes it")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(settings_of(tmp_path_factory.mktemp("openai"))) as server:
        yield f"{server.url}/v1"


def test_the_example_runs_unchanged_over_sse_and_websocket(url: str) -> None:
    version = subprocess.run([PYTHON, "-c", "import openai; print(openai.__version__)"], capture_output=True, text=True)
    assert version.stdout.startswith("3.")
    ran = subprocess.run(
        [PYTHON, ROOT / "examples" / "openai_client.py", url], capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == 0, ran.stderr
    assert "354224848179261915075" in ran.stdout
    assert "Done: the last number was **3**" in ran.stdout
    proved("`openai` for Python, newest major version", version.stdout.strip(), ["JSON", "SSE", "WebSocket"])
