"""What a create request may contain; pure, no server."""

from typing import Any

import msgspec
import pytest

from codeact.errors import InvalidRequest
from codeact.runs.holders import HeldElsewhere
from codeact.server.peers.questions import PassedQuestion, passed_question, received_request
from codeact.server.requests.create import parse_create


def refused(body: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        parse_create(body)
    return caught.value


def test_text_becomes_one_user_message() -> None:
    request = parse_create({"input": "hello"})
    assert [(message.role, message.content) for message in request.messages] == [
        ("user", [{"type": "input_text", "text": "hello"}])
    ]


def test_messages_keep_their_roles_and_parts() -> None:
    given = [
        {"role": "developer", "content": "be brief"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "look"}]},
        {"role": "user", "content": [{"type": "input_image", "image_url": "data:image/png;base64,AA=="}]},
    ]
    request = parse_create({"input": given})
    assert [message.role for message in request.messages] == ["developer", "user", "user"]
    assert request.messages[2].content[0]["image_url"].startswith("data:image/png")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ([], None),
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": [{"role": "user", "content": " "}]}, "input"),
        ({"input": "x", "colour": "red"}, "colour"),
        ({"input": "x", "messages": []}, "messages"),
        ({"input": 5}, "input"),
        ({"input": "x", "temperature": 3}, "temperature"),
        ({"input": "x", "max_output_tokens": 0}, "max_output_tokens"),
        ({"input": "x", "store": False, "background": True}, "background"),
        ({"input": "x", "store": False, "conversation": "conv_1"}, "conversation"),
        ({"input": "x", "tools": [{"type": "file_search"}]}, "tools[0].type"),
        ({"input": "x", "tools": [{"type": "code_interpreter", "container": 1}]}, "tools[0].container"),
        ({"input": "x", "tool_choice": "always"}, "tool_choice"),
        ({"input": "x", "text": {"format": {"type": "grammar"}}}, "text.format.type"),
        ({"input": "x", "include": ["web_search_call.results"]}, "include[0]"),
        ({"input": "x", "prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"input": "x", "reasoning": {"effort": "mega"}}, "reasoning.effort"),
        ({"input": "x", "stream_options": {"include_obfuscation": True}}, "stream_options.include_obfuscation"),
        ({"input": "x", "metadata": {"k": "v" * 513}}, "metadata[...]"),
        ({"input": "x", "conversation": "c", "previous_response_id": "r"}, "conversation"),
        ({"input": [{"type": "computer_call_output"}]}, "input[0].type"),
        ({"input": [{"role": "user"}]}, "input[0]"),
        ({"input": [{"role": "robot", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "input[0].content[0].type"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "file:///etc/passwd"}]}]},
            "input[0].content[0].image_url",
        ),
    ],
)
def test_what_we_cannot_do_is_refused_by_name(body: Any, param: str | None) -> None:
    assert refused(body).param == param


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({"prompt_cache_options": {"ttl": "30m"}}, "prompt_cache_options.ttl", "Unknown parameter"),
        ({"tools": [{"type": "function", "name": "f", "foo": 1}]}, "tools[0].foo", "Unknown parameter"),
        ({"reasoning": {"mode": "pro"}}, "reasoning.mode", "it takes standard"),
        ({"include": ["everything"]}, "include[0]", "reasoning.encrypted_content"),
        ({"tools": [{"type": "function", "name": "f", "async": True}]}, "tools[0].async", "it takes false"),
        ({"input": [{"type": "program"}]}, "input[0].type", "function_call_output"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt", "send 'instructions'"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_url": "https://x"}]}]},
            "input[0].content[0].file_url",
            "upload the file",
        ),
    ],
)
def test_an_error_says_where_and_what_may_be_sent_instead(body: Any, param: str, words: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_create({"input": "x"} | body)
    assert caught.value.param == param
    assert words in caught.value.message


def test_parameters_that_ask_for_nothing_more_are_taken() -> None:
    body = {
        "input": "x",
        "store": True,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "user": "u",
        "prompt": None,
    }
    assert parse_create(body).messages


def test_a_question_that_is_passed_on_keeps_its_notices_and_the_secrets_of_its_tools() -> None:
    mcp = {"type": "mcp", "server_label": "crm", "server_url": "https://example.com", "authorization": "secret"}
    request = parse_create({"input": "go", "tools": [{"type": "web_search", "codeact:optional": True}, mcp]})
    sent = msgspec.json.encode(passed_question(request, HeldElsewhere("server", "resp_1")))
    received = received_request(msgspec.json.decode(sent, type=PassedQuestion))
    assert [notice.code for notice in received.notices] == ["tool_left_out"]
    assert received.tools == request.tools
