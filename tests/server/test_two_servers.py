"""Two server processes with one database: the response of one is steered and cancelled at the other."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

from tests.asking import frame
from tests.server.processes import ServerProcess, serving

ENDS = ("response.completed", "response.incomplete", "response.failed", "error")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerProcess, ServerProcess]]:
    data_dir = tmp_path_factory.mktemp("two")
    with ExitStack() as stack:
        yield stack.enter_context(serving(data_dir)), stack.enter_context(serving(data_dir))


def read(socket: ClientConnection, *until: str) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    while not events or events[-1]["type"] not in (*until, *ENDS):
        events.append(json.loads(socket.recv(timeout=60)))
    return events


def test_an_answer_is_steered_and_cancelled_at_another_process(servers: tuple[ServerProcess, ServerProcess]) -> None:
    at_work, other = servers
    with connect(at_work.ws_url, max_size=None) as socket, connect(other.ws_url, max_size=None) as elsewhere:
        socket.send(frame({"type": "response.create", "input": "Count to 60, slowly."}))
        events = read(socket, "codeact:code_interpreter_call.output")
        response_id = events[0]["response"]["id"]
        elsewhere.send(frame({"type": "codeact:response.resume", "response_id": response_id}))
        elsewhere.send(json.dumps({"type": "response.steer", "previous_response_id": response_id, "input": "and on"}))
        assert read(elsewhere, "response.steer.accepted")[-1]["steer"]["previous_response_id"] == response_id
        cancelled = httpx.post(f"{other.url}/v1/responses/{response_id}/cancel", trust_env=False, timeout=60).json()
        assert cancelled["status"] == "cancelled"
        assert read(elsewhere)[-1]["response"]["status"] == "cancelled"
        read(socket, "response.incomplete")
        lost = read(socket, "response.steer.failed")[-1]
        assert lost["error"]["code"] == "successor_creation_failed"
