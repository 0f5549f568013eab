"""A server process that is suspended for longer than its lease: its client is told, and continues at another server."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

from tests.asking import frame
from tests.model_server import Gate, ModelServer
from tests.server.processes import ServerProcess, serving
from tests.server.test_faults import scripted
from tests.standstill import stand_still

pytestmark = pytest.mark.xdist_group("kill")

LEASE_S = 12.0
"""The test waits for it; a server that is only late on a busy machine must not lose it."""


def read(client: ClientConnection, *until: str) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    while not events or events[-1]["type"] not in until:
        events.append(json.loads(client.recv(timeout=90)))
    return events


def suspended(server: ServerProcess, number: signal.Signals) -> None:
    assert server.process.pid is not None
    if number == signal.SIGSTOP:
        stand_still(server.process.pid)
    else:
        os.kill(server.process.pid, number)


def test_a_server_that_was_paused_for_longer_than_its_lease_tells_no_end(
    tmp_path: Path, model_server: ModelServer
) -> None:
    model_server.reset()
    gate = Gate()
    model_server.reply("Before ", gate, "after.")
    settings = {**scripted(model_server), "lease_s": LEASE_S}
    with serving(tmp_path, **settings) as paused, serving(tmp_path, **settings) as other:
        with connect(paused.ws_url, max_size=None) as client, connect(other.ws_url, max_size=None) as elsewhere:
            client.send(frame({"type": "response.create", "input": "go"}))
            told = read(client, "response.output_text.delta")
            response_id = told[0]["response"]["id"]
            elsewhere.send(frame({"type": "codeact:response.resume", "response_id": response_id}))
            stream = read(elsewhere, "response.output_text.delta")
            suspended(paused, signal.SIGSTOP)
            try:
                stream += read(elsewhere, "response.failed")
            finally:
                suspended(paused, signal.SIGCONT)
            gate.open()
            told += read(client, "error", "response.completed", "response.failed")
            assert told[-1]["type"] == "error"
            assert told[-1]["error"]["code"] == "response_taken_over"
            after = max(event.get("sequence_number", -1) for event in told)
            for socket in (client, elsewhere):  # Where it was paused, too, the rest of the stored story can be had.
                socket.send(
                    frame({"type": "codeact:response.resume", "response_id": response_id, "starting_after": after})
                )
                rest = read(socket, "response.failed")
                assert rest == [event for event in stream if event["sequence_number"] > after]
        for server in (paused, other):
            stored = httpx.get(f"{server.url}/v1/responses/{response_id}", trust_env=False, timeout=60).json()
            assert (stored["status"], stored["error"]["code"]) == ("failed", "server_restarted")
            assert stored["output"][0]["content"][0]["text"] == "Before"
