"""A server with several models: which are listed, and which one answers a request."""

import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from codeact.models import discovery
from codeact.models.discovery import Probe
from codeact.server import startup
from tests.asking import frame
from tests.model_server import ModelServer
from tests.server.conftest import Running, running, settings_of

REFUSAL = "'gpt-9' is not served here. Ask for 'openai/scripted', 'openai/other'"


@pytest.fixture
def client(scripted: Running, model_server: ModelServer) -> Iterator[httpx.Client]:
    model_server.reset()
    with httpx.Client(base_url=scripted.url, trust_env=False, timeout=30) as client:
        yield client
    model_server.reset()


def test_all_of_them_are_listed_the_default_first(client: httpx.Client) -> None:
    listed = [model["id"] for model in client.get("/v1/models").json()["data"]]
    assert listed == ["openai/scripted", "openai/other", "codeact"]
    assert client.get("/v1/models/openai/other").json()["id"] == "openai/other"
    assert client.get("/v1/models/codeact").json()["id"] == "codeact"
    assert client.get("/v1/models/gpt-9").status_code == 404
    status = client.get("/v1/status").json()
    assert (status["model"], status["models"]) == ("openai/scripted", ["openai/scripted", "openai/other"])


@pytest.mark.parametrize(
    ("asked", "name"),
    [({}, "scripted"), ({"model": "openai/other"}, "other"), ({"model": "codeact"}, "scripted")],
)
def test_a_request_gets_the_model_that_it_names(
    client: httpx.Client, model_server: ModelServer, asked: dict[str, Any], name: str
) -> None:
    model_server.reply("Hello.")
    response = client.post("/v1/responses", json={"input": "x"} | asked).raise_for_status().json()
    assert response["model"] == f"openai/{name}"
    assert model_server.requests[0].body["model"] == name


def test_a_conversation_goes_on_with_another_model(client: httpx.Client, model_server: ModelServer) -> None:
    model_server.reply("I am the first.")
    model_server.reply("I am the second.")
    first = client.post("/v1/responses", json={"input": "who?"}).json()
    body = {"input": "and you?", "model": "openai/other", "previous_response_id": first["id"]}
    assert client.post("/v1/responses", json=body).json()["model"] == "openai/other"
    said = [message["content"] for message in model_server.requests[1].messages]
    assert "I am the first." in said


def test_a_model_that_is_not_served_is_refused_by_name_on_every_way_in(
    client: httpx.Client, scripted: Running, model_server: ModelServer
) -> None:
    messages = [{"role": "user", "content": "x"}]
    for path, body in (("/v1/responses", {"input": "x"}), ("/v1/chat/completions", {"messages": messages})):
        refusal = client.post(path, json=body | {"model": "gpt-9"})
        assert refusal.status_code == 404
        error = refusal.json()["error"]
        assert (error["code"], error["param"]) == ("model_not_found", "model")
        assert REFUSAL in error["message"]
    with connect(scripted.ws_url) as socket:
        socket.send(frame({"type": "response.create", "input": "x", "model": "gpt-9"}))
        assert REFUSAL in json.loads(socket.recv(30))["error"]["message"]
    assert model_server.requests == []


def test_models_that_come_while_the_demo_serves_are_listed_and_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CODEACT_MODEL", raising=False)
    with ModelServer(models=()) as late:
        [listing] = [probe.names for probe in discovery.DEFAULT_PROBES if probe.server == "llama.cpp"]
        probe = Probe("llama.cpp", late.base_url.removesuffix("/v1"), "/v1/models", listing)
        monkeypatch.setattr(discovery, "DEFAULT_PROBES", (probe,))
        monkeypatch.setattr(startup, "search", partial(discovery.search, pause_s=0.02))
        with (
            running(settings_of(tmp_path, model=None)) as server,
            httpx.Client(base_url=server.url, trust_env=False, timeout=30) as client,
        ):

            def listed() -> list[str]:
                return [model["id"] for model in client.get("/v1/models").json()["data"]]

            assert listed() == ["demo", "codeact"]
            late.models = ("qwen3:8b", "other")
            deadline = time.monotonic() + 60
            while listed() == ["demo", "codeact"]:
                assert time.monotonic() < deadline
            assert listed() == ["qwen3:8b", "other", "demo", "codeact"]
            status = client.get("/v1/status").json()
            assert (status["model"], status["models"]) == ("qwen3:8b", ["qwen3:8b", "other", "demo"])
            late.reply("Hello.")
            assert client.post("/v1/responses", json={"input": "x"}).json()["model"] == "qwen3:8b"
            assert [request.body["model"] for request in late.requests] == ["qwen3:8b"]
            assert client.post("/v1/responses", json={"input": "x", "model": "demo"}).json()["model"] == "demo"
