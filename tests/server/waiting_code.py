"""Servers for tests of code that waits in the middle of a block, and ways to lose its kernel."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import openai
import psutil
import pytest
from openai.types.responses import Response

from tests.model_server import ModelServer
from tests.server.conftest import Running
from tests.server.processes import sandboxes_of
from tests.server.test_approvals import connected
from tests.server.test_functions import SHOWS_CODE, WEATHER

__all__ = ["ask", "client", "expire", "kill", "notices", "patience", "press", "settle", "start"]

MCP_SERVER = Path(__file__).parent.parent / "mcp_server.py"


def start(make_server: Callable[..., Running], model_server: ModelServer, folder: Path, **settings: Any) -> Running:
    """Starts a server with checkpoints, a scripted model and the functions of `tests/mcp_server.py`."""
    config = folder / "mcp.json"
    config.write_text(json.dumps({"mcpServers": {"sums": {"command": sys.executable, "args": [str(MCP_SERVER)]}}}))
    server = make_server(
        model="openai/scripted",
        model_api_base=model_server.base_url,
        model_api_key="test",
        mcp_config=config,
        checkpoint=True,
        **settings,
    )
    connected(server)
    return server


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets blocks wait for the checkpoint before them, however busy the machine is."""
    monkeypatch.setattr("codeact.workspaces.checkpoints.CAPTURE_S", 30.0)


@pytest.fixture
def client(server: Running, model_server: ModelServer) -> Iterator[openai.OpenAI]:
    model_server.reset()
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", timeout=60, max_retries=0) as client:
        yield client


def ask(client: openai.OpenAI, *rules: str, **more: Any) -> Response:
    body = {"codeact:approval": list(rules)} if rules else {}
    asked = {"input": "go", "tools": [WEATHER], "include": SHOWS_CODE, "extra_body": body, **more}
    return client.responses.create(model="codeact", **asked)


def settle(server: Running, response: Response) -> str:
    """Waits until the conversation's checkpoints are stored, and returns its id."""
    assert response.conversation is not None
    server.run(partial(server.state.checkpoints.settled, response.conversation.id))
    return response.conversation.id


def expire(server: Running, response: Response) -> None:
    """Releases the conversation's sandbox, as its expiry does."""
    name = settle(server, response)
    server.run(partial(server.state.workspaces.release, name, "the sandbox was idle for too long"))


def press(server: Running, response: Response) -> None:
    """Takes the idle sandboxes of the owner, as another conversation does that needs one."""
    name = settle(server, response)
    owner = server.state.workspaces._workspaces[name].owner
    server.run(partial(server.state.workspaces.release_idle_of, owner, 100, "another conversation needed one"))


def kill(server: Running, response: Response) -> None:
    """Kills the processes of all sandboxes, as a crash of the engine does."""
    name = settle(server, response)
    sandbox = server.state.workspaces._workspaces[name].living
    assert sandbox is not None
    for process in sandboxes_of(server.settings.data_dir):
        with suppress(psutil.NoSuchProcess):  # It ends with another one.
            process.kill()
    server.run(sandbox.died)


def notices(response: Response) -> list[str]:
    return [each["code"] for each in response.model_extra["codeact:notices"]]
