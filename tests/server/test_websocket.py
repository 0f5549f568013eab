"""The socket, without the client: which frames answer which requests, and what an invalid frame causes."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from socket import create_connection
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.asking import frame
from tests.server.conftest import Running

FIBONACCI = "What is the 100th Fibonacci number?"


class Socket:
    """A client that speaks JSON."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    def send(self, event: dict[str, Any] | str) -> None:
        self.connection.send(event if isinstance(event, str) else frame(event))

    def recv(self) -> dict[str, Any]:
        return dict(json.loads(self.connection.recv(timeout=30)))

    def until(self, *types: str) -> list[dict[str, Any]]:
        """The events up to and including the first of one of these types."""
        events = [self.recv()]
        while events[-1]["type"] not in types:
            events.append(self.recv())
        return events

    def answer(self, text: str, **more: Any) -> list[dict[str, Any]]:
        self.send({"type": "response.create", "input": text, **more})
        return self.until("response.completed", "response.incomplete", "response.failed", "error")


@pytest.fixture
def open_socket(demo: Running) -> Iterator[Callable[[], Socket]]:
    with ExitStack() as stack:
        yield lambda: Socket(stack.enter_context(connect(demo.ws_url, max_size=None)))


@pytest.fixture
def socket(open_socket: Callable[[], Socket]) -> Socket:
    return open_socket()


def test_a_question_gives_prose_code_output_and_an_answer(socket: Socket) -> None:
    events = socket.answer(FIBONACCI)
    types = [event["type"] for event in events]
    assert types[:2] == ["response.created", "response.in_progress"]
    assert types[-1] == "response.completed"
    response = events[-1]["response"]
    kinds = [item["type"] for item in response["output"]]
    assert "code_interpreter_call" in kinds
    assert kinds[-1] == "message"
    assert "354224848179261915075" in response["output"][-1]["content"][0]["text"]
    interpreting = types.index("response.code_interpreter_call.interpreting")
    assert types.index("codeact:code_interpreter_call.output") > interpreting


def test_events_are_numbered_from_zero_without_a_gap(socket: Socket) -> None:
    numbers = [event["sequence_number"] for event in socket.answer(FIBONACCI)]
    assert numbers == list(range(len(numbers)))


def test_live_output_comes_before_the_code_has_ended(socket: Socket) -> None:
    events = socket.answer("Count to 3, slowly.")
    outputs = [i for i, event in enumerate(events) if event["type"] == "codeact:code_interpreter_call.output"]
    ended = next(i for i, event in enumerate(events) if event["type"] == "response.code_interpreter_call.completed")
    assert len([i for i in outputs if i < ended]) >= 3


def test_responses_share_a_socket_and_their_stream_ids_tell_them_apart(socket: Socket) -> None:
    for lane in ("a", "b"):
        socket.send({"type": "response.create", "input": FIBONACCI, "stream_id": lane})
    events: list[dict[str, Any]] = []
    while sum(event["type"] == "response.completed" for event in events) < 2:
        events.append(socket.recv())
    for lane in ("a", "b"):
        numbers = [event["sequence_number"] for event in events if event["stream_id"] == lane]
        assert numbers == list(range(len(numbers)))
    assert len({event["response"]["id"] for event in events if event["type"] == "response.created"}) == 2


def test_requests_of_one_stream_id_are_answered_one_after_the_other(socket: Socket) -> None:
    for _ in range(2):
        socket.send({"type": "response.create", "input": FIBONACCI, "stream_id": "lane"})
    first = socket.until("response.completed")
    second = socket.until("response.completed")
    assert [events[0]["type"] for events in (first, second)] == ["response.created", "response.created"]


def test_previous_response_id_goes_on_with_the_same_kernel(socket: Socket) -> None:
    first = socket.answer(FIBONACCI)[-1]["response"]
    second = socket.answer("And the next one?", previous_response_id=first["id"])[-1]["response"]
    containers = {
        item["container_id"]
        for response in (first, second)
        for item in response["output"]
        if item["type"] == "code_interpreter_call"
    }
    assert second["status"] == "completed"
    assert second["conversation"] == first["conversation"]
    assert len(containers) == 1
    assert second["codeact:notices"] == []


def test_a_conversation_goes_on_by_its_id_on_another_socket(open_socket: Callable[[], Socket]) -> None:
    first = open_socket().answer(FIBONACCI)[-1]["response"]
    second = open_socket().answer("And the next one?", conversation=first["conversation"]["id"])[-1]["response"]
    assert second["previous_response_id"] == first["id"]


def test_cancel_stops_the_kernel_and_keeps_the_partial_output(socket: Socket) -> None:
    socket.send({"type": "response.create", "input": "Count to 60, slowly."})
    events = socket.until("codeact:code_interpreter_call.output")
    response_id = events[0]["response"]["id"]
    socket.send({"type": "response.cancel", "response_id": response_id})
    last = socket.until("response.incomplete")[-1]["response"]
    assert last["status"] == "cancelled"
    call = next(item for item in last["output"] if item["type"] == "code_interpreter_call")
    assert call["status"] == "incomplete"
    assert call["codeact:result"]["status"] == "interrupted"
    assert call["outputs"][0]["logs"]
    # The kernel lives on, with its variables.
    after = socket.answer(FIBONACCI, previous_response_id=response_id)[-1]["response"]
    assert after["status"] == "completed"
    assert after["codeact:notices"] == []


def test_a_client_that_leaves_stops_nothing(open_socket: Callable[[], Socket], demo: Running) -> None:
    leaving = open_socket()
    leaving.send({"type": "response.create", "input": "Count to 3, slowly."})
    response_id = leaving.until("codeact:code_interpreter_call.output")[0]["response"]["id"]
    leaving.connection.close()
    back = open_socket()
    back.send({"type": "codeact:response.resume", "response_id": response_id, "starting_after": 1})
    events = back.until("response.completed")
    assert [event["sequence_number"] for event in events] == list(range(2, events[-1]["sequence_number"] + 1))


def test_two_subscribers_read_the_same_log(open_socket: Callable[[], Socket]) -> None:
    one, two = open_socket(), open_socket()
    one.send({"type": "response.create", "input": FIBONACCI})
    first = one.recv()
    two.send({"type": "codeact:response.resume", "response_id": first["response"]["id"]})
    assert [first, *one.until("response.completed")] == two.until("response.completed")


@pytest.mark.parametrize(
    ("frame", "code", "words"),
    [
        ("{not json", "invalid_json", "one JSON object"),
        ("[1]", "invalid_request", "'type'"),
        ('{"type": "response.wish"}', "invalid_request", "response.create"),
        ('{"type": "response.create", "input": "x", "colour": 1}', "unknown_parameter", "colour"),
        ('{"type": "response.create", "input": "x", "model": "gpt-9"}', "model_not_found", "demo"),
        (
            '{"type": "response.create", "input": "x", "previous_response_id": "resp_no"}',
            "previous_response_not_found",
            "resp_no",
        ),
        ('{"type": "response.create", "input": "x", "conversation": "conv_no"}', "not_found", "conv_no"),
        ('{"type": "response.cancel", "response_id": "resp_no"}', "not_found", "resp_no"),
        ('{"type": "response.cancel"}', "invalid_request", "response_id"),
        ('{"type": "response.create", "input": "x", "stream_id": 5}', "invalid_request", "stream_id"),
    ],
)
def test_a_bad_frame_gets_an_error_by_name_and_the_socket_stays_open(
    socket: Socket, frame: str, code: str, words: str
) -> None:
    socket.send(frame)
    answer = socket.recv()
    assert (answer["type"], answer["error"]["code"]) == ("error", code)
    assert 400 <= answer["status"] < 500
    assert words in answer["error"]["message"] + str(answer["error"]["param"])
    assert socket.answer(FIBONACCI)[-1]["type"] == "response.completed"


@pytest.mark.parametrize(
    ("event", "param"),
    [
        ({"type": "response.cancel"}, "response_id"),
        ({"type": "response.cancel", "response_id": "resp_no", "reason": "x"}, "reason"),
        ({"type": "codeact:response.resume", "response_id": "resp_no", "starting_after": True}, "starting_after"),
        ({"type": "codeact:response.resume", "response_id": "resp_no", "startingAfter": 3}, "startingAfter"),
    ],
)
def test_what_a_client_event_does_not_take_is_refused_by_name(socket: Socket, event: Any, param: str) -> None:
    socket.send(event)
    error = socket.recv()
    assert (error["type"], error["status"], error["error"]["param"]) == ("error", 400, param)


def test_an_error_echoes_the_stream_id_of_its_request(socket: Socket) -> None:
    socket.send({"type": "response.create", "input": "x", "previous_response_id": "resp_no", "stream_id": "lane"})
    assert socket.recv()["stream_id"] == "lane"


def test_a_conversation_that_is_answering_refuses_a_second_request(socket: Socket) -> None:
    socket.send({"type": "response.create", "input": "Count to 60, slowly."})
    created = socket.until("codeact:code_interpreter_call.output")[0]["response"]
    socket.send(
        {"type": "response.create", "input": "x", "conversation": created["conversation"]["id"], "stream_id": "second"}
    )
    error = socket.until("error")[-1]
    assert (error["status"], error["error"]["code"]) == (409, "conversation_locked")
    socket.send({"type": "response.cancel", "response_id": created["id"]})
    socket.until("response.incomplete")


def test_a_message_over_the_limit_is_refused_and_the_server_lives_on(
    open_socket: Callable[[], Socket], demo: Running
) -> None:
    limit = demo.settings.max_message_bytes
    socket = open_socket()
    socket.send({"type": "response.create", "stream_id": "s1", "input": "x" * limit})
    refusal = socket.recv()
    assert (refusal["error"]["code"], refusal["stream_id"]) == ("message_too_large", "s1")
    huge = open_socket()
    with pytest.raises(ConnectionClosed) as closed:  # noqa: PT012 (which of the two fails depends on timing)
        huge.send({"type": "response.create", "input": "x" * 100_000_000})
        huge.recv()
    assert closed.value.rcvd is None or closed.value.rcvd.code == 1009
    assert open_socket().answer(FIBONACCI)[-1]["type"] == "response.completed"


def test_a_client_that_sends_only_garbage_is_sent_away(socket: Socket) -> None:
    with pytest.raises(ConnectionClosed) as closed:  # noqa: PT012 (the limit is the server's)
        for _ in range(50):
            socket.send("garbage")
            assert socket.recv()["type"] == "error"
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4400


def test_a_page_of_another_origin_is_refused(demo: Running) -> None:
    with (
        connect(demo.ws_url, origin="https://evil.example") as connection,  # type: ignore[arg-type]
        pytest.raises(ConnectionClosed) as closed,
    ):
        connection.recv(timeout=60)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4403


def test_a_name_that_is_not_ours_is_refused(demo: Running) -> None:
    with (
        create_connection(("127.0.0.1", int(demo.url.rsplit(":", 1)[1]))) as sock,
        connect("ws://rebound.example/v1/responses", sock=sock) as connection,
        pytest.raises(ConnectionClosed) as closed,
    ):
        connection.recv(timeout=60)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4403
