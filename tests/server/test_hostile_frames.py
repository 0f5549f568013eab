"""No frame makes the server fail: every client event of the socket, with hostile values in each of its fields."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from codeact.server.transports.websocket import BAD_FRAMES
from tests.asking import frame as asked
from tests.server import hostile
from tests.server.conftest import Running
from tests.server.hostile import FRAMES, MESSAGE, RAW_FRAMES
from tests.server.test_hostile_requests import some

NOT_UTF8, TOO_BIG = 1007, 1009
DOCUMENTED = (BAD_FRAMES, NOT_UTF8, TOO_BIG)
ENDS = ("error", "response.steer.failed", "response.completed", "response.incomplete", "response.failed")


@pytest.fixture(scope="module")
def server(make_server: Callable[..., Running], tmp_path_factory: pytest.TempPathFactory) -> Running:
    return make_server(api_keys="key", data_dir=tmp_path_factory.mktemp("hostile"), max_message_bytes=300_000)


class Walk:
    """Sends frames one after the other, on the same socket unless the server has closed it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: ClientConnection | None = None
        self._stack = ExitStack()
        self.sockets = 0

    def answers(self, frame: str | bytes, *, text: bool = True) -> list[dict[str, Any]]:
        """The answers to a frame, up to an error or the end of a response. Raises if the socket is closed."""
        events: list[dict[str, Any]] = []
        try:
            connection = self._opened()
            connection.send(frame, text=text)
            while not events or events[-1]["type"] not in ENDS:
                events.append(json.loads(connection.recv(timeout=30)))
        except ConnectionClosed:
            self._connection = None
            raise
        return events

    def problem(self, frame: str | bytes, *, text: bool = True) -> str | None:
        """What is wrong with the answer to an invalid frame."""
        try:
            events = self.answers(frame, text=text)
        except ConnectionClosed as closed:
            code = closed.rcvd.code if closed.rcvd is not None else None
            return None if code in DOCUMENTED else f"closed with {code}"
        last = events[-1]
        if last["type"] not in ("error", "response.steer.failed"):
            return None if last["type"] == "response.completed" else last["type"]
        error = last["error"]
        named = isinstance(error["code"] or error["type"], str) and error["message"]
        return None if named and last.get("status", 400) < 500 else str(last)[:300]

    def close(self) -> None:
        self._stack.close()

    def _opened(self) -> ClientConnection:
        if self._connection is None:
            self.sockets += 1
            asked = connect(self._url, additional_headers={"Authorization": "Bearer key"}, max_size=None)
            self._connection = self._stack.enter_context(asked)
        return self._connection


@pytest.fixture
def walk(server: Running, caplog: pytest.LogCaptureFixture) -> Iterator[Walk]:
    """Checks at the end that the same socket still answers a question, and that the server's log
    has no internal error.
    """
    walk = Walk(server.ws_url)
    yield walk
    try:
        question = {"type": "response.create", "input": "What is the 100th Fibonacci number?"}
        events = walk.answers(json.dumps(question))
        assert (events[0]["type"], events[-1]["type"]) == ("response.created", "response.completed"), events[0]
    finally:
        walk.close()
    assert not [record for record in caplog.records if record.exc_info or record.levelname == "ERROR"]


@pytest.mark.parametrize("place", sorted(FRAMES))
def test_whatever_stands_in_a_frame(walk: Walk, place: str) -> None:
    kind = place.partition(" ")[0]
    changed = [{"type": kind} | one for one in hostile.mutations(FRAMES[place]) if isinstance(one, dict)]
    missing = [{name: value for name, value in FRAMES[place].items() if name != left} for left in FRAMES[place]]
    frames = [*some(changed, 1), *({"type": kind} | one for one in missing), {"type": kind}]
    found = [(frame, walk.problem(json.dumps(frame))) for frame in frames]
    assert not [(str(frame)[:300], problem) for frame, problem in found if problem is not None]
    assert walk.sockets == 1  # these frames have a known type and are no bad ones: the socket stays open


def test_whatever_stands_in_the_envelope(walk: Walk) -> None:
    """Tests the fields that every event has. Invalid ones finally close the socket, with the code for that."""
    asked = {"type": "response.cancel", "response_id": "resp_x"}
    frames = [asked | {name: value} for name in ("type", "stream_id", "event_id") for value in hostile.VALUES]
    found = [(frame, walk.problem(json.dumps(frame))) for frame in (*frames, *hostile.VALUES)]
    assert not [(str(frame)[:300], problem) for frame, problem in found if problem is not None]


def test_whatever_a_frame_is_made_of(walk: Walk) -> None:
    found = [(raw, walk.problem(raw, text=text)) for raw in RAW_FRAMES for text in (True, False)]
    assert not [(raw[:200], problem) for raw, problem in found if problem is not None]


def test_whatever_is_said_into_a_running_response(server: Running, walk: Walk) -> None:
    """Frames about a running response reach further than those about a missing one."""
    headers = {"Authorization": "Bearer key"}
    with connect(server.ws_url, additional_headers=headers, max_size=None) as asking:
        asking.send(asked({"type": "response.create", "input": "Count to 30, slowly."}))
        response_id = json.loads(asking.recv(timeout=30))["response"]["id"]
        inputs = [*hostile.VALUES, *(value for value in hostile.mutations([MESSAGE]) if value != [MESSAGE])]
        refused = [value for value in some(inputs, 2) if not isinstance(value, str) and not _is_said(value)]
        for value in refused:
            frame = {"type": "response.steer", "previous_response_id": response_id, "input": value}
            problem = walk.problem(json.dumps(frame))
            assert problem is None, (str(value)[:300], problem)
        asking.send(json.dumps({"type": "response.cancel", "response_id": response_id}))
        while (event := json.loads(asking.recv(timeout=30)))["type"] not in ENDS:
            pass
    assert event["response"]["status"] == "cancelled"


def _is_said(value: Any) -> bool:
    """Whether these are valid messages of the user, which a response accepts without an answer."""
    return bool(isinstance(value, list) and value and all(isinstance(one, dict) and one.get("role") for one in value))
