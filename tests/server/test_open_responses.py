"""What the Open Responses specification (2026-04-24) has of every answer, over SSE and over a WebSocket.

Its compliance suite parses answers by schemas that are stricter than the types of the official client: a field without
a value is left out where the schema has no null, and times are integers.
"""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from tests.model_server import ModelServer, Thought
from tests.server.conftest import Running

ENDS = ("response.completed", "response.incomplete", "response.failed")
NEVER_NULL = {
    "message": ("phase", "status", "role", "content"),
    "reasoning": ("summary",),
    "function_call": ("call_id", "name", "arguments", "status"),
}
TOOL = {"type": "function", "name": "get_weather", "parameters": {"type": "object", "properties": {}}}


def over_sse(server: Running, body: dict[str, Any]) -> list[dict[str, Any]]:
    text = httpx.post(f"{server.url}/v1/responses", json=body | {"stream": True}, trust_env=False, timeout=60).text
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]


def over_a_socket(server: Running, body: dict[str, Any]) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    with connect(server.ws_url, max_size=None) as socket:
        socket.send(json.dumps({"type": "response.create", **body}))
        while not events or events[-1]["type"] not in ENDS:
            events.append(json.loads(socket.recv(timeout=60)))
    return events


def responses_and_items(events: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for event in events:
        if "response" in event:
            yield "response", event["response"]
            yield from ((item["type"], item) for item in event["response"]["output"])
        if "item" in event:
            yield event["item"]["type"], event["item"]


@pytest.mark.parametrize("ask", [over_sse, over_a_socket])
def test_every_event_fits_its_schemas(scripted: Running, model_server: ModelServer, ask: Any) -> None:
    model_server.reset()
    model_server.reply(Thought("Hm."), "I look.\n<execute>\nprint(get_weather())\n</execute>\n")
    events = ask(scripted, {"input": "the weather?", "tools": [TOOL]})
    kinds = {kind for kind, _ in responses_and_items(events)}
    assert kinds == {"response", "message", "reasoning", "code_interpreter_call", "function_call"}
    assert all(event["type"].startswith("response.") for event in events)
    for kind, value in responses_and_items(events):
        for name in NEVER_NULL.get(kind, ()):
            assert value.get(name, "left out") is not None, (kind, name)
        if kind == "response":
            assert isinstance(value["created_at"], int)
            assert isinstance(value["completed_at"], int | None)
            assert value["text"].get("verbosity", "medium") is not None
            assert isinstance(value["usage"], dict | None)
