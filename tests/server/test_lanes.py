"""Lanes of a socket: they end with their work, are bounded, and a command does not wait for earlier requests."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import anyio
import pytest
from websockets.sync.client import connect

from codeact.server.audited_service import AuditedService
from codeact.server.transports import websocket
from codeact.server.transports.lanes import Lanes, TooMuch
from tests.server.conftest import Running
from tests.server.test_websocket import Socket

ENDS = ("response.completed", "response.failed", "error")


@pytest.fixture
def socket(demo: Running) -> Iterator[Socket]:
    with connect(demo.ws_url, max_size=None) as connection:
        yield Socket(connection)


@pytest.mark.anyio
async def test_a_lane_ends_with_its_work_and_what_is_too_much_is_refused() -> None:
    gate, done = anyio.Event(), list[str]()

    async def wait() -> None:
        await gate.wait()
        done.append("x")

    async with anyio.create_task_group() as tasks:
        lanes = Lanes(tasks, what="requests", most=2, most_waiting=1, most_bytes=100)
        lanes.add("a", wait, size_bytes=10)
        lanes.add("b", wait, size_bytes=10)
        with pytest.raises(TooMuch, match="2 requests are under way"):
            lanes.add("c", wait, size_bytes=10)
        await anyio.wait_all_tasks_blocked()
        lanes.add("a", wait, size_bytes=90)
        with pytest.raises(TooMuch, match="have more than 100 bytes"):
            lanes.add("b", wait, size_bytes=90)
        with pytest.raises(TooMuch, match="wait in line") as refusal:
            lanes.add("a", wait, size_bytes=1)
        assert (refusal.value.code, refusal.value.status) == ("queue_full", 429)
        gate.set()
        await anyio.wait_all_tasks_blocked()
        assert len(lanes) == 0
        lanes.add("c", wait, size_bytes=100)
    assert len(done) == 4


def test_a_socket_that_names_each_stream_anew_is_never_refused(socket: Socket) -> None:
    for number in range(websocket.MAX_LANES + 20):
        socket.send({"type": "response.create", "input": "", "stream_id": f"s{number}"})  # refused: nothing is asked
        answer = socket.recv()
        assert (answer["type"], answer["stream_id"], answer["status"]) == ("error", f"s{number}", 400)


def test_refusals_for_capacity_are_429_and_never_close_the_socket(
    socket: Socket, demo: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()

    async def create(self: AuditedService, *arguments: Any, **options: Any) -> Any:
        await anyio.to_thread.run_sync(gate.wait)
        raise websocket.INTERNAL

    monkeypatch.setattr(websocket, "MAX_QUEUED", 1)
    monkeypatch.setattr(AuditedService, "create", create)
    with connect(demo.ws_url) as connection:
        client = Socket(connection)
        for _ in range(40):
            client.send({"type": "response.create", "input": "x", "stream_id": "one"})
        refused = [client.recv() for _ in range(38)]
        assert {(frame["status"], frame["error"]["code"], frame["stream_id"]) for frame in refused} == {
            (429, "queue_full", "one")
        }
        gate.set()
        assert [client.recv()["status"] for _ in range(2)] == [500, 500]
    gate.set()


def test_a_cancel_waits_for_no_command_before_it(
    socket: Socket, demo: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()

    async def steer(self: AuditedService, *arguments: Any, **options: Any) -> None:
        await anyio.to_thread.run_sync(gate.wait)

    monkeypatch.setattr(AuditedService, "steer", steer)
    try:
        socket.send({"type": "response.steer", "previous_response_id": "resp_a", "input": "more", "stream_id": "s"})
        socket.send({"type": "response.cancel", "response_id": "resp_b", "stream_id": "c"})
        answer = socket.recv()
        assert (answer["error"]["code"], answer["stream_id"]) == ("not_found", "c")
    finally:
        gate.set()


def test_an_exception_of_a_command_answers_that_frame_alone(socket: Socket, monkeypatch: pytest.MonkeyPatch) -> None:
    async def cancel(self: AuditedService, *arguments: Any, **options: Any) -> None:
        raise RuntimeError("nobody foresaw this")

    monkeypatch.setattr(AuditedService, "cancel", cancel)
    socket.send({"type": "response.cancel", "response_id": "resp_b", "stream_id": "c"})
    answer = socket.recv()
    assert (answer["type"], answer["status"], answer["stream_id"]) == ("error", 500, "c")
    assert socket.answer("Hello")[-1]["type"] == "response.completed"


def test_an_error_of_a_frame_without_a_type_echoes_its_stream_id(socket: Socket) -> None:
    socket.send({"stream_id": "mine"})
    answer = socket.recv()
    assert (answer["type"], answer["stream_id"], answer["error"]["param"]) == ("error", "mine", "type")


@pytest.mark.parametrize("number", [300, 3_000])
def test_any_number_of_resumes_is_answered_or_refused(socket: Socket, number: int) -> None:
    ended = socket.answer("Hello")[-1]
    frame = {"type": "codeact:response.resume", "response_id": ended["response"]["id"], "starting_after": -1}
    sender = threading.Thread(
        target=lambda: [socket.send(json.dumps(frame | {"stream_id": str(index)})) for index in range(number)]
    )
    sender.start()
    ends = set[str]()
    refused = 0
    while len(ends) < number:
        event = socket.recv()
        if event["type"] in ENDS:
            ends.add(event["stream_id"])
            refused += event.get("status") == 429
    sender.join()
    assert refused < number
