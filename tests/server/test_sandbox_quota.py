"""Sandboxes per owner over HTTP and a socket: who gets 429, and who does not."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from tests.asking import frame
from tests.model_server import Gate, ModelServer
from tests.server.conftest import Running

BUSY = "<execute>\nprint('busy')\nimport time; time.sleep(1000)\n</execute>\n"
SHORT = "<execute>\nprint(6 * 7)\n</execute>\n"


@pytest.fixture(scope="module")
def server(make_server: Callable[..., Running], model_server: ModelServer) -> Running:
    return make_server(
        model="openai/scripted",
        model_api_base=model_server.base_url,
        model_api_key="test",
        sandboxes_per_owner=1,
    )


@pytest.fixture(autouse=True)
def _fresh_script(model_server: ModelServer) -> None:
    model_server.reset()


@contextmanager
def busy(server: Running, model_server: ModelServer) -> Iterator[str]:
    """Code of a conversation runs inside the context; yields its id."""
    model_server.reply(BUSY)
    with connect(server.ws_url, max_size=None) as socket:
        socket.send(frame({"type": "response.create", "input": "go"}))
        event: dict[str, Any] = {"type": ""}
        while event["type"] != "codeact:code_interpreter_call.output":
            event = json.loads(socket.recv(timeout=60))
            if event["type"] == "response.created":
                response = event["response"]
        yield response["conversation"]["id"]
        model_server.reply("Stopped.")
        socket.send(json.dumps({"type": "response.cancel", "response_id": response["id"]}))
        while not event["type"].startswith(("response.incomplete", "response.completed")):
            event = json.loads(socket.recv(timeout=60))


def post(server: Running, **body: Any) -> httpx.Response:
    return httpx.post(f"{server.url}/v1/responses", json={"input": "go", **body}, timeout=60, trust_env=False)


def test_an_owner_whose_sandboxes_are_all_in_use_is_told_when_to_come_back(
    server: Running, model_server: ModelServer
) -> None:
    with busy(server, model_server):
        answer = post(server)
        assert answer.status_code == 429
        assert answer.json()["error"]["code"] == "sandbox_quota_exceeded"
        assert answer.json()["error"]["type"] == "too_many_requests"
        assert int(answer.headers["Retry-After"]) >= 1
        with connect(server.ws_url) as socket:
            socket.send(frame({"type": "response.create", "input": "go"}))
            event = json.loads(socket.recv(timeout=30))
    assert (event["type"], event["status"], event["error"]["code"]) == ("error", 429, "sandbox_quota_exceeded")


def test_the_conversations_own_sandbox_does_not_count_and_idle_ones_are_given_up(
    server: Running, model_server: ModelServer
) -> None:
    conversations = []
    for _ in range(2):
        model_server.reply(SHORT)
        model_server.reply("Done.")
        first = post(server)
        assert (first.status_code, first.json()["status"]) == (200, "completed")
        conversations.append(first.json()["conversation"]["id"])
    model_server.reply(SHORT)
    model_server.reply("Done.")
    again = post(server, conversation=conversations[-1])
    assert (again.status_code, again.json()["status"]) == (200, "completed")
    assert "codeact:notices" not in again.json() or not again.json()["codeact:notices"]


def test_a_hit_quota_in_the_middle_of_an_answer_fails_it_by_name(server: Running, model_server: ModelServer) -> None:
    gate = Gate()
    model_server.reply("I wait.", gate, SHORT)
    with connect(server.ws_url) as socket:
        socket.send(frame({"type": "response.create", "input": "go"}))
        gate.reached.result(timeout=30)
        with busy(server, model_server):
            gate.open()
            event: dict[str, Any] = {"type": ""}
            while event["type"] != "response.failed":
                event = json.loads(socket.recv(timeout=60))
    assert event["response"]["error"]["code"] == "sandbox_quota_exceeded"


@pytest.fixture(scope="module")
def shared(make_server: Callable[..., Running], tmp_path_factory: pytest.TempPathFactory) -> Running:
    """A server with two sandboxes in all, and four requests per minute and owner."""
    data_dir = tmp_path_factory.mktemp("containers")
    return make_server(api_keys="one,two", pool_min=0, pool_max=2, responses_per_minute=4, data_dir=data_dir)


def container(server: Running, key: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.post(f"{server.url}/v1/containers", json={"name": "x"}, headers=headers, timeout=60, trust_env=False)


def test_a_container_takes_no_sandbox_from_another_owner_and_counts_for_the_owner_s_limits(shared: Running) -> None:
    theirs = container(shared, "two").raise_for_status().json()["id"]
    mine = [container(shared, "one").raise_for_status().json()["id"] for _ in range(3)]
    assert len(set(mine)) == 3
    living = shared.state.workspaces.container_ids
    assert theirs in living
    assert mine[-1] in living
    with ThreadPoolExecutor(8) as threads:  # All at once: the limit lets another one pass every 15 s.
        answers = list(threads.map(lambda _: container(shared, "one"), range(8)))
    refused = {answer.json()["error"]["code"] for answer in answers if answer.status_code == 429}
    assert "rate_limit_exceeded" in refused
    assert theirs in shared.state.workspaces.container_ids


def test_where_others_have_all_sandboxes_a_container_is_refused_by_name(
    make_server: Callable[..., Running], tmp_path_factory: pytest.TempPathFactory
) -> None:
    server = make_server(api_keys="one,two", pool_min=0, pool_max=1, data_dir=tmp_path_factory.mktemp("full"))
    theirs = container(server, "two").raise_for_status().json()["id"]
    refused = container(server, "one")
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "at_capacity")
    assert server.state.workspaces.container_ids == {theirs}
