"""Each background task raises, one after the other: the server keeps serving, and `/readyz` says what is down."""

import ast
import json
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from websockets.sync.client import connect

from codeact.server.services import Services
from codeact.settings import Settings
from tests.asking import frame
from tests.failures.breakable import Breakable
from tests.server.conftest import Running, running

ROOT = Path(__file__).parents[2]
MCP_SERVER = ROOT / "tests" / "mcp_server.py"

SERVES, WAITS = "answers questions meanwhile", "answers questions again afterwards"

ESSENTIAL = {
    "database part": WAITS,
    "sandbox part": WAITS,
    "model part": WAITS,
    "embedded mongod": SERVES,
    "audit log": SERVES,
    "expiry of idle sandboxes": SERVES,
    "idle sandboxes for those who wait": SERVES,
    "event writer": WAITS,
    "leases": SERVES,
    "pool starts": SERVES,
    "pool removals": SERVES,
    "pool engine events": SERVES,
    "pool watch of a warm sandbox": SERVES,
}
"""If one of these tasks is down, `/readyz` answers 503."""

DEGRADED = {
    "upkeep of the history",
    "webhooks",
    "MCP server test",
    "pool leftovers",
    "pool other sizes",
    "pool shrinking",
    "announcement",
    "last uses of keys",
    "expiry of unstored conversations",
}
"""If one of these tasks is down, every request is still answered: `/readyz` names it and answers 200."""


def kind(name: str) -> str:
    return re.sub(r" \d+$", "", name)


@pytest.fixture(scope="module")
def supervisor() -> Breakable:
    return Breakable()


@pytest.fixture(scope="module")
def server(supervisor: Breakable, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("failures")
    config = directory / "mcp.json"
    config.write_text(json.dumps({"mcpServers": {"test": {"command": sys.executable, "args": [str(MCP_SERVER)]}}}))
    webhooks = directory / "webhooks.json"
    webhooks.write_text(json.dumps({"webhooks": [{"url": "https://shop.example", "secret": f"whsec_{'A' * 24}"}]}))
    settings = Settings.load(
        model="demo",
        sandbox="process",
        data_dir=directory / "data",
        pool_min=1,
        pool_max=4,
        mcp_config=config,
        webhooks=webhooks,
    )

    async def announce(state: Services) -> None:
        await anyio.sleep_forever()

    with running(settings, supervisor=supervisor, on_start=announce) as started:
        yield started


def answer(server: Running) -> str:
    with connect(server.ws_url) as client:
        client.send(frame({"type": "response.create", "input": "Hello"}))
        while True:
            event: dict[str, Any] = json.loads(client.recv(timeout=60))
            if event["type"] in ("response.completed", "response.failed", "error"):
                return str(event["type"])


def readiness(server: Running) -> tuple[int, dict[str, Any]]:
    got = httpx.get(f"{server.url}/readyz", trust_env=False)
    return got.status_code, got.json()


def until_ready(server: Running) -> None:
    until = time.monotonic() + 60
    while (found := readiness(server))[0] != 200 or found[1]["degraded"]:
        assert time.monotonic() < until, found
        time.sleep(0.02)  # readiness has no event outside of the process


def test_the_table_names_every_task_that_runs(server: Running, supervisor: Breakable) -> None:
    assert {kind(name) for name in supervisor.names} == {*ESSENTIAL, *DEGRADED}


@pytest.mark.parametrize("task", [*ESSENTIAL, *sorted(DEGRADED)])
def test_a_task_that_raises_takes_nothing_with_it(server: Running, supervisor: Breakable, task: str) -> None:
    name = next(name for name in sorted(supervisor.names) if kind(name) == task)
    with supervisor.broken(name):
        status, body = readiness(server)
        if task in ESSENTIAL:
            assert status == 503
            assert name in body["failing"]
        else:
            assert status == 200
            assert body["degraded"] == [name]
        assert httpx.get(f"{server.url}/healthz", trust_env=False).status_code == 200
        if ESSENTIAL.get(task, SERVES) is SERVES:
            assert answer(server) == "response.completed"
    until_ready(server)
    assert answer(server) == "response.completed"


TASKS_OF_THEIR_OWN = {
    "codeact/agent/code_execution.py": "calls of one block of code",
    "codeact/agent/turn.py": "counts tokens beside one answer",
    "codeact/agent/model_calls.py": "the model calls of one answer's code, within its run's task",
    "codeact/tools/mcp_connection.py": "reads and writes one MCP server's process, within its connection",
    "codeact/models/discovery.py": "asks model servers while the model part opens",
    "codeact/models/litellm/loading.py": "an import, whose failure is raised to whoever waits for it",
    "codeact/runs/recorder.py": "tells one answer's readers that the database is silent",
    "codeact/store/database/operation.py": "one call of the database each, whose error is its caller's",
    "codeact/runs/event_writer.py": "a writer of its own for recovery at the start",
    "codeact/concurrency/concurrently.py": "reads beside each other within one call, whose error is its caller's",
    "codeact/agent/code_runner.py": "tells one answer's readers that it waits",
    "codeact/agent/eager.py": "runs one block while the model writes it, within its turn",
    "codeact/agent/environment_recording.py": "keeps the functions of one answer's code, within its run's task",
    "codeact/agent/output_files.py": "looks for files beside one answer",
    "codeact/evals/runner.py": "attempts of one evaluation, whose error ends it",
    "codeact/cli/commands/dashboard.py": "another process than the server",
    "server/transports/lanes.py": "work of one socket, which never raises and ends with it",
    "codeact/runs/ownership.py": "recovers one dead response each; never raises",
    "codeact/runs/manager.py": "one task for each run, which never raises (test_runs)",
    "codeact/workspaces/checkpoints.py": "one checkpoint each, which never raises and holds a place of a few",
    "server/peers/everywhere.py": "asks the other servers beside each other within one request",
    "server/routes/verification.py": "stops one verification whose client has gone, within its request",
    "server/webhooks/delivery.py": "one attempt each, which never raises",
    "server/workers.py": "a thread, so that it sees the end of its parent also while a loop is stuck",
    "server/watchdog.py": "a thread, so that it sees a loop that is stuck",
    "server/transports/websocket.py": "tasks of one socket, which end with it",
}
"""Modules that start tasks or threads without the supervisor, and why."""


def test_no_module_starts_a_background_task_without_the_supervisor() -> None:
    starting = {"start_soon", "create_task", "ensure_future", "Thread"}
    found = set()
    for path in sorted([*ROOT.glob("codeact/**/*.py"), *ROOT.glob("server/**/*.py")]):
        names = {
            node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call)
        }
        if names & starting:
            found.add(str(path.relative_to(ROOT)))
    assert found == set(TASKS_OF_THEIR_OWN), "start it by the supervisor, or keep the table up to date"
