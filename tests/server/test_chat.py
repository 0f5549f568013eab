"""Chat Completions with the official client: code and outputs as text, and resent chats that continue."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from openai import APIStatusError, OpenAI
from pydantic import BaseModel

from codeact import events as e
from codeact.errors import InvalidRequest
from codeact.server.requests.tool_choices import FunctionChoice
from codeact.server.routes import chat
from codeact.server.transports.chat_completions import as_create, parse_chat
from codeact.server.transports.chat_text import ChatText
from sandbox_pool.outputs import Stream
from tests.model_server import Gate, ModelServer
from tests.server.conftest import Running

PICTURE: Any = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
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


def test_a_comment_keeps_the_connection_alive_while_nothing_happens(
    scripted: Running, model_server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat, "KEEP_ALIVE_S", 0.05)
    gate = Gate()
    model_server.reset()
    model_server.reply("Before ", gate, "after.")
    body = {"model": "codeact", "messages": [user("go")], "stream": True}
    with httpx.stream("POST", f"{scripted.url}/v1/chat/completions", json=body, trust_env=False) as answer:
        lines = answer.iter_lines()
        assert any(line == ": keep-alive" for line in lines)
        gate.open()
        assert [line for line in lines if line][-1] == "data: [DONE]"


def test_events_are_not_decoded_in_the_process_that_encoded_them(
    client: OpenAI, model_server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decoded(frame: str) -> Any:
        raise AssertionError(f"decoded: {frame}")

    monkeypatch.setattr(e, "decode_event", decoded)
    model_server.reply(CODE)
    model_server.reply("It is 42.")
    chunks = client.chat.completions.create(model="codeact", messages=[user("what is x?")], stream=True)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text.endswith("42\n````\n\nIt is 42.")


def test_a_chat_chooses_the_dialect(client: OpenAI, model_server: ModelServer) -> None:
    for dialect in ("tool_call", "tags"):
        model_server.reply("Hello.")
        body = {"codeact:dialect": dialect}
        client.chat.completions.create(model="codeact", messages=[user("hello")], extra_body=body)
        assert ("tools" in model_server.requests[-1].body) == (dialect == "tool_call")


def test_a_dialect_that_the_model_cannot_speak_is_refused_by_name(client: OpenAI) -> None:
    body = {"codeact:dialect": "freeform"}
    with pytest.raises(APIStatusError, match="freeform") as refused:
        client.chat.completions.create(model="codeact", messages=[user("hello")], extra_body=body)
    assert refused.value.status_code == 400


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


WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def test_functions_of_the_client_are_called_from_code_and_go_on_with_their_values(
    client: OpenAI, model_server: ModelServer
) -> None:
    model_server.reply(
        "I ask.\n<execute>\nsky = [get_weather(city)['sky'] for city in ('Bern', 'Basel')]\nprint(sky)\n</execute>"
    )
    model_server.reply("Blue and grey.")
    history: Any = [user("weather?")]
    for city, sky in (("Bern", "blue"), ("Basel", "grey")):
        answer = client.chat.completions.create(model="codeact", messages=history, tools=[WEATHER]).choices[0]
        assert answer.finish_reason == "tool_calls"
        [call] = answer.message.tool_calls or []
        assert call.type == "function"
        assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", {"city": city})
        value = {"role": "tool", "tool_call_id": call.id, "content": f'{{"sky": "{sky}"}}'}
        history += [answer.message.model_dump(exclude_none=True), value]
    last = client.chat.completions.create(model="codeact", messages=history, tools=[WEATHER]).choices[0]
    assert last.finish_reason == "stop"
    assert last.message.content == "````text\n['blue', 'grey']\n````\n\nBlue and grey."
    model_server.reply("<execute>\nprint(len(sky))\n</execute>")
    model_server.reply("Two.")
    history += [last.message.model_dump(exclude_none=True), user("how many?")]
    again = client.chat.completions.create(model="codeact", messages=history, tools=[WEATHER]).choices[0]
    assert again.message.content is not None
    assert "````text\n2\n````" in again.message.content
    # A chat that was changed is read as it is: its code is in its text, and does not come from the stored one, too.
    model_server.reply("Yes.")
    history += [again.message.model_dump(exclude_none=True), user("sure?")]
    history[0] = user("the sky?")
    client.chat.completions.create(model="codeact", messages=history, tools=[WEATHER])
    told = "\n".join(str(message["content"]) for message in model_server.requests[-1].messages)
    assert (told.count("for city in ('Bern', 'Basel')"), told.count("print(len(sky))")) == (1, 1)


def test_calls_are_streamed_with_their_index(client: OpenAI, model_server: ModelServer) -> None:
    model_server.reply("<execute>\nget_weather('Bern')\n</execute>")
    chunks = list(client.chat.completions.create(model="codeact", messages=[user("go")], tools=[WEATHER], stream=True))
    [call] = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []]
    assert call.function is not None
    assert (call.index, call.type, call.function.name) == (0, "function", "get_weather")
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_values_of_calls_that_are_not_ours_are_told_in_words(client: OpenAI, model_server: ModelServer) -> None:
    function = {"name": "get_weather", "arguments": '{"city":"Bern"}'}
    history: Any = [
        user("weather?"),
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call_9", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": "call_9", "content": "blue"},
    ]
    model_server.reply("It is blue.")
    answer = client.chat.completions.create(model="codeact", messages=history).choices[0].message.content
    assert answer == "It is blue."
    told = str(model_server.requests[0].messages)
    assert "get_weather" in told
    assert "blue" in told


def test_an_image_part_reaches_the_model(client: OpenAI, model_server: ModelServer) -> None:
    model_server.reply("A pixel.")
    url = "data:image/png;base64,iVBORw0KGgo="
    parts: Any = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": url}}]
    client.chat.completions.create(model="codeact", messages=[{"role": "user", "content": parts}])
    assert model_server.requests[0].messages[-1]["content"][1]["image_url"]["url"] == url


TITLE = "### Task:\nGenerate a concise title.\n### Chat History:\n<chat_history>\nUSER: hi\n</chat_history>"


@pytest.mark.parametrize(
    ("more", "is_kept"),
    [
        ({"messages": [user(TITLE)]}, False),
        ({"messages": [{"role": "system", "content": "Be kind."}, user(TITLE)]}, False),
        ({"messages": [user("Provide a concise, 5-word-or-less title for the conversation, please:\n\nhi")]}, False),
        ({"messages": [user("hi")], "store": False}, False),
        ({"messages": [user("hi"), {"role": "assistant", "content": "Hello."}, user(TITLE)]}, True),
        ({"messages": [user("### Task: count to ten")]}, True),
        ({"messages": [user("hi")], "store": True}, True),
        ({"messages": [user(TITLE)], "store": True}, True),
    ],
)
def test_titles_and_tags_that_a_chat_page_asks_for_are_no_conversations(
    client: OpenAI, scripted: Running, model_server: ModelServer, more: dict[str, Any], is_kept: bool
) -> None:
    model_server.reply("Greetings")
    answer = client.chat.completions.create(model="codeact", **more)
    read = httpx.get(f"{scripted.url}/v1/responses/{answer.id.removeprefix('chatcmpl-')}", trust_env=False, timeout=60)
    assert read.status_code == (200 if is_kept else 404)


def test_a_title_of_a_forced_function_is_made_by_that_function() -> None:
    forced: Any = {"type": "function", "function": {"name": "get_weather"}}
    asked = as_create(parse_chat({"messages": [user(TITLE)], "tools": [WEATHER], "tool_choice": forced}), None)
    assert (asked.store, asked.tool_choice) == (False, FunctionChoice("get_weather"))


def test_an_unstored_answer_takes_no_stored_chats_place(client: OpenAI, model_server: ModelServer) -> None:
    for reply in ("<execute>\nkept = 5\n</execute>", "Hello.") * 2:
        model_server.reply(reply)
    first, second = (
        client.chat.completions.create(model="codeact", messages=[user("hi there")], store=stored)
        for stored in (True, False)
    )
    said = first.choices[0].message
    assert second.choices[0].message.content == said.content
    model_server.reply("<execute>\nprint(kept)\n</execute>")
    model_server.reply("Five.")
    history: Any = [user("hi there"), said.model_dump(exclude_none=True), user("print it")]
    again = client.chat.completions.create(model="codeact", messages=history)
    assert "````text\n5\n````" in (again.choices[0].message.content or "")


def test_errors_name_the_parameters_of_this_api(client: OpenAI) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,!"}}
    for content in ("", [picture]):
        with pytest.raises(APIStatusError) as refused:
            client.chat.completions.create(model="codeact", messages=[user(content)])
        assert refused.value.param == "messages"
        assert "'input'" not in refused.value.message


def test_a_value_of_a_call_keeps_its_white_space_and_its_images() -> None:
    def value(content: Any) -> Any:
        function = {"name": "get_weather", "arguments": "{}"}
        called = {"role": "assistant", "tool_calls": [{"id": "call_1", "type": "function", "function": function}]}
        result = {"role": "tool", "tool_call_id": "call_1", "content": content}
        return as_create(parse_chat({"messages": [user("go"), called, result]}), None).input[-1].output  # type: ignore[union-attr]

    assert value("  indented\n") == "  indented\n"
    assert value([{"type": "text", "text": " a"}]) == " a"
    [text, image] = value([{"type": "text", "text": "a"}, PICTURE])
    assert (text.text, image.image_url) == ("a", PICTURE["image_url"]["url"])


class Sum(BaseModel):
    value: int


@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_that_a_program_reads_has_neither_code_nor_outputs(
    client: OpenAI, model_server: ModelServer, streamed: bool
) -> None:
    model_server.reply(CODE)
    model_server.reply('```json\n{"value": 42}\n```')
    asked: Any = {"model": "codeact", "messages": [user("x?")], "response_format": Sum, "verbosity": "low"}
    if streamed:
        with client.chat.completions.stream(**asked) as stream:
            completion: Any = stream.get_final_completion()
    else:
        completion = client.chat.completions.parse(**asked)
    assert completion.choices[0].message.content == '{"value": 42}'
    assert completion.choices[0].message.parsed == Sum(value=42)


def test_a_schema_that_is_none_is_refused_by_name(client: OpenAI) -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "number of pages"}}}
    with pytest.raises(APIStatusError) as caught:
        client.chat.completions.create(model="codeact", messages=[user("x")], response_format=schema)  # type: ignore[call-overload]
    assert caught.value.body["param"] == "response_format.json_schema.schema"  # type: ignore[index]


def test_a_custom_tool_that_must_be_called_is_called_with_text(client: OpenAI, model_server: ModelServer) -> None:
    tool: Any = {"type": "custom", "custom": {"name": "sh", "format": {"type": "text"}}}
    choices: list[Any] = [
        {"type": "custom", "custom": {"name": "sh"}},
        {
            "type": "allowed_tools",
            "allowed_tools": {"mode": "required", "tools": [{"type": "custom", "custom": {"name": "sh"}}]},
        },
    ]
    for choice in choices:
        model_server.reset()
        model_server.reply("I need no tool.")
        model_server.reply("<execute>\nprint(sh('ls'))\n</execute>")
        model_server.reply("Two files.")
        asked: list[Any] = [user("list")]
        first = client.chat.completions.create(model="codeact", messages=asked, tools=[tool], tool_choice=choice)
        (call,) = first.choices[0].message.tool_calls or ()
        assert call.type == "custom"
        assert (call.custom.name, call.custom.input) == ("sh", "ls")
        asked += [first.choices[0].message.model_dump(exclude_none=True)]
        asked += [{"role": "tool", "tool_call_id": call.id, "content": "a b"}]
        last = client.chat.completions.create(model="codeact", messages=asked, tools=[tool])
        assert "a b" in str(last.choices[0].message.content)
        assert str(last.choices[0].message.content).endswith("Two files.")


def test_a_file_of_a_message_is_there_for_code(client: OpenAI, model_server: ModelServer) -> None:
    uploaded = client.files.create(file=("b.txt", b"bee"), purpose="user_data")
    model_server.reply("<execute>\nprint(open('a.txt').read(), open('b.txt').read())\n</execute>")
    model_server.reply("Read.")
    files: list[Any] = [
        {"type": "file", "file": {"filename": "a.txt", "file_data": "data:text/plain;base64,YXk="}},
        {"type": "file", "file": {"file_id": uploaded.id}},
    ]
    message: Any = user("read")
    message["content"] = [{"type": "text", "text": "read"}, *files]
    answer = client.chat.completions.create(model="codeact", messages=[message])
    assert "ay bee" in str(answer.choices[0].message.content)


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


def test_a_failure_of_the_model_has_the_type_that_says_so(client: OpenAI, model_server: ModelServer) -> None:
    model_server.reply(status=400, error={"message": "no such luck"})
    with pytest.raises(APIStatusError) as failed:
        client.chat.completions.create(model="codeact", messages=[user("x")])
    assert (failed.value.status_code, failed.value.code, failed.value.type) == (502, "model_refused", "model_error")


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"stop": ["a"] * 5}, "stop"),
        ({"n": 2}, "n"),
        ({"tools": [{"type": "function"}]}, "tools[0]"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tool_choice": "always"}, "tool_choice"),
        ({"seed": "one"}, "seed"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"response_format": {"type": "grammar"}}, "response_format.type"),
        ({"colour": "red"}, "colour"),
        ({"messages": []}, "messages"),
        ({"messages": [user("x"), {"role": "tool", "content": "x"}]}, "messages[1].tool_call_id"),
        ({"messages": [{"role": "function", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "system", "content": "x"}]}, "messages"),
        ({"messages": [{"role": "system", "content": [PICTURE]}, user("x")]}, "messages[0].content"),
    ],
)
def test_what_we_cannot_do_is_refused_by_name(more: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_chat({"messages": [user("x")]} | more)
    assert caught.value.param == param


def test_models_are_listed_and_found(client: OpenAI) -> None:
    listed = [model.id for model in client.models.list()]
    assert listed == ["openai/scripted", "openai/other", "codeact"]
    assert client.models.retrieve("openai/scripted").id == "openai/scripted"
    with pytest.raises(APIStatusError) as caught:
        client.models.retrieve("gpt-9")
    assert (caught.value.status_code, caught.value.code) == (404, "model_not_found")


def test_a_line_that_does_not_end_is_ended_before_a_fence() -> None:
    text = ChatText(images="http://here")
    call = e.CodeInterpreterCall(id="ci", container_id="c", outputs=[e.ImageOutput(f"blob:{'0' * 64}")])
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
        "Look:\n````python\nprint(1, end='')\n````\n\n````text\n1\n````\n\n"
        f"![image](http://here/v1/blobs/{'0' * 64})\n\n"
    )


def test_outputs_that_come_while_the_code_is_written_follow_it() -> None:
    text = ChatText(images="http://here")
    said = [
        text.feed(event)
        for event in (
            e.CodeDelta(item_id="ci", output_index=0, delta="print(1)\nprint"),
            e.CodeOutput(item_id="ci", output_index=0, output=Stream("stdout", "1\n")),
            e.CodeDelta(item_id="ci", output_index=0, delta="(2)"),
            e.CodeDone(item_id="ci", output_index=0, code=""),
            e.CodeOutput(item_id="ci", output_index=0, output=Stream("stdout", "2\n")),
            e.OutputItemDone(output_index=0, item=e.CodeInterpreterCall(id="ci", container_id="c", outputs=[])),
        )
    ]
    assert "".join(said) == "````python\nprint(1)\nprint(2)\n````\n\n````text\n1\n2\n````\n\n"
