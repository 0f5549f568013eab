"""What once stopped a whole server: an engine that is not up, an exception of one run, an item of an unknown type."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from anyio.from_thread import start_blocking_portal
from pymongo import MongoClient
from websockets.sync.client import ClientConnection, connect

from codeact import component
from codeact.runs import run
from codeact.runs.recorder import Recorder
from codeact.server import startup
from codeact.store import embedded_mongod
from codeact.store.repositories.history import History
from sandbox_pool.backends.registry import open_backend
from sandbox_pool.errors import EngineUnavailable
from tests.asking import frame
from tests.model_server import Gate, ModelServer
from tests.server.conftest import Running, running, settings_of

ENDS = ("response.completed", "response.failed", "response.incomplete", "error")


@pytest.fixture
def model_server() -> Iterator[ModelServer]:
    with ModelServer() as started:
        yield started


def scripted(model_server: ModelServer) -> dict[str, Any]:
    return {"model": "openai/scripted", "model_api_base": model_server.base_url, "model_api_key": "test"}


def follow(client: ClientConnection, *until: str) -> dict[str, Any]:
    while True:
        event: dict[str, Any] = json.loads(client.recv(timeout=30))
        if event["type"] in (*until, *ENDS):
            return event


def ask(server: Running, text: str = "go") -> dict[str, Any]:
    with connect(server.ws_url) as client:
        client.send(frame({"type": "response.create", "input": text}))
        return follow(client)


def readiness(server: Running) -> httpx.Response:
    return httpx.get(f"{server.url}/readyz", trust_env=False)


@contextmanager
def embedded(data_dir: Path) -> Iterator[Any]:
    """The database of a directory, for manual edits."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(embedded_mongod(data_dir)) as uri,
        MongoClient[dict[str, Any]](uri) as client,
    ):
        yield client["codeact"]


def until_status(server: Running, status: int) -> httpx.Response:
    until = time.monotonic() + 60
    while (got := readiness(server)).status_code != status:
        assert time.monotonic() < until, got.text
        time.sleep(0.02)  # readiness has no event outside of the process
    return got


def test_an_engine_that_comes_up_after_the_server_is_found(
    tmp_path: Path, model_server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine_is_up = threading.Event()

    async def open_later(*arguments: Any, **options: Any) -> Any:
        if not engine_is_up.is_set():
            raise EngineUnavailable("No Docker engine answers.")
        return await open_backend(*arguments, **options)

    monkeypatch.setattr(startup, "open_backend", open_later)
    monkeypatch.setattr(component, "FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(component, "LONGEST_PAUSE_S", 0.1)
    with running(settings_of(tmp_path, **scripted(model_server)), ready=False) as started:
        for _ in range(2):
            model_server.reply("No code is needed.")
            assert ask(started)["type"] == "response.completed"
        body = readiness(started).json()
        assert body["sandbox"]["state"] == "failed"
        assert body["missing"] == ["sandbox"]
        assert body["failing"] == []
        engine_is_up.set()
        until_status(started, 200)
        model_server.reply("<execute>\nprint(6 * 7)\n</execute>")
        model_server.reply("42")
        assert ask(started)["type"] == "response.completed"


def test_an_exception_of_one_run_ends_that_run_alone_with_a_failed_event(
    tmp_path: Path, model_server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, real = Gate(), run.answer
    unlucky: set[str] = set()

    async def answer(response: Any, *arguments: Any, **options: Any) -> None:
        if response.metadata:
            unlucky.add(response.id)
            await options["emit"](run.e.ResponseCreated(response=response))
            raise RuntimeError("nobody foresaw this")
        await real(response, *arguments, **options)

    monkeypatch.setattr(run, "answer", answer)
    model_server.reply("Before ", gate, "after.")
    with running(settings_of(tmp_path, **scripted(model_server))) as started, connect(started.ws_url) as client:
        client.send(frame({"type": "response.create", "input": "go", "stream_id": "sibling"}))
        follow(client, "response.output_text.delta")
        client.send(frame({"type": "response.create", "input": "go", "metadata": {"a": "b"}, "stream_id": "x"}))
        failed = follow(client, "response.failed")
        assert failed["stream_id"] == "x"
        assert failed["type"] == "response.failed"
        assert failed["response"]["id"] in unlucky
        gate.open()
        ended = follow(client)
        assert (ended["type"], ended["stream_id"]) == ("response.completed", "sibling")
        assert readiness(started).status_code == 200
        stored = httpx.get(f"{started.url}/v1/responses/{failed['response']['id']}", trust_env=False).json()
        assert stored["status"] == "failed"


def test_an_exception_while_a_run_is_stored_harms_no_other_run(
    tmp_path: Path, model_server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, raised = Recorder.settle, threading.Event()

    async def settle(self: Recorder) -> None:
        if not raised.is_set():
            raised.set()
            raise RuntimeError("nobody foresaw this")
        await real(self)

    monkeypatch.setattr(Recorder, "settle", settle)
    with running(settings_of(tmp_path, **scripted(model_server))) as started:
        for _ in range(2):
            model_server.reply("Hello.")
            assert ask(started)["type"] == "response.completed"
        assert raised.is_set()
        assert readiness(started).status_code == 200


def test_maintenance_that_fails_takes_nothing_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def reindex(self: History, *, everything: bool = False) -> int:
        raise RuntimeError("nobody foresaw this")

    monkeypatch.setattr(History, "reindex", reindex)
    with running(settings_of(tmp_path)) as started:
        assert readiness(started).json()["degraded"] == ["upkeep of the history"]
        assert ask(started, "Hello")["type"] == "response.completed"


def test_an_item_that_this_version_cannot_read_is_kept_and_shown_as_such_and_harms_no_other_conversation(
    tmp_path: Path, model_server: ModelServer
) -> None:
    settings = settings_of(tmp_path, **scripted(model_server))
    with running(settings) as started:
        model_server.reply("Hello.")
        first = ask(started)["response"]
        model_server.reply("Hello again.")
        second = ask(started)["response"]
    with embedded(tmp_path) as database:
        of_first = {"response_id": first["id"]}
        database.items.update_one(of_first, {"$set": {"item.type": "from_tomorrow"}})
        database.responses.update_one({"_id": first["id"]}, {"$set": {"input.0.type": "from_tomorrow"}})
        database.conversations.update_many({}, {"$set": {"version": 0}})
        broken = {"_id": first["conversation"]["id"]}
        database.responses.update_one({"_id": second["id"]}, {"$set": {"response.status": "of_tomorrow"}})
        database.conversations.update_one({"_id": second["conversation"]["id"]}, {"$set": {"version": 0}})
    with running(settings) as started:
        assert readiness(started).status_code == 200
        answer = httpx.get(f"{started.url}/v1/responses/{first['id']}", trust_env=False).json()
        assert "'from_tomorrow'" in answer["output"][0]["content"][0]["text"]
        asked = httpx.get(f"{started.url}/v1/responses/{first['id']}/input_items", trust_env=False).json()
        assert "'from_tomorrow'" in asked["data"][0]["content"][0]["text"]
        model_server.reply("And on it goes.")
        with connect(started.ws_url) as client:
            more = {"type": "response.create", "input": "more", "conversation": first["conversation"]["id"]}
            client.send(json.dumps(more))
            assert follow(client)["type"] == "response.completed"
    with embedded(tmp_path) as database:
        assert database.items.find_one(of_first)["item"]["type"] == "from_tomorrow"
        assert database.conversations.find_one(broken)["version"] > 0
