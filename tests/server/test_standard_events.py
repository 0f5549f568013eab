"""Only clients that ask for them get our own events. The numbers that others see have no gaps."""

import json
from typing import Any

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

from codeact.server.transports.standard_events import of_the_standard
from tests.model_server import ModelServer
from tests.server.conftest import Running

CODE = "I add.\n<execute>\nprint(6 * 7)\n</execute>\n"
OFFICIAL = {"X-Stainless-Lang": "js"}


def streamed(server: Running, headers: dict[str, str], **body: Any) -> list[dict[str, Any]]:
    body = {"input": "add", "stream": True, **body}
    text = httpx.post(f"{server.url}/v1/responses", json=body, headers=headers, timeout=60).text
    return read(text)


def told(socket: ClientConnection) -> list[dict[str, Any]]:
    events = [json.loads(socket.recv(timeout=60))]
    while events[-1]["type"] != "response.completed":
        events.append(json.loads(socket.recv(timeout=60)))
    return events


def read(text: str) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]


@pytest.fixture
def server(scripted: Running, model_server: ModelServer) -> Running:
    model_server.reset()
    for reply in (CODE, "It is 42."):
        model_server.reply(reply)
    return scripted


@pytest.mark.parametrize("headers", [OFFICIAL, {}])
def test_every_client_gets_the_standards_events_without_gaps_and_resumes_by_them(
    server: Running, headers: dict[str, str]
) -> None:
    events = streamed(server, headers)
    assert not [event["type"] for event in events if event["type"].startswith("codeact:")]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    path = f"{server.url}/v1/responses/{events[0]['response']['id']}"
    rest = httpx.get(path, params={"stream": "true", "starting_after": "5"}, headers=headers).text
    assert read(rest) == events[6:]


def test_on_a_socket_too_who_does_not_ask_gets_the_standards_events_and_resumes_by_them(server: Running) -> None:
    with connect(server.ws_url, max_size=None) as socket:
        socket.send('{"type": "response.create", "input": "add"}')
        events = told(socket)
        assert not [event["type"] for event in events if event["type"].startswith("codeact:")]
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        resume = {"type": "codeact:response.resume", "response_id": events[0]["response"]["id"], "starting_after": 5}
        socket.send(json.dumps(resume))
        assert told(socket) == events[6:]


def test_whoever_asks_gets_ours_too(server: Running) -> None:
    events = streamed(server, {}, include=["codeact:events"])
    assert "codeact:code_interpreter_call.output" in [event["type"] for event in events]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))


@pytest.mark.anyio
async def test_a_pause_is_passed_on() -> None:
    async def stream() -> Any:
        yield ['{"type":"codeact:status","sequence_number":0}']
        yield []
        yield ['{"type":"a","sequence_number":1,"x":2}']

    assert [frames async for frames in of_the_standard(stream())] == [[], ['{"type":"a","sequence_number":0,"x":2}']]


@pytest.mark.anyio
async def test_events_behind_a_server_that_died_come_to_whoever_saw_more_than_was_stored() -> None:
    async def stream() -> Any:
        yield ['{"type":"a","sequence_number":0}', '{"type":"codeact:notice","sequence_number":1}']
        yield ['{"type":"b","sequence_number":1000002}']

    frames = [frame async for frames in of_the_standard(stream(), starting_after=40) for frame in frames]
    assert frames == ['{"type":"b","sequence_number":1000001}']
