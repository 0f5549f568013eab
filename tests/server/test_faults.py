"""The database dies, the disk is full, a client hardly reads: answers wait, others continue, and nothing that was
acknowledged is lost.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from tests.asking import frame
from tests.model_server import Gate, ModelServer
from tests.server.processes import ServerProcess, mongod_of, serving
from tests.server.test_kill import ENDS, QUESTION, Event, ask, check, resumed
from tests.standstill import stand_still


@pytest.fixture(autouse=True)
def _fresh_script(model_server: ModelServer) -> None:
    model_server.reset()


def scripted(model_server: ModelServer) -> dict[str, Any]:
    return {"model": "openai/scripted", "model_api_base": model_server.base_url, "model_api_key": "test"}


def follow(client: Any, *until: str) -> list[Event]:
    events: list[Event] = []
    while not events or events[-1]["type"] not in (*until, *ENDS):
        events.append(json.loads(client.recv(timeout=90)))
    return events


def stored_as_told(server: ServerProcess, told: list[Event]) -> str:
    response_id = told[0]["response"]["id"]
    return check(told, server.get(f"/v1/responses/{response_id}").json(), resumed(server, response_id, -1))


def ask_when_it_is_back(server: ServerProcess, model_server: ModelServer, body: Event) -> list[Event]:
    """Asks until a failure is no longer because of the database, which has just come back.

    The conversation is locked until the database has the end of its last answer.
    """
    while True:
        model_server.reset()
        model_server.reply("Works again.")
        told = ask(server, body)
        reason = told[-1].get("error") or (told[-1].get("response") or {}).get("error") or {}
        if reason.get("code") not in ("store_unavailable", "conversation_locked"):
            return told


def test_a_database_that_is_killed_is_waited_for(tmp_path: Path, model_server: ModelServer) -> None:
    gate = Gate()
    model_server.reply("Before ", gate, "after.")
    with serving(tmp_path, **scripted(model_server)) as server, connect(server.ws_url, max_size=None) as client:
        client.send(frame({"type": "response.create", "input": "go"}))
        told = follow(client, "response.output_text.delta")
        mongod = mongod_of(tmp_path)
        stand_still(mongod.pid)
        gate.open()
        told += follow(client, "codeact:status")
        assert told[-1]["status"] == "waiting_for_database"
        mongod.kill()  # a restart follows: the server looks after its own
        told += follow(client)
        assert told[-1]["type"] == "response.completed"
        assert told[-1]["response"]["output"][0]["content"][0]["text"] == "Before after."
        assert [event["sequence_number"] for event in told] == list(range(len(told)))
        assert stored_as_told(server, told) == "completed"


def test_patience_ends_in_an_error_by_name_and_the_database_learns_of_it_later(
    tmp_path: Path, model_server: ModelServer
) -> None:
    gate = Gate()
    model_server.reply("Before ", gate, "after.")
    settings = scripted(model_server) | {"store_patience_s": 4.0}
    with serving(tmp_path, **settings) as server, connect(server.ws_url, max_size=None) as client:
        client.send(frame({"type": "response.create", "input": "go"}))
        told = follow(client, "response.output_text.delta")
        mongod = mongod_of(tmp_path)
        stand_still(mongod.pid)
        try:
            gate.open()
            told += follow(client)
        finally:
            mongod.resume()
        assert told[-1]["type"] == "response.failed"
        assert told[-1]["response"]["error"]["code"] == "store_unavailable"
        while server.get("/readyz").status_code != 200:
            time.sleep(0.05)
        answer = server.get(f"/v1/responses/{told[0]['response']['id']}?stream=true&include=codeact:events").text
        assert json.dumps(told[-1]["sequence_number"]) in answer
        more = {"input": "more", "conversation": told[0]["response"]["conversation"]["id"]}
        assert ask_when_it_is_back(server, model_server, more)[-1]["type"] == "response.completed"


def test_a_client_that_hardly_reads_costs_no_memory_and_slows_nobody(tmp_path: Path, model_server: ModelServer) -> None:
    words = [sha256(b"%d" % number).hexdigest() * 8 for number in range(5_000)]
    with serving(tmp_path, model_max_output_tokens=1_000_000, **scripted(model_server)) as server:
        model_server.reply("Hello.")
        ask(server, {"input": "warm up"})
        model_server.reply(*words)
        with connect(server.ws_url, max_size=None) as client:
            client.send(frame({"type": "response.create", "input": "go"}))
            told = follow(client, "response.output_text.delta")
            path = f"/v1/responses/{told[0]['response']['id']}?stream=true&include=codeact:events"
            with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2]))) as slow:
                slow.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
                assert slow.recv(1) == b"H"
                before = server.rss_mb()
                count = len(told)
                written = sum(len(event.get("delta", "")) for event in told)
                while told[-1]["type"] not in ENDS:
                    told = [json.loads(client.recv(timeout=60))]
                    written += len(told[-1].get("delta", ""))
                    count += 1
                    if count % 100 == 0:  # A delta may have several tokens.
                        assert len(slow.recv(1)) == 1
                assert server.rss_mb() - before < 60
        assert told[-1]["type"] == "response.completed"
        assert written == sum(map(len, words))


def test_a_database_that_hangs_while_code_runs_is_named_as_such(tmp_path: Path, model_server: ModelServer) -> None:
    """The block follows its calls in a task group, which raises its errors as a group."""
    model_server.reply("<execute>\nimport time\nprint('begun', flush=True)\ntime.sleep(3)\nlook()\n</execute>")
    settings = scripted(model_server) | {"store_patience_s": 4.0}
    look = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}}
    with serving(tmp_path, **settings) as server, connect(server.ws_url, max_size=None) as client:
        client.send(frame({"type": "response.create", "input": "go", "tools": [look]}))
        told = follow(client, "codeact:code_interpreter_call.output")
        assert told[-1]["type"] == "codeact:code_interpreter_call.output"
        mongod = mongod_of(tmp_path)
        stand_still(mongod.pid)
        try:
            told += follow(client)
        finally:
            mongod.resume()
        assert told[-1]["response"]["error"]["code"] == "store_unavailable"


def test_on_sigterm_what_does_not_end_in_time_is_handed_back(tmp_path: Path, model_server: ModelServer) -> None:
    model_server.reply("Half", Gate())
    with serving(tmp_path, drain_s=0.5, **scripted(model_server)) as server:
        with connect(server.ws_url, max_size=None) as client:
            client.send(frame({"type": "response.create", "input": "go"}))
            told = follow(client, "response.output_text.delta")
            assert server.process.pid is not None
            os.kill(server.process.pid, signal.SIGTERM)
            told += follow(client)
            assert told[-1]["response"]["error"]["code"] == "server_restarted"
            with pytest.raises(Exception, match="1012"):
                client.recv(timeout=30)
        server.process.join(30)
    with serving(tmp_path) as server:
        response_id = told[0]["response"]["id"]
        assert resumed(server, response_id, 3) == told[4:]
        assert server.get(f"/v1/responses/{response_id}").json() == told[-1]["response"]


def test_sigterm_ends_the_server_although_the_database_hangs(tmp_path: Path, model_server: ModelServer) -> None:
    """Its lease passes to the next server, which finds what was stored."""
    model_server.reply("Half", Gate())
    settings = scripted(model_server) | {"drain_s": 0.5}
    with serving(tmp_path, **settings) as server, connect(server.ws_url, max_size=None) as client:
        client.send(frame({"type": "response.create", "input": "go"}))
        told = follow(client, "response.output_text.delta")
        mongod = mongod_of(tmp_path)
        stand_still(mongod.pid)
        try:
            assert server.process.pid is not None
            os.kill(server.process.pid, signal.SIGTERM)
            server.process.join(75)
            assert server.process.exitcode is not None, "the server did not end"
        finally:
            mongod.resume()
    with serving(tmp_path) as server:
        response_id = told[0]["response"]["id"]
        assert resumed(server, response_id, -1)[-1]["response"]["error"]["code"] == "server_restarted"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 120 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=120m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root can mount a small file system")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.timeout(200)
def test_a_full_disk_loses_nothing_and_is_survived(small_disk: Path, model_server: ModelServer) -> None:
    ballast = small_disk / "ballast"
    with serving(small_disk, store_patience_s=2.0, min_free_disk_mb=0, **scripted(model_server)) as server:
        model_server.reply("Kept.")
        kept = ask(server, {"input": "go"})
        assert kept[-1]["type"] == "response.completed"
        with ballast.open("wb") as file:
            try:
                while True:
                    file.write(bytes(2**20))
            except OSError:
                pass
        status = 200
        while status == 200:  # until what was preallocated is used up
            model_server.reply(os.urandom(120_000).hex())
            answer = httpx.post(
                f"{server.url}/v1/responses", json={"input": "z" * 2_000_000}, trust_env=False, timeout=90
            )
            status = answer.status_code if answer.status_code != 200 or answer.json()["status"] == "completed" else 503
        assert "Traceback" not in answer.text
        assert server.get("/healthz").status_code == 200
        ballast.unlink()
        status = 503
        while status != 200:
            model_server.reset()
            model_server.reply("Again.")
            body = {"input": "go", "conversation": kept[0]["response"]["conversation"]["id"]}
            answer = httpx.post(f"{server.url}/v1/responses", json=body, trust_env=False, timeout=90)
            status = answer.status_code
        assert answer.json()["status"] == "completed"
        assert stored_as_told(server, kept) == "completed"


def test_a_data_directory_that_vanishes_is_one_clean_error(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with serving(tmp_path, log=log) as server:
        assert ask(server, {"input": QUESTION})[-1]["type"] == "response.completed"
        mongod = mongod_of(tmp_path)
        shutil.rmtree(tmp_path / "mongodb")
        mongod.kill()
        answer = httpx.post(f"{server.url}/v1/responses", json={"input": "go"}, trust_env=False, timeout=90)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "store_unavailable")
        assert server.get("/healthz").status_code == 200
    said = log.read_text()
    assert said.count("has vanished") == 1
    assert "Traceback" not in said
