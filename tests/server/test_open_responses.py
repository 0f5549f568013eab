"""What the Open Responses specification (2026-04-24) has of every answer, over SSE and over a WebSocket.

Its compliance suite parses answers by schemas that are stricter than the types of the official client: a field without
a value is left out where the schema has no null, and times are integers.
"""

import json
from collections.abc import Callable, Iterator
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


@pytest.fixture(scope="module")
def asking(make_server: Callable[..., Running], model_server: ModelServer) -> Running:
    """A server whose answers have items of code only for those who ask."""
    return make_server(
        model="openai/scripted", model_api_base=model_server.base_url, model_api_key="test", code_items="asked"
    )


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


@pytest.mark.parametrize("code_items", ["auto", "asked for"])
@pytest.mark.parametrize("ask", [over_sse, over_a_socket])
def test_every_event_fits_its_schemas(scripted: Running, model_server: ModelServer, ask: Any, code_items: str) -> None:
    model_server.reset()
    model_server.reply(Thought("Hm."), "I look.\n<execute>\nprint(get_weather())\n</execute>\n")
    tools = [TOOL] if code_items == "auto" else [TOOL, {"type": "code_interpreter"}]
    events = ask(scripted, {"input": "the weather?", "tools": tools})
    kinds = {kind for kind, _ in responses_and_items(events)}
    code = set() if code_items == "auto" else {"code_interpreter_call"}
    assert kinds == {"response", "message", "reasoning", "function_call"} | code
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    added = [event["output_index"] for event in events if event["type"] == "response.output_item.added"]
    assert added == list(range(len(events[-1]["response"]["output"])))
    assert all(event["type"].startswith("response.") for event in events)
    for kind, value in responses_and_items(events):
        for name in NEVER_NULL.get(kind, ()):
            assert value.get(name, "left out") is not None, (kind, name)
        if kind == "response":
            assert isinstance(value["created_at"], int)
            assert isinstance(value["completed_at"], int | None)
            assert value["text"].get("verbosity", "medium") is not None
            assert isinstance(value["usage"], dict | None)


FUNCTION, INTERPRETER = {"tools": [TOOL]}, {"tools": [TOOL, {"type": "code_interpreter"}]}
OUTPUTS = {"include": ["code_interpreter_call.outputs"]}


@pytest.mark.parametrize(
    ("setting", "with_code", "without_code"),
    [
        ("auto", [{}, INTERPRETER, FUNCTION | OUTPUTS, FUNCTION | {"store": False}], [FUNCTION]),
        ("asked", [INTERPRETER, OUTPUTS], [{}, FUNCTION]),
    ],
)
def test_items_of_code_reach_requests_that_may_know_them(
    scripted: Running, asking: Running, model_server: ModelServer, setting: str, with_code: Any, without_code: Any
) -> None:
    model_server.reset()
    url = f"{(scripted if setting == 'auto' else asking).url}/v1/responses"
    for expected, bodies in (
        (["message", "code_interpreter_call", "message"], with_code),
        (["message"] * 2, without_code),
    ):
        for more in bodies:
            model_server.reply("I add.\n<execute>\nprint(6 * 7)\n</execute>")
            model_server.reply("It is 42.")
            response = httpx.post(url, json={"input": "6*7?", **more}, trust_env=False, timeout=60).json()
            assert [item["type"] for item in response["output"]] == expected, more
            if response["store"]:
                listed = items_of(url, response, "&include=codeact:events" if "include" in more else "")
                assert [item["type"] for item in listed][1:] == expected, more
    for method, path in (("GET", ""), ("POST", "/cancel")):
        read = httpx.request(method, f"{url}/{response['id']}{path}", trust_env=False, timeout=60).json()
        assert [item["type"] for item in read["output"]] == ["message"] * 2
    params = {"stream": "true", "starting_after": 3}
    rest = httpx.get(f"{url}/{response['id']}", params=params, trust_env=False, timeout=60).text
    numbers = [json.loads(line[6:])["sequence_number"] for line in rest.splitlines() if line.startswith("data: {")]
    assert numbers == list(range(4, 4 + len(numbers)))


def items_of(url: str, response: dict[str, Any], query: str) -> list[dict[str, Any]]:
    """The items of the response's conversation."""
    path = f"{url.removesuffix('responses')}conversations/{response['conversation']['id']}/items?order=asc{query}"
    listed: list[dict[str, Any]] = httpx.get(path, trust_env=False, timeout=60).json()["data"]
    return listed


def test_pages_of_items_skip_the_code_that_the_response_hides(scripted: Running, model_server: ModelServer) -> None:
    model_server.reset()
    model_server.reply("I add.\n<execute>\nprint(6 * 7)\n</execute>")
    model_server.reply("It is 42.")
    url = f"{scripted.url}/v1/responses"
    response = httpx.post(url, json={"input": "6*7?", "tools": [TOOL]}, trust_env=False, timeout=60).json()
    everything = items_of(url, response, "&include=code_interpreter_call.outputs")
    shown = [item for item in everything if item["type"] == "message"]
    assert [item["type"] for item in everything] == ["message", "message", "code_interpreter_call", "message"]
    for at, item in enumerate(everything):
        rest = [each for each in everything[at + 1 :] if each in shown]
        assert items_of(url, response, f"&after={item['id']}&limit=1") == rest[:1]


def test_a_function_is_called_and_answered_without_items_of_code(scripted: Running, model_server: ModelServer) -> None:
    model_server.reset()
    for reply in ("I look.\n<execute>\nprint(get_weather())\n</execute>", "Sunny.", "As I said."):
        model_server.reply(reply)
    url, asked = f"{scripted.url}/v1/responses", {"role": "user", "content": "the weather?"}

    def ask(*items: Any) -> list[dict[str, Any]]:
        # This client keeps the conversation itself, and sends it whole.
        body = {"input": [asked, *items], "tools": [TOOL]}
        output: list[dict[str, Any]] = httpx.post(url, json=body, trust_env=False, timeout=60).json()["output"]
        return output

    first = ask()
    assert [item["type"] for item in first] == ["message", "function_call"]
    value = {"type": "function_call_output", "call_id": first[1]["call_id"], "output": "sun"}
    second = ask(*first, value)
    assert [item["type"] for item in second] == ["message"]
    assert "sun" in str(model_server.requests[-1].messages[-1])
    ask(*first, value, *second, {"role": "user", "content": "And?"})
    # The model reads the code, which this client never got, and its own answer.
    told = [message["content"] for message in model_server.requests[-1].messages]
    assert any("<execute>\nprint(get_weather())\n</execute>" in text for text in told)
    assert any("sun" in text for text in told)
    assert told[-2:] == ["Sunny.", "And?"]


def test_a_client_that_gets_no_code_and_sends_its_history_back_has_the_model_read_the_code(
    asking: Running, model_server: ModelServer
) -> None:
    model_server.reset()
    for reply in ("I add.\n<execute>\nprint(11 * 11)\n</execute>", "It is 121.", "As I said."):
        model_server.reply(reply)
    url, asked = f"{asking.url}/v1/responses", {"role": "user", "content": "11*11?"}
    first = httpx.post(url, json={"input": [asked]}, trust_env=False, timeout=60).json()["output"]
    assert [item["type"] for item in first] == ["message", "message"]
    further = {"role": "user", "content": "Sure?"}
    httpx.post(url, json={"input": [asked, *first, further]}, trust_env=False, timeout=60).raise_for_status()
    told = [str(message["content"]) for message in model_server.requests[-1].messages]
    assert sum("<execute>\nprint(11 * 11)\n</execute>" in text for text in told) == 1
    assert any(text.startswith("Observation:") and "121" in text for text in told)
