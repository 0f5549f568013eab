"""Responses with `store: false`: what a connection and a process retain of them is limited."""

import hashlib
import json
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from codeact import events as e
from codeact.errors import Overloaded
from codeact.runs.held_bytes import ConnectionMemory, ConnectionMemoryFull
from codeact.runs.resume_points import EphemeralResponses, ResumePoint
from codeact.store import Blob
from tests.asking import frame
from tests.server.conftest import Running


def add(ephemeral: EphemeralResponses, number: int, *, size_bytes: int, resume_point: ResumePoint | None = None) -> str:
    """Adds a response with one image of this size; returns its id."""
    data = number.to_bytes(4, "big") * (size_bytes // 4)
    sha256 = hashlib.sha256(data).hexdigest()
    ephemeral.keep_blob(sha256, Blob(data, "image/png"))
    content = [{"type": "input_image", "image_url": f"blob:{sha256}"}]
    response = e.Response(id=f"resp_{number}", created_at=0, model="x", status="completed")
    message = e.InputMessage(id=f"msg_{number}", role="user", content=content)
    ephemeral.add(response, [message], resume_point or ResumePoint(), workspace_id="w")
    return response.id


def test_the_oldest_make_room_and_their_images_go_with_them() -> None:
    memory = ConnectionMemory()
    ephemeral = EphemeralResponses(memory, most_bytes=10_000)
    ids = [add(ephemeral, number, size_bytes=4_000) for number in range(10)]
    assert ephemeral.bytes <= 10_000
    assert ephemeral.bytes == memory.bytes
    assert sum(len(blob.data) for blob in ephemeral.blobs.values()) <= 10_000
    assert [ephemeral.find(one) is not None for one in ids] == [False] * 8 + [True] * 2


def test_what_a_thread_needs_stays_and_a_thread_that_is_too_long_is_refused_by_name() -> None:
    ephemeral = EphemeralResponses(most_bytes=10_000)
    first = add(ephemeral, 1, size_bytes=4_000)
    second = add(ephemeral, 2, size_bytes=4_000, resume_point=ephemeral.find(first))
    with pytest.raises(ConnectionMemoryFull, match="10,000 bytes"):
        add(ephemeral, 3, size_bytes=4_000, resume_point=ephemeral.find(second))
    assert len(ephemeral.blobs) >= 2
    assert ephemeral.bytes <= 10_000


def test_all_connections_share_a_bound_and_give_back_what_they_held() -> None:
    memory = ConnectionMemory(most_bytes=10_000)
    connections = [EphemeralResponses(memory) for _ in range(3)]
    for number, ephemeral in enumerate(connections[:2]):
        add(ephemeral, number, size_bytes=4_000)
    with pytest.raises(Overloaded):
        add(connections[2], 3, size_bytes=4_000)
    connections[0].close()
    add(connections[2], 4, size_bytes=4_000)
    for ephemeral in connections:
        ephemeral.close()
        assert (ephemeral.bytes, ephemeral.blobs) == (0, {})
    assert memory.bytes == 0


def test_requests_that_fail_before_they_begin_hold_no_more_than_that() -> None:
    ephemeral = EphemeralResponses(most_bytes=10_000)
    for _ in range(10):
        with ephemeral.beginning():
            for number in range(2):
                ephemeral.keep_blob(f"{number:064x}", Blob(b"x" * 4_000, "image/png"))
            with pytest.raises(ConnectionMemoryFull):
                ephemeral.keep_blob("f" * 64, Blob(b"x" * 4_000, "image/png"))
            assert ephemeral.bytes == 8_000
        assert ephemeral.bytes == 0


def test_a_call_is_found_in_the_newest_response_after_it() -> None:
    ephemeral, at = EphemeralResponses(), ResumePoint()
    for number in range(3):
        response = e.Response(id=f"resp_{number}", created_at=0, model="x", status="completed")
        response.output.append(e.FunctionCall(id=f"fc_{number}", call_id=f"call_{number}", name="f", arguments="{}"))
        ephemeral.add(response, [], at, workspace_id="w")
        at = ephemeral.find(response.id) or at
    other = add(ephemeral, 9, size_bytes=4)
    assert ephemeral.with_call("call_0") is ephemeral.with_call("call_2") is at
    assert ephemeral.with_call(other) is None


def test_closed_responses_take_nothing() -> None:
    memory = ConnectionMemory()
    ephemeral = EphemeralResponses(memory)
    with ephemeral.beginning():
        ephemeral.close()
        add(ephemeral, 1, size_bytes=4_000)
    assert (ephemeral.bytes, memory.bytes, ephemeral.blobs) == (0, 0, {})


def test_an_output_counts_when_its_response_ends_and_the_oldest_make_room() -> None:
    memory = ConnectionMemory()
    ephemeral = EphemeralResponses(memory, most_bytes=20_000)
    for number, chars in enumerate((5_000, 5_000, 5_000, 30_000)):
        response = e.Response(id=f"resp_{number}", created_at=0, model="x")
        ephemeral.add(response, [], ResumePoint(), workspace_id="w")
        response.output.append(e.FunctionCall(id="fc", call_id="call", name="find", arguments="x" * chars))
        response.status = "completed"
        before = ephemeral.bytes
        ephemeral.ended(response)
        assert number == 3 or ephemeral.bytes >= before + chars
        assert ephemeral.bytes == memory.bytes <= 20_000
    # The last one does not fit at all, which whoever continues it is told.
    assert ephemeral.has_any(["resp_3"])
    assert ephemeral.has_any(["call"])
    for find, name in ((ephemeral.find, "resp_3"), (ephemeral.of_call, "call")):
        with pytest.raises(ConnectionMemoryFull, match="'resp_3' cannot be continued") as told:
            find(name)
        assert told.value.code == "unstored_too_large"
    for number in range(20):
        add(ephemeral, 10 + number, size_bytes=1_000)
    assert ephemeral.bytes <= 20_000


def ends(socket: ClientConnection) -> dict[str, Any]:
    while True:
        event: dict[str, Any] = json.loads(socket.recv(timeout=60))
        if event["type"] in ("response.completed", "response.failed", "error"):
            return event


def test_on_a_socket_it_is_refused_by_name_and_freed_with_the_socket(make_server: Callable[..., Running]) -> None:
    server = make_server(pool_min=0)
    server.state.memory._most_bytes = 3_000_000
    with connect(server.ws_url, max_size=None) as socket:
        for number in range(3):
            data = b64encode(number.to_bytes(4, "big") * 300_000).decode()
            content = [
                {"type": "input_file", "filename": "a", "file_data": data},
                {"type": "input_text", "text": "hello"},
            ]
            request = {"store": False, "input": [{"role": "user", "content": content}], "max_tool_calls": 0}
            socket.send(frame({"type": "response.create", **request}))
            event = ends(socket)
    assert event["type"] == "error"
    assert event["error"]["code"] == "overloaded"
    with connect(server.ws_url) as socket:
        socket.send(frame({"type": "response.create", "store": False, "input": "hello", "max_tool_calls": 0}))
        assert ends(socket)["type"] == "response.completed"
    assert server.state.memory.bytes < 100_000
