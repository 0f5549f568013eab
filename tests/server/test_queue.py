"""More questions than the server answers at once: they wait in line if the operator allows it, otherwise they are
refused.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

from tests.asking import frame
from tests.model_server import Gate, ModelServer
from tests.server.conftest import Running, running, settings_of

PLACES, WAITING = 1, 3


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, model_server: ModelServer) -> Iterator[Running]:
    settings = settings_of(
        tmp_path_factory.mktemp("queue"),
        models="openai/scripted",
        model=None,
        model_api_base=model_server.base_url,
        model_api_key="test",
        pool_min=0,
        max_concurrent_runs=PLACES,
        max_queued_runs=WAITING,
    )
    with running(settings) as server:
        yield server


def read(socket: ClientConnection, *until: str) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    while not events or events[-1]["type"] not in until:
        events.append(json.loads(socket.recv(timeout=60)))
    return events


def asks(server: Running, stack: ExitStack) -> ClientConnection:
    socket = stack.enter_context(connect(server.ws_url, max_size=None))
    socket.send(frame({"type": "response.create", "input": "go"}))
    return socket


def test_questions_wait_in_line_and_can_be_cancelled_there(server: Running, model_server: ModelServer) -> None:
    model_server.reset()
    gate = Gate()
    model_server.reply("first", gate)
    for text in ("second", "third"):
        model_server.reply(text)
    with ExitStack() as stack:
        first = asks(server, stack)
        read(first, "response.output_text.delta")
        waiting = []
        for _ in range(WAITING):
            socket = asks(server, stack)
            told = read(socket, "codeact:status")
            assert [event["type"] for event in told] == ["response.created", "response.queued", "codeact:status"]
            assert told[0]["response"]["status"] == "queued"
            assert told[2]["status"] == "queued"
            waiting.append((socket, told[0]["response"]["id"]))
        refused = asks(server, stack)
        error = read(refused, "error")[-1]
        assert (error["status"], error["error"]["code"]) == (429, "overloaded")
        answer = httpx.post(f"{server.url}/v1/responses", json={"input": "go"}, trust_env=False, timeout=60)
        assert answer.status_code == 429
        (second, _), (given_up, given_up_id), (third, _) = waiting
        httpx.post(f"{server.url}/v1/responses/{given_up_id}/cancel", trust_env=False, timeout=60).raise_for_status()
        assert read(given_up, "response.incomplete")[-1]["response"]["status"] == "cancelled"
        gate.open()
        assert _text(read(first, "response.completed")) == "first"
        for socket, text in ((second, "second"), (third, "third")):
            told = read(socket, "response.completed")
            assert told[0]["type"] == "response.in_progress"
            assert _text(told) == text


def _text(told: list[dict[str, Any]]) -> str:
    return str(told[-1]["response"]["output"][0]["content"][0]["text"])
