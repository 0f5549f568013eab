"""The Open Responses specification's rules, on every transport: https://www.openresponses.org/specification."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from tests.asking import INCLUDE
from tests.model_server import ModelServer, Thought
from tests.server.conftest import Running
from tests.server.test_websocket import Socket

RESPONSE = """id object created_at completed_at status incomplete_details model previous_response_id instructions output
error tools tool_choice truncation parallel_tool_calls text top_p presence_penalty frequency_penalty top_logprobs
temperature reasoning user usage max_output_tokens max_tool_calls store background service_tier metadata
safety_identifier prompt_cache_key""".split()  # noqa: SIM905 (as the specification's schema lists what is required)
NEVER_NULL = [
    "tools",
    "tool_choice",
    "truncation",
    "parallel_tool_calls",
    "text",
    "top_p",
    "temperature",
    "store",
    "background",
    "service_tier",
]

ITEMS = {
    "message": {"id", "type", "status", "role", "content"},
    "reasoning": {"id", "type", "status", "summary"},
    "code_interpreter_call": {"id", "type", "status", "code", "container_id", "outputs"},
}
ERROR_TYPES = {"server_error", "invalid_request", "not_found", "model_error", "too_many_requests"}
ENDS = ("response.completed", "response.incomplete", "response.failed")
LEVELS = ("response.", "error", "codeact:")

Ask = Callable[..., list[dict[str, Any]]]


def over_sse(server: Running) -> Ask:
    def ask(**body: Any) -> list[dict[str, Any]]:
        with (
            httpx.Client(trust_env=False, timeout=60) as client,
            client.stream(
                "POST", f"{server.url}/v1/responses", json=body | {"stream": True, "include": INCLUDE}
            ) as answer,
        ):
            assert answer.headers["content-type"].startswith("text/event-stream")
            blocks = "".join(answer.iter_text()).split("\n\n")
        assert blocks[-2:] == ["data: [DONE]", ""]
        return [_event(block) for block in blocks[:-2]]

    return ask


def _event(block: str) -> dict[str, Any]:
    name, data = block.split("\n")
    event: dict[str, Any] = json.loads(data.removeprefix("data: "))
    assert name == f"event: {event['type']}"
    return event


def over_resumed_sse(server: Running) -> Ask:
    """Reads like a client whose connection broke after three events."""

    def ask(**body: Any) -> list[dict[str, Any]]:
        events = over_sse(server)(**body)
        path = f"{server.url}/v1/responses/{events[0]['response']['id']}"
        query = {"stream": "true", "include": INCLUDE, "starting_after": "2"}
        rest = httpx.get(path, params=query, trust_env=False).text.split("\n\n")
        assert rest[-2:] == ["data: [DONE]", ""]
        return events[:3] + [_event(block) for block in rest[:-2]]

    return ask


def over_socket(server: Running) -> Ask:
    def ask(**body: Any) -> list[dict[str, Any]]:
        with connect(server.ws_url, max_size=None) as connection:
            socket = Socket(connection)
            socket.send({"type": "response.create", **body, "include": INCLUDE})
            return socket.until(*ENDS)

    return ask


@pytest.fixture(params=[over_sse, over_resumed_sse, over_socket])
def ask(request: pytest.FixtureRequest, scripted: Running, model_server: ModelServer) -> Ask:
    model_server.reset()
    made: Ask = request.param(scripted)
    return made


@pytest.fixture
def http(scripted: Running, model_server: ModelServer) -> Iterator[httpx.Client]:
    model_server.reset()
    with httpx.Client(base_url=scripted.url, trust_env=False, timeout=60) as client:
        yield client


def check_response(response: dict[str, Any]) -> None:
    assert [name for name in RESPONSE if name not in response] == []
    assert [name for name in NEVER_NULL if response[name] is None] == []
    assert isinstance(response["created_at"], int)
    for item in response["output"]:
        check_item(item)
    extra = set(response) - set(RESPONSE) - {"conversation"}
    assert all(name.startswith("codeact:") for name in extra), extra


def check_item(item: dict[str, Any]) -> None:
    assert item["type"] in ITEMS or item["type"].startswith("codeact:")
    assert ITEMS.get(item["type"], {"id", "type", "status"}) <= set(item)


def check_stream(events: list[dict[str, Any]]) -> None:
    """Checks that items are added, changed and done in a nested way, and that all deltas add up to
    the final response.
    """
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    assert [event["type"] for event in events if event["type"] in ENDS] == [events[-1]["type"]]
    assert all(event["type"].startswith(LEVELS) for event in events)
    open_item: dict[str, Any] | None = None
    open_part = False
    text: list[str] = []
    done: list[dict[str, Any]] = []
    for event in events:
        kind = event["type"]
        if kind == "response.output_item.added":
            assert open_item is None
            open_item = event["item"]
            check_item(open_item)
            assert (open_item["status"], event["output_index"]) == ("in_progress", len(done))
        elif kind == "response.content_part.added":
            assert open_item is not None
            open_part, text = True, []
        elif kind in ("response.output_text.delta", "response.reasoning_text.delta"):
            assert open_part
            text.append(event["delta"])
        elif kind in ("response.output_text.done", "response.reasoning_text.done"):
            assert event["text"] == "".join(text)
        elif kind == "response.content_part.done":
            assert open_part
            assert event["part"]["text"] == "".join(text)
            open_part = False
        elif kind == "response.output_item.done":
            assert open_item is not None
            assert not open_part
            assert event["item"]["id"] == open_item["id"]
            assert event["item"]["status"] in ("completed", "incomplete", "failed")
            done.append(event["item"])
            open_item = None
        elif "item_id" in event:
            assert open_item is not None
            assert event["item_id"] == open_item["id"]
    assert done == events[-1]["response"]["output"]
    for event in events:
        if "response" in event:
            check_response(event["response"])


def test_an_answer_with_code_and_thinking(ask: Ask, model_server: ModelServer) -> None:
    model_server.reply(Thought("hm"), "I run it.\n<execute>\nprint(1)\n</execute>")
    model_server.reply("Done.")
    events = ask(input="go")
    check_stream(events)
    assert events[-1]["type"] == "response.completed"
    kinds = [item["type"] for item in events[-1]["response"]["output"]]
    assert kinds == ["reasoning", "message", "code_interpreter_call", "message"]


def test_an_answer_that_is_cut_off_ends_with_an_incomplete_item(ask: Ask, model_server: ModelServer) -> None:
    model_server.reply("It is a long st", finish="length")
    events = ask(input="go", max_output_tokens=4)
    check_stream(events)
    assert events[-1]["response"]["status"] == "incomplete"
    assert events[-1]["response"]["output"][-1]["status"] == "incomplete"


def test_an_answer_that_fails(ask: Ask, model_server: ModelServer) -> None:
    model_server.reply(status=401, error={"message": "no"})
    events = ask(input="go")
    check_stream(events)
    assert events[-1]["type"] == "response.failed"
    assert set(events[-1]["response"]["error"]) >= {"code", "message"}


def test_code_that_fails_does_not_end_the_answer_as_incomplete_code_would(ask: Ask, model_server: ModelServer) -> None:
    model_server.reply("<execute>\nimport os; os._exit(1)\n</execute>")
    model_server.reply("It died.")
    events = ask(input="go")
    check_stream(events)
    assert [item["status"] for item in events[-1]["response"]["output"]] == ["failed", "completed"]


def test_json_is_the_same_as_the_last_event(http: httpx.Client, model_server: ModelServer) -> None:
    model_server.reply("Done.")
    answer = http.post("/v1/responses", json={"input": "go"})
    assert answer.headers["content-type"] == "application/json"
    check_response(answer.json())
    assert http.get(f"/v1/responses/{answer.json()['id']}").json() == answer.json()


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "kind"),
    [
        ("POST", "/v1/responses", {"input": ""}, 400, "invalid_request"),
        ("POST", "/v1/responses", {"input": "x", "model": "none"}, 404, "not_found"),
        ("POST", "/v1/responses", {"input": "x", "previous_response_id": "resp_no"}, 404, "not_found"),
        ("GET", "/v1/responses/resp_no", None, 404, "not_found"),
        ("DELETE", "/v1/responses/resp_no", None, 404, "not_found"),
        ("POST", "/v1/responses/resp_no/cancel", None, 404, "not_found"),
        ("GET", "/v1/conversations/conv_no/items", None, 404, "not_found"),
        ("GET", "/v1/nothing", None, 404, "not_found"),
        ("PUT", "/v1/responses", None, 405, "invalid_request"),
        ("POST", "/v1/chat/completions", {"messages": []}, 400, "invalid_request"),
    ],
)
def test_errors_have_the_standard_form(
    http: httpx.Client, method: str, path: str, body: Any, status: int, kind: str
) -> None:
    answer = http.request(method, path, json=body)
    error = answer.json()["error"]
    assert answer.headers["content-type"] == "application/json"
    assert set(error) == {"message", "type", "code", "param"}
    assert (answer.status_code, error["type"]) == (status, kind)
    assert error["type"] in ERROR_TYPES


HOSTILE = [
    b"",
    b"null",
    b'"text"',
    b"[" * 100_000,
    b'{"input":' + b"[" * 5_000,
    b'{"input":"\\ud800"}',
    b'{"input":"x","temperature":1e999}',
    b'{"input":"\xff"}',
]


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/conversations", "/v1/chat/completions"])
@pytest.mark.parametrize("body", HOSTILE, ids=range(len(HOSTILE)))
def test_a_body_that_is_no_request_is_the_clients_fault(http: httpx.Client, path: str, body: bytes) -> None:
    answer = http.post(path, content=body)
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request")


def test_odd_characters_are_kept_as_they_are(http: httpx.Client) -> None:
    odd = "a\x00b $set .dotted \U0001f600"
    body = {"input": odd, "metadata": {"$a.b\x00": odd}, "user": odd, "generate": False}
    response = http.post("/v1/responses", json=body).json()
    assert (response["metadata"], response["user"]) == ({"$a.b\x00": odd}, odd)
    items = http.get(f"/v1/responses/{response['id']}/input_items").json()["data"]
    assert items[0]["content"] == [{"type": "input_text", "text": odd}]
    assert http.get(f"/v1/responses/{response['id']}").json() == response


def test_a_frame_that_is_nested_too_deeply_does_not_end_the_socket(scripted: Running) -> None:
    with connect(scripted.ws_url) as connection:
        socket = Socket(connection)
        for _ in range(2):
            socket.send("[" * 100_000)
            assert socket.recv()["error"]["code"] == "invalid_json"


def test_errors_on_a_socket_have_the_same_form(scripted: Running) -> None:
    with connect(scripted.ws_url) as connection:
        socket = Socket(connection)
        socket.send({"type": "response.create", "input": "", "stream_id": "lane"})
        frame = socket.recv()
    assert (frame["type"], frame["status"], frame["stream_id"]) == ("error", 400, "lane")
    assert frame["error"]["type"] == "invalid_request"
