"""A question reaches another server as it was checked by the one that the client has asked."""

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from starlette.types import Message

from codeact.events import Notice
from codeact.runs.holders import HeldElsewhere
from codeact.server.peers.questions import MADE_ANEW, PassedQuestion, error_of, passed_question, received_request
from codeact.server.requests.create import parse_create
from codeact.server.routes.peers import questions
from codeact.settings import Settings

BODIES: list[dict[str, Any]] = [
    {"input": "hi", "conversation": {"id": "conv_1"}, "metadata": {"a": "b"}, "reasoning": {"effort": "low"}},
    {
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "hi"}]},
            {"type": "function_call_output", "call_id": "call_1", "output": "x"},
            {"type": "item_reference", "id": "msg_1"},
            {"type": "compaction_trigger"},
        ],
        "previous_response_id": "resp_0",
        "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}],
        "tool_choice": {"type": "function", "name": "f"},
        "text": {"format": {"type": "json_schema", "name": "x", "schema": {"type": "object"}}},
    },
]


@pytest.mark.parametrize("body", BODIES)
def test_every_field_arrives(body: dict[str, Any]) -> None:
    request = parse_create(body)
    request.history_container_id = "cntr_1"
    request.notices = [Notice(code="left_out", message="A tool was left out.")]
    question = passed_question(request, HeldElsewhere("host/1", "resp_1"), follows=True)
    arrived = msgspec.json.decode(msgspec.json.encode(question), type=PassedQuestion)
    received = received_request(arrived)
    assert (arrived.response_id, arrived.follows) == ("resp_1", True)
    for name in set(request.__struct_fields__) - MADE_ANEW:
        assert getattr(received, name) == getattr(request, name), name
    assert len(received.messages) == len(request.messages)
    assert received.compact_only == request.compact_only


def test_a_refusal_is_the_error_that_it_was() -> None:
    error = error_of(409, "conversation_locked", "It is answering.", "conversation", "6")
    assert (type(error).__name__, error.status, error.retry_after_s) == ("ConversationLocked", 409, 6.0)
    unknown = error_of(418, "teapot", "No.", None, None)
    assert (unknown.status, unknown.code, unknown.message) == (418, "teapot", "No.")


@pytest.mark.anyio
async def test_a_question_for_which_nobody_waits_any_longer_is_not_begun() -> None:
    question = passed_question(parse_create({"input": "hi"}), HeldElsewhere("host/1", "resp_1"))
    arrived: list[Message] = [
        {"type": "http.request", "body": msgspec.json.encode(question)},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Message:
        return arrived.pop(0)

    async def send(message: Message) -> None:
        raise AssertionError(f"nobody is there for {message}")

    services = SimpleNamespace(settings=Settings.load(model="demo"), service=None)
    app = SimpleNamespace(state=SimpleNamespace(codeact=services))
    await questions({"type": "http", "method": "POST", "headers": [], "app": app}, receive, send)
    assert arrived == []
