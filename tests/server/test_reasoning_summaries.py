"""A request with `reasoning.summary` gets the thinking as a summary, wherever it is read; other requests do not."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from openai import OpenAI
from openai.types.responses import ResponsesServerEvent
from pydantic import TypeAdapter
from websockets.sync.client import connect

from codeact.server.transports.summaries import with_summaries
from tests.model_server import ModelServer, Thought
from tests.server.conftest import Running

THOUGHT = 'Say "reasoning_text",\n"summary_index":1 and é.'
SUMMARY = [{"type": "summary_text", "text": THOUGHT}]
ASKED = {"input": "hi", "reasoning": {"summary": "detailed"}}
OURS = {"include": ["codeact:events"]}
PARTS = [
    "response.reasoning_summary_part.added",
    "response.reasoning_summary_text.delta",
    "response.reasoning_summary_text.done",
    "response.reasoning_summary_part.done",
]
STRICT: TypeAdapter[Any] = TypeAdapter(ResponsesServerEvent)


@pytest.fixture
def client(scripted: Running, model_server: ModelServer) -> Iterator[httpx.Client]:
    model_server.reset()
    model_server.reply(Thought(THOUGHT), "Hello.")
    with httpx.Client(base_url=f"{scripted.url}/v1", trust_env=False, timeout=60) as client:
        yield client


def events_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]


def over_sse(client: httpx.Client, body: dict[str, Any]) -> list[dict[str, Any]]:
    return events_of(client.post("/responses", json=body | {"stream": True}).text)


def over_a_socket(client: httpx.Client, body: dict[str, Any]) -> list[dict[str, Any]]:
    with connect(str(client.base_url).rstrip("/").replace("http", "ws", 1) + "/responses", max_size=None) as socket:
        socket.send(json.dumps({"type": "response.create", **body}))
        events = [json.loads(socket.recv(timeout=60))]
        while events[-1]["type"] != "response.completed":
            events.append(json.loads(socket.recv(timeout=60)))
        resume = {"type": "codeact:response.resume", "response_id": events[0]["response"]["id"], "starting_after": 3}
        socket.send(json.dumps(resume))
        assert [json.loads(socket.recv(timeout=60)) for _ in events[4:]] == events[4:]
    return events


def thinking(output: list[dict[str, Any]]) -> tuple[Any, Any]:
    (item,) = (item for item in output if item["type"] == "reasoning")
    return item["summary"], item["content"]


@pytest.mark.parametrize("ask", [over_sse, over_a_socket])
def test_a_stream_has_the_events_of_a_summary(
    client: httpx.Client, ask: Callable[[httpx.Client, dict[str, Any]], list[dict[str, Any]]]
) -> None:
    events = ask(client, ASKED)
    for event in events:
        STRICT.validate_python(event)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    item_id = next(event["item"]["id"] for event in events if event["type"] == "response.output_item.added")
    parts = [event for event in events if event.get("item_id") == item_id]
    assert [event["type"] for event in parts] == PARTS
    assert {(event["output_index"], event["summary_index"]) for event in parts} == {(0, 0)}
    assert not any("content_index" in event for event in parts)
    assert [parts[0]["part"], parts[3]["part"]] == [{"type": "summary_text", "text": ""}, SUMMARY[0]]
    assert parts[1]["delta"] == parts[2]["text"] == THOUGHT
    done = next(event["item"] for event in events if event["type"] == "response.output_item.done")
    assert thinking([done]) == thinking(events[-1]["response"]["output"]) == (SUMMARY, [])
    path = f"/responses/{events[0]['response']['id']}"
    rest = client.get(path, params={"stream": "true", "starting_after": 3}).text
    assert events_of(rest) == events[4:]


@pytest.mark.parametrize("wish", ["auto", "concise", "detailed"])
def test_wherever_it_is_read_an_answer_has_the_summary(client: httpx.Client, wish: str) -> None:
    made = client.post("/responses", json={"input": "hi", "reasoning": {"summary": wish}}).json()
    assert thinking(made["output"]) == (SUMMARY, [])
    for read in (client.get(f"/responses/{made['id']}"), client.post(f"/responses/{made['id']}/cancel")):
        assert read.json()["output"] == made["output"]
    items = f"/conversations/{made['conversation']['id']}/items"
    listed = client.get(items, params={"order": "asc"}).json()["data"]
    assert listed[1:] == made["output"]
    after = client.get(items, params={"order": "asc", "after": listed[0]["id"], "limit": 1}).json()
    assert (after["data"], after["has_more"]) == (made["output"][:1], True)
    assert client.get(f"{items}/{made['output'][0]['id']}").json() == made["output"][0]
    for path in (f"/responses/{made['id']}", items):
        ours = client.get(path, params={"include": "codeact:events"}).json()
        assert thinking(ours.get("output") or ours["data"]) == ([], [{"type": "reasoning_text", "text": THOUGHT}])


@pytest.mark.parametrize("body", [{"input": "hi"}, {"input": "hi", "reasoning": {"effort": "low"}}, ASKED | OURS])
def test_other_requests_get_the_text_in_content(client: httpx.Client, body: dict[str, Any]) -> None:
    events = over_sse(client, body)
    assert not [event for event in events if "summary_index" in event]
    assert "response.reasoning_text.delta" in [event["type"] for event in events]
    assert thinking(events[-1]["response"]["output"]) == ([], [{"type": "reasoning_text", "text": THOUGHT}])


@pytest.mark.parametrize("left_out", [(), ("id",), ("id", "encrypted_content", "status")])
def test_a_history_with_summaries_keeps_its_kernel(
    client: httpx.Client, model_server: ModelServer, left_out: tuple[str, ...]
) -> None:
    model_server.reset()
    name = f"x{len(left_out)}"
    model_server.reply(Thought(THOUGHT), f"I set {name}.\n<execute>\n{name} = 6\n</execute>\n")
    for reply in ("It is set.", f"<execute>\nprint({name} * 7)\n</execute>\n", "So."):
        model_server.reply(reply)
    question = {"role": "user", "content": f"set {name}"}
    asked = ASKED | {"include": ["reasoning.encrypted_content"]}
    first = client.post("/responses", json=asked | {"input": [question]}).json()["output"]
    assert first[0]["summary"] == SUMMARY
    assert first[0]["encrypted_content"]
    history = [{field: value for field, value in item.items() if field not in left_out} for item in first]
    again = {"role": "user", "content": "times 7?"}
    second = client.post("/responses", json=asked | {"input": [question, *history, again]}).json()
    (code,) = (item for item in second["output"] if item["type"] == "code_interpreter_call")
    assert code["outputs"] == [{"type": "logs", "logs": "42\n"}]
    assert second["codeact:notices"] == []
    prompt = model_server.requests[2].messages
    back = [message["reasoning_content"] for message in prompt if "reasoning_content" in message]
    assert back == ([] if "encrypted_content" in left_out else [THOUGHT])


def test_the_official_client_reads_the_summary(client: httpx.Client) -> None:
    asked: Any = {"model": "openai/scripted", "input": "hi", "reasoning": {"summary": "auto"}}
    with (
        OpenAI(base_url=str(client.base_url), api_key="none", max_retries=0) as official,
        official.responses.stream(**asked) as stream,
    ):
        events = list(stream)
        final = stream.get_final_response()
    assert [event.type for event in events if "reasoning" in event.type] == PARTS
    deltas = [event.delta for event in events if event.type == "response.reasoning_summary_text.delta"]
    assert "".join(deltas) == THOUGHT
    assert final.output[0].type == "reasoning"
    assert final.output[0].summary[0].text == THOUGHT


@pytest.mark.anyio
async def test_a_pause_is_passed_on_and_other_events_are_unchanged() -> None:
    message = '{"type":"response.content_part.done","part":{"type":"output_text","text":"a"},"sequence_number":1}'
    delta = '{"type":"response.output_text.delta","delta":"a","content_index":0,"sequence_number":2}'

    async def stream() -> Any:
        yield [message]
        yield []
        yield [delta]

    assert [frames async for frames in with_summaries(stream())] == [[message], [], [delta]]
