"""The official client, unchanged. Its own types validate every event that we emit."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import APIStatusError, OpenAI
from openai.types.responses import Response, ResponsesServerEvent
from pydantic import TypeAdapter

from tests.clients.matrix import proved
from tests.server.conftest import Running

FIBONACCI = "What is the 100th Fibonacci number?"
STRICT: TypeAdapter[Any] = TypeAdapter(ResponsesServerEvent)


OURS: Any = ["codeact:events"]


@pytest.fixture
def client(demo: Running) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{demo.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_create_answers_with_a_response(client: OpenAI) -> None:
    response = client.responses.create(input=FIBONACCI)
    assert response.status == "completed"
    assert "354224848179261915075" in response.output_text
    Response.model_validate(response.model_dump())


def test_stream_yields_every_event_over_sse(client: OpenAI) -> None:
    events = list(client.responses.create(input=FIBONACCI, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].type == "response.completed"


# The client opens its socket in a way that websockets 17 deprecates.
@pytest.mark.filterwarnings("ignore:connect.. must be used as a context manager:DeprecationWarning")
def test_connect_holds_a_conversation_over_a_websocket(client: OpenAI) -> None:
    with client.responses.connect() as connection:
        connection.response.create(input=FIBONACCI)
        first = next(event for event in connection if event.type == "response.completed").response
        connection.response.create(input="And the next one?", previous_response_id=first.id)
        second = next(event for event in connection if event.type == "response.completed").response
    assert second.previous_response_id == first.id
    assert "573147844013817084101" in second.output_text


def test_retrieve_cancel_and_input_items(client: OpenAI) -> None:
    response = client.responses.create(input=FIBONACCI)
    assert client.responses.retrieve(response.id).output_text == response.output_text
    assert client.responses.cancel(response.id).status == "completed"
    items = client.responses.input_items.list(response.id)
    assert items.data[0].content[0].text == FIBONACCI  # type: ignore[union-attr, index]


def test_a_stream_is_taken_up_again_after_any_event(client: OpenAI) -> None:
    events = list(client.responses.create(input=FIBONACCI, stream=True))
    response_id = events[0].response.id  # type: ignore[union-attr]
    rest = list(client.responses.retrieve(response_id, stream=True, starting_after=4))
    assert [event.sequence_number for event in rest] == [event.sequence_number for event in events[5:]]


def test_cancel_ends_a_running_response_as_cancelled(client: OpenAI) -> None:
    stream = client.responses.create(input="Count to 60, slowly.", stream=True, include=OURS)
    response_id = next(event for event in stream if event.type == "response.created").response.id
    next(event for event in stream if event.type == "codeact:code_interpreter_call.output")  # type: ignore[comparison-overlap]
    assert client.responses.cancel(response_id).status == "cancelled"
    assert list(stream)[-1].type == "response.incomplete"


def test_conversations_and_models(client: OpenAI) -> None:
    conversation = client.conversations.create(metadata={"a.b": "$c"})
    assert client.conversations.retrieve(conversation.id).metadata == {"a.b": "$c"}
    response = client.responses.create(input=FIBONACCI, conversation=conversation.id)
    assert response.conversation is not None
    assert response.conversation.id == conversation.id
    assert [model.id for model in client.models.list()] == ["demo", "codeact"]


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        ({"input": ""}, 400, "invalid_request"),
        ({"input": "x", "model": "gpt-9"}, 404, "model_not_found"),
        ({"input": "x", "previous_response_id": "resp_no"}, 404, "previous_response_not_found"),
        ({"input": "x", "extra_body": {"colour": "red"}}, 400, "unknown_parameter"),
    ],
)
def test_errors_come_in_the_standard_envelope(client: OpenAI, request_: dict[str, Any], status: int, code: str) -> None:
    with pytest.raises(APIStatusError) as caught:
        client.responses.create(**request_)
    assert (caught.value.status_code, caught.value.code) == (status, code)


@pytest.mark.parametrize("question", [FIBONACCI, "Plot a sine wave.", "Read a file that does not exist, then fix it."])
def test_the_official_types_take_every_event_strictly(client: OpenAI, question: str) -> None:
    with client.responses.with_streaming_response.create(input=question, stream=True) as answer:
        data = [line[6:] for line in answer.iter_lines() if line.startswith("data: ")]
    assert data.pop() == "[DONE]"
    frames = [json.loads(line) for line in data]
    standard = [frame for frame in frames if not frame["type"].startswith("codeact:")]
    for frame in standard:
        event = STRICT.validate_python(frame)
        assert event.type == frame["type"]
    assert {frame["type"] for frame in frames} - {frame["type"] for frame in standard} <= {
        "codeact:code_interpreter_call.output",
        "codeact:notice",
        "codeact:status",
    }


def test_the_version_of_the_client_is_documented() -> None:
    tested = ["JSON", "SSE", "WebSocket", "resume", "cancel", "files", "function tools", "every event parsed strictly"]
    proved("`openai` for Python, the newest that litellm lives with", openai.__version__, tested)
