"""A client that reconnects gets exactly the rest, over any transport, from any server of the database."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from openai import OpenAI
from pymongo import MongoClient
from websockets.sync.client import ClientConnection, connect

from codeact.store.database.uri import socket_uri
from tests.asking import frame
from tests.model_server import Gate, ModelServer
from tests.server.conftest import Running

Event = dict[str, Any]
Ask = Callable[..., tuple[ClientConnection, list[Event]]]

ENDS = ("response.completed", "response.incomplete", "response.failed", "error")


@pytest.fixture(autouse=True)
def _fresh_script(model_server: ModelServer) -> None:
    model_server.reset()


@pytest.fixture(scope="module")
def other(make_server: Callable[..., Running]) -> Running:
    """A second server of the same database, whose model is never called."""
    return make_server(pool_min=0)


@pytest.fixture
def begin(scripted: Running) -> Iterator[Ask]:
    """Asks on a socket and reads until an event of this type."""
    with ExitStack() as sockets:

        def begin(until: str) -> tuple[ClientConnection, list[Event]]:
            socket = sockets.enter_context(connect(scripted.ws_url, max_size=None))
            socket.send(frame({"type": "response.create", "input": "go"}))
            return socket, read(socket, until)

        yield begin


def read(socket: ClientConnection, *until: str) -> list[Event]:
    events: list[Event] = []
    while not events or events[-1]["type"] not in (*until, *ENDS):
        events.append(json.loads(socket.recv(timeout=60)))
    return events


def resume(response_id: str, after: int) -> Event:
    return {"type": "codeact:response.resume", "response_id": response_id, "starting_after": after}


def over_socket(server: Running, response_id: str, after: int) -> list[Event]:
    with connect(server.ws_url, max_size=None) as socket:
        socket.send(frame(resume(response_id, after)))
        return read(socket)


def over_sse(server: Running, response_id: str, after: int) -> list[Event]:
    url = f"{server.url}/v1/responses/{response_id}?stream=true&include=codeact:events&starting_after={after}"
    with httpx.stream("GET", url, trust_env=False, timeout=60) as answer:
        lines = [line.removeprefix("data: ") for line in answer.iter_lines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def over_the_official_client(server: Running, response_id: str, after: int) -> list[Event]:
    with OpenAI(base_url=f"{server.url}/v1", api_key="k", http_client=httpx.Client(trust_env=False)) as client:
        ours: Any = ["codeact:events"]
        stream = client.responses.retrieve(response_id, stream=True, starting_after=after, include=ours)
        return [event.to_dict() for event in stream]


TRANSPORTS = (over_socket, over_sse, over_the_official_client)


def numbers(events: list[Event]) -> list[int]:
    return [event["sequence_number"] for event in events]


def test_in_the_middle_of_tokens_and_of_kernel_output_and_after_the_end(
    begin: Ask, scripted: Running, other: Running, model_server: ModelServer
) -> None:
    """Clients join at different events, over every transport and on both servers, and all read the same."""
    token, output = Gate(), Gate()
    model_server.reply("One two ", token, "three.\n<execute>\nfor i in range(3): print(i, flush=True)\n</execute>\n")
    model_server.reply("Four ", output, "five.")
    socket, events = begin("response.output_text.delta")
    response_id = events[0]["response"]["id"]
    with ExitStack() as sockets:
        late: list[tuple[int, ClientConnection]] = []

        def join() -> None:
            for server in (scripted, other):
                joined = sockets.enter_context(connect(server.ws_url, max_size=None))
                joined.send(frame(resume(response_id, len(events) - 1)))
                late.append((len(events), joined))

        join()
        token.open()
        events += read(socket, "codeact:code_interpreter_call.output")
        join()
        output.open()
        events += read(socket)
        assert numbers(events) == list(range(len(events)))
        for start, joined in late:
            assert read(joined) == events[start:]
    for server in (scripted, other):
        for transport in TRANSPORTS:
            for after in (-1, 5, len(events) - 2):
                assert numbers(transport(server, response_id, after)) == numbers(events[after + 1 :])
    assert over_sse(other, response_id, len(events) - 1) == []
    assert over_socket(other, response_id, 3) == events[4:]


def test_cancel_works_on_another_server(begin: Ask, other: Running, model_server: ModelServer) -> None:
    model_server.reply("One", Gate())
    socket, events = begin("response.output_text.delta")
    response_id = events[0]["response"]["id"]
    cancelled = httpx.post(f"{other.url}/v1/responses/{response_id}/cancel", trust_env=False, timeout=60).json()
    assert (cancelled["status"], cancelled["output"][0]["content"][0]["text"]) == ("cancelled", "One")
    assert read(socket)[-1]["response"]["status"] == "cancelled"


def test_cancel_works_on_another_servers_socket(begin: Ask, other: Running, model_server: ModelServer) -> None:
    model_server.reply("One", Gate())
    socket, events = begin("response.output_text.delta")
    with connect(other.ws_url) as elsewhere:
        elsewhere.send(json.dumps({"type": "response.cancel", "response_id": events[0]["response"]["id"]}))
        assert read(socket)[-1]["response"]["status"] == "cancelled"


def steer(socket: ClientConnection, response_id: str, text: str) -> None:
    socket.send(json.dumps({"type": "response.steer", "previous_response_id": response_id, "input": text}))


def test_steering_works_on_another_servers_socket(begin: Ask, other: Running, model_server: ModelServer) -> None:
    gate = Gate()
    model_server.reply("I run it.", gate, "\n<execute>\nprint('first')\n</execute>")
    model_server.reply("In French: bonjour.")
    socket, events = begin("response.output_text.delta")
    response_id = events[0]["response"]["id"]
    with connect(other.ws_url, max_size=None) as elsewhere:
        elsewhere.send(frame(resume(response_id, len(events) - 1)))
        steer(elsewhere, response_id, "in French, please")
        accepted = read(elsewhere, "response.steer.accepted")[-1]["steer"]
        assert accepted["previous_response_id"] == response_id
        gate.open()
        assert read(elsewhere)[-1]["response"]["incomplete_details"] == {"reason": "steered"}
        read(socket, "response.incomplete")
        successor = read(socket, "response.completed")[0]["response"]
        assert (successor["id"], successor["previous_response_id"]) == (
            accepted["codeact:next_response_id"],
            response_id,
        )
        elsewhere.send(frame(resume(successor["id"], -1)))
        assert read(elsewhere)[-1]["response"]["output"][0]["content"][0]["text"] == "In French: bonjour."
        assert "in French, please" in model_server.requests[-1].messages[-1]["content"]
        steer(elsewhere, response_id, "more")
        failed = read(elsewhere, "response.steer.failed")[-1]
        assert (failed["error"]["code"], failed["steer"]["input"]) == ("response_already_completed", "more")


def test_what_the_other_server_does_not_take_in_comes_back(
    begin: Ask, other: Running, model_server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    model_server.reply("One", Gate())
    _, events = begin("response.output_text.delta")
    response_id = events[0]["response"]["id"]
    with connect(other.ws_url, max_size=None) as elsewhere:
        for setting, value, code in (
            ("codeact.runs.steering.STEER_BYTES", 10, "invalid_input"),
            ("codeact.runs.steering.ANSWER_TIMEOUT_S", 0.0, "not_answered"),
            ("codeact.runs.run.MAX_STEERING", 0, "too_many_pending_steers"),
        ):
            with monkeypatch.context() as patch:
                patch.setattr(setting, value)
                steer(elsewhere, response_id, "more")
                assert read(elsewhere, "response.steer.failed")[-1]["error"]["code"] == code
        elsewhere.send(json.dumps({"type": "response.cancel", "response_id": response_id}))


def test_a_conversation_that_another_server_answers_says_when_to_ask_again(
    begin: Ask, other: Running, model_server: ModelServer
) -> None:
    """The same if that server has died, until its lease has expired."""
    model_server.reply("One", Gate())
    _, events = begin("response.output_text.delta")
    response = events[0]["response"]
    asked = {"input": "x", "conversation": response["conversation"]["id"]}
    refused = httpx.post(f"{other.url}/v1/responses", json=asked, trust_env=False, timeout=60)
    error = refused.json()["error"]
    assert (refused.status_code, error["code"], error["param"]) == (409, "conversation_locked", "conversation")
    assert refused.headers["retry-after"] == f"{other.settings.lease_s:g}"
    assert f"has died, its answer is ended within {other.settings.lease_s:g} s" in error["message"]
    httpx.post(f"{other.url}/v1/responses/{response['id']}/cancel", trust_env=False, timeout=60)


def test_events_that_have_expired_are_an_error_that_names_what_is_left(
    begin: Ask, scripted: Running, model_server: ModelServer
) -> None:
    model_server.reply("One two three.")
    _, events = begin("response.completed")
    response_id = events[0]["response"]["id"]
    with MongoClient[Any](socket_uri(scripted.settings.data_dir / "mongodb" / "mongod.sock")) as client:
        client["codeact"]["events"].delete_many({"_id": {"$regex": f"^{response_id}:"}})
    url = f"{scripted.url}/v1/responses/{response_id}"
    answer = httpx.get(f"{url}?stream=true&include=codeact:events&starting_after=2", trust_env=False)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (410, "events_expired", "starting_after")
    assert f"GET /v1/responses/{response_id}" in error["message"]
    assert over_socket(scripted, response_id, 2)[-1]["error"]["code"] == "events_expired"
    assert httpx.get(url, trust_env=False).json()["status"] == "completed"


@pytest.mark.parametrize("transport", [over_socket, over_sse])
def test_an_unknown_response_has_no_events(transport: Callable[..., list[Event]], scripted: Running) -> None:
    if transport is over_socket:
        assert over_socket(scripted, "resp_no", 0)[-1]["error"]["code"] == "not_found"
    else:
        assert httpx.get(f"{scripted.url}/v1/responses/resp_no?stream=true", trust_env=False).status_code == 404


def test_an_idle_stream_is_kept_alive(
    begin: Ask, scripted: Running, model_server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codeact.server.routes.responses.KEEP_ALIVE_S", 0.1)
    never = Gate()
    model_server.reply("One", never)
    _, events = begin("response.output_text.delta")
    url = f"{scripted.url}/v1/responses/{events[0]['response']['id']}"
    with httpx.stream("GET", f"{url}?stream=true&include=codeact:events", trust_env=False, timeout=60) as answer:
        assert next(line for line in answer.iter_lines() if line.startswith(":")) == ": keep-alive"
    httpx.post(f"{url}/cancel", trust_env=False, timeout=60)


def test_who_waits_for_a_sandbox_is_told_so(other: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codeact.agent.code_runner.NOTICE_DELAY_S", 0.01)
    with connect(other.ws_url, max_size=None) as socket:
        socket.send(frame({"type": "response.create", "input": "What is the 100th Fibonacci number?"}))
        events = read(socket)
    told = [(event["type"], event.get("status")) for event in events]
    assert told.count(("codeact:status", "starting_sandbox")) == 1
    assert told.index(("codeact:status", "starting_sandbox")) < told.index(
        ("response.code_interpreter_call.in_progress", None)
    )
    assert numbers(events) == list(range(len(events)))
