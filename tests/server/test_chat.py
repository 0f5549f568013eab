"""Chat Completions by the official client: code and outputs as text, and a chat that comes back goes on."""

from collections.abc import Iterator
from typing import Any

import pytest
from openai import APIStatusError, OpenAI

from codeact import events as e
from codeact.errors import InvalidRequest
from sandbox_pool.outputs import Stream
from server.chat import parse_chat
from server.chat_text import ChatText
from tests.model_server import ModelServer
from tests.server.conftest import Running

CODE = "I count.\n<execute>\nx = 6 * 7\nprint(x)\n</execute>"
USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13, "prompt_tokens_details": {"cached_tokens": 3}}


@pytest.fixture
def client(scripted: Running, model_server: ModelServer) -> Iterator[OpenAI]:
    model_server.reset()
    with OpenAI(base_url=f"{scripted.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def user(text: str) -> Any:
    return {"role": "user", "content": text}


def test_code_and_its_output_are_text_of_the_answer(client: OpenAI, model_server: ModelServer) -> None:
    model_server.reply(CODE)
    model_server.reply("It is **42**.", usage=USAGE)
    answer = client.chat.completions.create(model="codeact", messages=[user("what is x?")])
    assert answer.choices[0].message.content == (
        "I count.\n\n````python\nx = 6 * 7\nprint(x)\n````\n\n````text\n42\n````\n\nIt is **42**."
    )
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens > 13
    assert model_server.requests[0].messages[-1] == user("what is x?")


def test_chunks_give_the_same_text_and_the_usage_when_asked(client: OpenAI, model_server: ModelServer) -> None:
    model_server.reply(CODE)
    model_server.reply("It is **42**.", usage=USAGE)
    chunks = list(
        client.chat.completions.create(
            model="codeact", messages=[user("x?")], stream=True, stream_options={"include_usage": True}
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text.startswith("I count.\n\n````python\nx = 6 * 7")
    assert text.endswith("````text\n42\n````\n\nIt is **42**.")
    assert chunks[-1].usage is not None
    assert chunks[-2].choices[0].finish_reason == "stop"


def test_a_chat_that_comes_back_word_for_word_goes_on_with_its_kernel(
    client: OpenAI, model_server: ModelServer
) -> None:
    system = {"role": "system", "content": "Be brief."}
    model_server.reply(CODE)
    model_server.reply("42.")
    first = client.chat.completions.create(model="codeact", messages=[system, user("x?")]).choices[0].message.content
    model_server.reply("<execute>\nprint(x + 1)\n</execute>")
    model_server.reply("43.")
    history: Any = [system, user("x?"), {"role": "assistant", "content": first}, user("and one more?")]
    second = client.chat.completions.create(model="codeact", messages=history).choices[0].message.content
    assert second is not None
    assert "````text\n43\n````" in second
    asked = model_server.requests[-1].messages
    assert asked[0]["content"].endswith("Instructions\nBe brief.\n")
    assert [message["content"] for message in asked if message["content"] == "x?"] == ["x?"]
    model_server.reply("A new one.")
    history[2]["content"] = "changed"
    client.chat.completions.create(model="codeact", messages=history)
    assert [message["content"] for message in model_server.requests[-1].messages[1:]] == [
        "x?",
        "changed",
        "and one more?",
    ]


def test_an_image_part_reaches_the_model(client: OpenAI, model_server: ModelServer) -> None:
    model_server.reply("A pixel.")
    url = "data:image/png;base64,iVBORw0KGgo="
    parts: Any = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": url}}]
    client.chat.completions.create(model="codeact", messages=[{"role": "user", "content": parts}])
    assert model_server.requests[0].messages[-1]["content"][1]["image_url"]["url"] == url


@pytest.mark.parametrize("streamed", [False, True])
def test_what_fails_is_told_by_name(client: OpenAI, model_server: ModelServer, streamed: bool) -> None:
    for _ in range(2):
        model_server.reply(status=429, error={"message": "slow down"}, headers={"Retry-After": "0"})
    with pytest.raises(Exception, match="slow down") as caught:  # noqa: PT012 (a stream fails when it is read)
        answer = client.chat.completions.create(model="codeact", messages=[user("x")], stream=streamed)
        list(answer)
    if not streamed:
        assert isinstance(caught.value, APIStatusError)
        assert (caught.value.status_code, caught.value.code) == (429, "rate_limit_exceeded")


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"stop": ["\n"]}, "stop"),
        ({"n": 2}, "n"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"seed": 1}, "seed"),
        ({"logprobs": True}, "logprobs"),
        ({"response_format": {"type": "json_object"}}, "response_format.type"),
        ({"colour": "red"}, "colour"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "system", "content": "x"}]}, "messages"),
    ],
)
def test_what_we_cannot_do_is_refused_by_name(more: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_chat({"messages": [user("x")]} | more)
    assert caught.value.param == param


def test_models_are_listed_and_found(client: OpenAI) -> None:
    listed = [model.id for model in client.models.list()]
    assert listed == ["openai/scripted"]
    assert client.models.retrieve("openai/scripted").id == "openai/scripted"
    with pytest.raises(APIStatusError) as caught:
        client.models.retrieve("gpt-9")
    assert (caught.value.status_code, caught.value.code) == (404, "model_not_found")


def test_a_line_that_does_not_end_is_ended_before_a_fence() -> None:
    text = ChatText(images="http://here")
    call = e.CodeInterpreterCall(id="ci", container_id="c", outputs=[e.ImageOutput("/v1/blobs/abc")])
    said = [
        text.feed(event)
        for event in (
            e.OutputTextDelta(item_id="m", output_index=0, delta="Look:"),
            e.CodeDelta(item_id="ci", output_index=1, delta="print(1, end='')"),
            e.CodeDone(item_id="ci", output_index=1, code=""),
            e.CodeOutput(item_id="ci", output_index=1, output=Stream("stdout", "\x1b[1m1\x1b[0m")),
            e.OutputItemDone(output_index=1, item=call),
        )
    ]
    assert "".join(said) == (
        "Look:\n````python\nprint(1, end='')\n````\n\n````text\n1\n````\n\n![image](http://here/v1/blobs/abc)\n\n"
    )
