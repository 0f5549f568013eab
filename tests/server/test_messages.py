"""Anthropic's Messages API with the official client: code with its outputs, tools, thinking, files, errors."""

import base64
import io
import json
import zipfile
from collections.abc import Iterator
from functools import partial
from typing import Any

import anthropic
import httpx
import pytest
from anthropic import Anthropic
from anthropic.types import Message

from codeact import events as e
from codeact.server.routes import messages
from codeact.server.transports.message_blocks import MessageBlocks
from tests.clients.matrix import proved
from tests.model_server import Gate, Kept, ModelServer, Thought
from tests.server.conftest import Running

CODE = "I add.\n<execute>\nx = 6 * 7\nprint('six \"times\"', x)\n</execute>\n"
CODE_TOOL: Any = {"type": "code_execution_20250825", "name": "code_execution"}
WEATHER: Any = {
    "name": "get_weather",
    "description": "The weather of a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13, "prompt_tokens_details": {"cached_tokens": 3}}
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@pytest.fixture
def client(scripted: Running, model_server: ModelServer) -> Iterator[Anthropic]:
    model_server.reset()
    with Anthropic(base_url=scripted.url, api_key="none", max_retries=0, timeout=60) as client:
        yield client


def user(content: Any) -> Any:
    return {"role": "user", "content": content}


def ask(client: Anthropic, content: Any = "go", **more: Any) -> Message:
    return client.messages.create(**{"model": "codeact", "max_tokens": 1000, "messages": [user(content)], **more})


def kinds(message: Message) -> list[str]:
    return [block.type for block in message.content]


def stdout(message: Message) -> str:
    results = [block for block in message.content if block.type == "code_execution_tool_result"]
    return "".join(getattr(block.content, "stdout", "") for block in results)


def test_the_version_of_the_client_is_documented() -> None:
    tested = ["messages whole and streamed", "code execution", "containers", "tools", "its tool runner", "threads"]
    tested += ["thinking", "schemas", "token counts", "files", "models", "errors"]
    lacks = "tools that Anthropic runs other than code execution, an answer's beginning (prefill), batches"
    proved("`anthropic` for Python", anthropic.__version__, tested, lacks=lacks)


def test_code_and_its_outputs_are_blocks_and_the_next_message_goes_on_with_the_kernel(
    client: Anthropic, model_server: ModelServer
) -> None:
    model_server.reply(CODE)
    model_server.reply("It is 42.", usage=USAGE)
    # No other test asks this: a history whose words two conversations have goes on with neither.
    first = ask(
        client,
        "multiply",
        system="Be brief.",
        tools=[CODE_TOOL],
        stop_sequences=["END"],
        extra_body={"temperature": 0.5},
    )
    assert kinds(first) == ["text", "server_tool_use", "code_execution_tool_result", "text"]
    _, used, result, last = first.content
    assert used.type == "server_tool_use"
    assert used.input == {"code": "x = 6 * 7\nprint('six \"times\"', x)"}
    assert result.type == "code_execution_tool_result"
    assert result.content.type == "code_execution_result"
    assert (result.tool_use_id, result.content.stdout, result.content.return_code) == (used.id, 'six "times" 42\n', 0)
    assert last.type == "text"
    assert (last.text, first.stop_reason, first.model) == ("It is 42.", "end_turn", "openai/scripted")
    assert first.container is not None
    assert (first.usage.cache_read_input_tokens, first.usage.output_tokens) >= (3, 4)
    asked = model_server.requests[0].body
    assert "Be brief." in asked["messages"][0]["content"]
    assert (asked["temperature"], "END" in asked["stop"]) == (0.5, True)

    model_server.reply("<execute>\nprint(x + 1)\n</execute>")
    model_server.reply("43.")
    history = [user("multiply"), {"role": "assistant", "content": first.content}, user("and one more?")]
    assert stdout(ask(client, messages=history)) == "43\n"
    told = [message["content"] for message in model_server.requests[2].messages[1:]]
    assert told[0] == "multiply"
    assert 'six "times" 42' in "".join(told)

    model_server.reply("<execute>\nprint(x + 2)\n</execute>")
    model_server.reply("44.")
    assert stdout(ask(client, "another talk", container=first.container.id)) == "44\n"
    model_server.reply("<execute>\nprint('x' in globals())\n</execute>")
    model_server.reply("None.")
    assert stdout(ask(client, "and without it")) == "False\n"


def test_a_stop_sequence_is_named_where_the_models_server_names_it(
    client: Anthropic, model_server: ModelServer
) -> None:
    for stopped_by in ("END", "</execute>", None):
        model_server.reply("Hello.", stopped_by=stopped_by)
        message = ask(client, stop_sequences=["END"])
        named = ("stop_sequence", "END") if stopped_by == "END" else ("end_turn", None)
        assert (message.stop_reason, message.stop_sequence) == named
    model_server.reply("Hello.", stopped_by="END")
    options: Any = {"model": "codeact", "max_tokens": 1000, "messages": [user("go")], "stop_sequences": ["END"]}
    with client.messages.stream(**options) as stream:
        assert stream.get_final_message().stop_sequence == "END"


def test_a_stream_gives_the_message_piece_by_piece(client: Anthropic, model_server: ModelServer) -> None:
    gate = Gate()
    for pause in ((), (gate,)):  # What comes at once would be one piece.
        written = [Thought("I "), Thought("think."), "I ", "add.\n<execute>\nprint(", *pause, "'€\\n')\n</execute>"]
        model_server.reply(*written)
        model_server.reply("Done.", usage=USAGE)
    thinking: Any = {"type": "enabled", "budget_tokens": 5000}
    whole = ask(client, thinking=thinking)
    options: Any = {"model": "codeact", "max_tokens": 1000, "messages": [user("go")], "thinking": thinking}
    events = []
    with client.messages.stream(**options) as stream:
        for event in stream:
            events.append(event)
            if event.type == "input_json" and "print(" in event.partial_json:
                gate.open()
        streamed = stream.get_final_message()
    assert kinds(streamed) == ["thinking", "text", "server_tool_use", "code_execution_tool_result", "text"]
    assert next(event.type for event in events) == "message_start"
    assert "".join(event.text for event in events if event.type == "text") == "I add.\n\nDone."
    pieces = [event.partial_json for event in events if event.type == "input_json"]
    assert (json.loads("".join(pieces)), len(pieces) > 3) == ({"code": "print('€\\n')"}, True)

    def without_ids(message: Message) -> Any:
        blocks = message.to_dict()["content"]
        return [{name: value for name, value in block.items() if "id" not in name} for block in blocks]  # type: ignore[attr-defined]

    assert without_ids(streamed)[1:] == without_ids(whole)[1:]
    assert (streamed.stop_reason, streamed.usage.output_tokens) == ("end_turn", whole.usage.output_tokens)
    thought = streamed.content[0]
    assert thought.type == "thinking"
    assert (thought.thinking, bool(thought.signature)) == ("I think.", True)
    assert model_server.requests[0].body["reasoning_effort"] == "medium"


def test_text_that_turns_out_to_be_a_thought_gets_no_signature() -> None:
    blocks = MessageBlocks(thinking=True)
    thought = e.Reasoning(id="msg_1", encrypted_content="sealed", status="completed")
    events = [e.OutputTextDelta("msg_1", 0, "Hmm."), e.OutputItemDone(0, thought)]
    made = [made for event in events for made in blocks.feed(event)]
    assert [each["type"] for each in made] == ["content_block_start", "content_block_delta", "content_block_stop"]
    assert blocks.content == [{"type": "text", "text": "Hmm."}]


def test_thinking_goes_back_to_its_model_by_its_signature_and_is_only_shown_when_asked(
    client: Anthropic, model_server: ModelServer
) -> None:
    details = [{"type": "reasoning.encrypted", "data": "opaque-details", "index": 0}]
    model_server.reply(Thought("secret thought"), Kept({"reasoning_details": details}), "Hello.")
    adaptive: Any = {"type": "adaptive", "display": "omitted"}
    first = ask(client, thinking=adaptive)
    assert kinds(first) == ["thinking", "text"]
    assert first.content[0].to_dict()["thinking"] == ""
    model_server.reply("Again.")
    history = [user("go"), {"role": "assistant", "content": first.content}, user("more")]
    ask(client, messages=history, thinking=adaptive)
    told = next(message for message in model_server.requests[1].messages if message["role"] == "assistant")
    assert told["reasoning_details"][0]["data"] == "opaque-details"
    model_server.reply(Thought("hidden"), "Shown.")
    assert kinds(ask(client)) == ["text"]


def test_a_tool_of_the_client_is_a_function_of_the_code(client: Anthropic, model_server: ModelServer) -> None:
    model_server.reply("I look.\n<execute>\nprint('asking')\nprint('sky', get_weather('Bern'))\n</execute>")
    model_server.reply("It is sunny.")
    first = ask(client, tools=[WEATHER, CODE_TOOL])
    assert kinds(first) == ["text", "server_tool_use", "code_execution_tool_result", "tool_use"]
    assert (stdout(first), first.stop_reason) == ("asking\n", "tool_use")
    call = first.content[-1]
    assert call.type == "tool_use"
    assert (call.name, call.input) == ("get_weather", {"city": "Bern"})
    value = {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "blue"}]}
    history = [user("go"), {"role": "assistant", "content": first.content}, user([value])]
    second = ask(client, messages=history, tools=[WEATHER, CODE_TOOL])
    assert kinds(second) == ["server_tool_use", "code_execution_tool_result", "text"]
    assert (stdout(second), second.stop_reason) == ("sky blue\n", "end_turn")
    assert "asking\nsky blue" in model_server.requests[1].messages[-1]["content"]
    history += [{"role": "assistant", "content": second.content}, user("thanks")]
    model_server.reply("<execute>\nprint('still', get_weather)\n</execute>")
    model_server.reply("Welcome.")
    assert "still <function get_weather" in stdout(ask(client, messages=history, tools=[WEATHER, CODE_TOOL]))


def test_the_apis_own_tools_of_the_client_are_functions_and_their_values_may_have_images(
    client: Anthropic, model_server: ModelServer
) -> None:
    tools: Any = [
        {"type": "bash_20250124", "name": "bash"},
        {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool", "max_characters": 1000},
    ]
    code = (
        "print(bash(command='ls'))\nseen = str_replace_based_edit_tool(command='view', path='a.png')\nprint(len(seen))"
    )
    model_server.reply(f"<execute>\n{code}\n</execute>")
    first = ask(client, tools=tools)
    call = first.content[-1]
    assert call.type == "tool_use"
    assert (call.name, call.input) == ("bash", {"command": "ls"})
    history = [user("go"), {"role": "assistant", "content": first.content}]
    history.append(user([{"type": "tool_result", "tool_use_id": call.id, "content": "a.png"}]))
    second = ask(client, messages=history, tools=tools)
    call = second.content[-1]
    assert call.type == "tool_use"
    assert (call.name, call.input["path"]) == ("str_replace_based_edit_tool", "a.png")
    source = {"type": "base64", "media_type": "image/png", "data": PNG}
    parts = [{"type": "text", "text": "It is red."}, {"type": "image", "source": source}]
    history += [{"role": "assistant", "content": second.content}]
    history.append(user([{"type": "tool_result", "tool_use_id": call.id, "content": parts}]))
    model_server.reply("A red pixel.")
    third = ask(client, messages=history, tools=tools)
    assert stdout(third) == "2\n"
    assert PNG in str(model_server.requests[-1].messages)


def test_a_tool_that_failed_raises_in_the_code(client: Anthropic, model_server: ModelServer) -> None:
    code = "try:\n    get_weather('Bern')\nexcept Exception as error:\n    print('failed:', error)"
    model_server.reply(f"<execute>\n{code}\n</execute>")
    model_server.reply("It failed.")
    first = ask(client, tools=[WEATHER])
    call = first.content[-1].to_dict()
    value = {"type": "tool_result", "tool_use_id": call["id"], "content": "no such city", "is_error": True}
    history = [user("go"), {"role": "assistant", "content": first.content}, user([value])]
    assert stdout(ask(client, messages=history, tools=[WEATHER])) == "failed: no such city\n"


def test_the_clients_own_tool_runner_works(client: Anthropic, model_server: ModelServer) -> None:
    @anthropic.beta_tool
    def add(left: int, right: int) -> str:
        """Adds two numbers."""
        return str(left + right)

    model_server.reply("<execute>\nprint('sum', add(left=2, right=3))\n</execute>")
    model_server.reply("Five.")
    runner = client.beta.messages.tool_runner(
        model="codeact", max_tokens=1000, messages=[user("add")], tools=[add], betas=["code-execution-2025-08-25"]
    )
    last = runner.until_done()
    assert [block.text for block in last.content if block.type == "text"] == ["Five."]
    assert "sum 5" in model_server.requests[1].messages[-1]["content"]


def test_a_thread_goes_on_after_a_response_whose_container_had_a_skill(
    client: Anthropic, scripted: Running, model_server: ModelServer
) -> None:
    skill = {"type": "inline", "name": "greet", "description": "How to greet.", "source": zipped("greet")}
    container = {"type": "auto", "skills": [skill]}
    model_server.reply("Yes.")
    body = {"input": "go", "tools": [{"type": "code_interpreter", "container": container}]}
    answer = httpx.post(f"{scripted.url}/v1/responses", json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    last = answer.json()["id"].replace("resp_", "msg_", 1)
    model_server.reply("Still here.")
    message = ask(client, extra_body={"thread": {"type": "continue", "previous_message_id": last}})
    assert message.content[0].text == "Still here."  # type: ignore[union-attr]


def zipped(name: str) -> dict[str, str]:
    """An archive of a skill, as requests bring it."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("SKILL.md", f"---\nname: {name}\ndescription: How to greet.\n---\nSay hello.\n")
    data = base64.b64encode(archive.getvalue()).decode()
    return {"type": "base64", "media_type": "application/zip", "data": data}


def test_a_thread_keeps_what_was_said_its_system_prompt_and_its_tools(
    client: Anthropic, model_server: ModelServer
) -> None:
    thread = client.beta.messages.thread(model="codeact", max_tokens=1000, system="Be brief.", tools=[WEATHER])
    model_server.reply("<execute>\ny = 5\n</execute>")
    model_server.reply("Set.")
    thread.send({"role": "user", "content": "set y"})
    model_server.reply("<execute>\nprint(y)\n</execute>")
    model_server.reply("Five.")
    thread.send({"role": "user", "content": "print y"})
    told = model_server.requests[-1].messages
    assert "Be brief." in told[0]["content"]
    assert "get_weather(city: str)" in told[0]["content"]
    assert next(message["content"] for message in told if message["role"] == "user") == "set y"
    assert "5" in told[-1]["content"]
    with pytest.raises(anthropic.NotFoundError, match="msg_none") as failed:
        ask(client, extra_body={"thread": {"type": "continue", "previous_message_id": "msg_none"}})
    assert failed.value.body["error"]["details"] == {"error_code": "thread_not_found"}  # type: ignore[index]


def test_an_exception_is_the_result_of_its_code(client: Anthropic, model_server: ModelServer) -> None:
    model_server.reply("<execute>\nprint('before')\n1 / 0\n</execute>")
    model_server.reply("It failed.")
    [_, result, _] = ask(client).content
    assert result.type == "code_execution_tool_result"
    assert result.content.type == "code_execution_result"
    assert (result.content.return_code, result.content.stdout) == (1, "before\n")
    assert "ZeroDivisionError: division by zero" in result.content.stderr


def test_images_and_documents_reach_the_model_and_the_code(client: Anthropic, model_server: ModelServer) -> None:
    model_server.reply("<execute>\nprint(open('notes.txt').read())\n_ = open('out.csv', 'w').write('1')\n</execute>")
    model_server.reply("See out.csv.")
    content = [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
        {
            "type": "document",
            "title": "notes.txt",
            "source": {"type": "text", "media_type": "text/plain", "data": "secret"},
        },
        {"type": "text", "text": "What is this?", "cache_control": {"type": "ephemeral"}},
    ]
    answer = ask(client, content)
    assert stdout(answer) == "secret\n"
    assert answer.content[-1].type == "container_upload"
    asked = model_server.requests[0].messages[-1]["content"]
    assert any(part["type"] == "image_url" and PNG in part["image_url"]["url"] for part in asked)


def test_tokens_are_counted_without_an_answer(client: Anthropic, model_server: ModelServer) -> None:
    short = client.messages.count_tokens(model="codeact", messages=[user("one")])
    long = client.messages.count_tokens(model="codeact", messages=[user("one " * 500)], tools=[WEATHER])
    assert 0 < short.input_tokens < long.input_tokens
    broken: Any = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "!"}}
    for asked in (client.messages.count_tokens, partial(client.messages.create, max_tokens=9)):
        with pytest.raises(anthropic.BadRequestError, match="at messages"):
            asked(model="codeact", messages=[user([broken])])
    assert model_server.requests == []


def test_an_answer_that_is_too_long_says_so(client: Anthropic, model_server: ModelServer) -> None:
    model_server.reply("It is", finish="length")
    assert ask(client, max_tokens=5).stop_reason == "max_tokens"


def test_json_of_a_schema_is_asked_for_as_the_official_client_does(
    client: Anthropic, model_server: ModelServer
) -> None:
    model_server.reply('{"city": "Bern"}')
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    }
    answer = ask(client, output_config={"format": {"type": "json_schema", "schema": schema}, "effort": "low"})
    assert json.loads(answer.content[-1].to_dict()["text"]) == {"city": "Bern"}  # type: ignore[arg-type]


def test_a_ping_keeps_the_stream_alive(
    scripted: Running, model_server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "KEEP_ALIVE_S", 0.05)
    gate = Gate()
    model_server.reset()
    model_server.reply("Before ", gate, "after.")
    body = {"model": "codeact", "max_tokens": 9, "messages": [user("go")], "stream": True}
    with httpx.stream("POST", f"{scripted.url}/v1/messages", json=body, trust_env=False, timeout=60) as answer:
        lines = answer.iter_lines()
        pings = (line for line in lines if line == "event: ping")
        assert [next(pings) for _ in range(3)] == ["event: ping"] * 3
        gate.open()
        assert [line for line in lines if line][-2] == "event: message_stop"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"top_k": -1}, "top_k"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "web_search_20250305"),
        ({"tools": [{"type": "computer_20250124", "name": "computer"}]}, "computer_20250124"),
        ({"tool_choice": {"type": "tool", "name": "nobody"}}, "'nobody'"),
        ({"mcp_servers": [{"url": "https://x.example"}]}, "CODEACT_MCP_CONFIG"),
        ({"messages": [user("")]}, "'messages' is empty"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": [user("x"), {"role": "assistant", "content": "The answer is ("}]}, "beginning of an answer"),
        ({"messages": [user([{"type": "image", "source": {"type": "url", "url": "https://x.example/a"}}])]}, "'url'"),
        ({"messages": [user([{"type": "tool_result", "tool_use_id": "toolu_none", "content": "1"}])]}, "toolu_none"),
        ({"speed": "fast"}, "speed"),
        ({"colour": "red"}, "colour"),
        ({"output_config": {"format": {"type": "json_schema", "schema": {"type": "none"}}}}, "output_config.format"),
    ],
)
def test_what_cannot_be_served_is_refused_by_name(client: Anthropic, wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(anthropic.BadRequestError) as refused:
        ask(client, **{"extra_body": wrong, **({"messages": wrong["messages"]} if "messages" in wrong else {})})
    body: Any = refused.value.body
    assert (body["type"], body["error"]["type"]) == ("error", "invalid_request_error")
    assert told in body["error"]["message"]
    assert body["request_id"] == refused.value.response.headers["request-id"] == refused.value.request_id


def test_errors_are_the_official_clients(client: Anthropic, scripted: Running, model_server: ModelServer) -> None:
    with pytest.raises(anthropic.NotFoundError, match="cntr_none"):
        ask(client, container="cntr_none")
    with pytest.raises(anthropic.NotFoundError, match="gpt-none"):
        ask(client, model="gpt-none")
    with pytest.raises(anthropic.BadRequestError, match="2023-06-01"):
        ask(client, extra_headers={"anthropic-version": "2030-01-01"})
    for stream in (False, True):
        model_server.reply(status=400, error={"message": "no such luck"})
        with pytest.raises(anthropic.APIStatusError) as failed:
            list(ask(client, stream=stream))  # type: ignore[call-overload]
        body: Any = failed.value.body
        assert (body["type"], body["error"]["type"]) == ("error", "api_error")
    answer = httpx.get(f"{scripted.url}/v1/messages", trust_env=False)
    assert (answer.status_code, answer.json()["error"]["type"]) == (405, "invalid_request_error")


def test_files_go_up_and_what_code_wrote_comes_down(client: Anthropic, model_server: ModelServer) -> None:
    uploaded = client.beta.files.upload(file=("a.csv", b"x,y\n1,2\n", "text/csv"), expires_in_seconds=3600)
    assert (uploaded.type, uploaded.mime_type, uploaded.size_bytes) == ("file", "text/csv", 8)
    assert uploaded.expires_at is not None
    model_server.reply("<execute>\nopen('b.txt', 'w').write(open('a.csv').read() * 2)\n</execute>")
    model_server.reply("Written.")
    message = ask(client, [{"type": "container_upload", "file_id": uploaded.id}, {"type": "text", "text": "double it"}])
    (written,) = [block for block in message.content if block.type == "container_upload"]
    assert client.beta.files.retrieve_metadata(written.file_id).filename == "b.txt"
    assert client.beta.files.download(written.file_id).read() == b"x,y\n1,2\n" * 2
    found = client.beta.files.list(ids=[uploaded.id, written.file_id, "file-none"])
    assert [file.id for file in found.data] == [uploaded.id, written.file_id]
    more = client.beta.files.upload(file=("c.txt", b"c"))
    assert [file.id for _, file in zip(range(2), client.beta.files.list(limit=1), strict=False)] == [
        more.id,
        uploaded.id,
    ]
    older = {"beta": "true", "after_id": more.id}
    assert client.beta.files.list(limit=1, extra_query=older).data[0].id == uploaded.id
    assert client.beta.files.delete(uploaded.id).type == "file_deleted"
    with pytest.raises(anthropic.NotFoundError):
        client.beta.files.retrieve_metadata(uploaded.id)


def test_skills_in_the_shapes_of_this_api_are_refused_by_name(client: Anthropic) -> None:
    with pytest.raises(anthropic.BadRequestError, match="package 'openai'"):
        client.beta.skills.create(files=[("greeting/SKILL.md", b"---\nname: greeting\n---\n")])
    with pytest.raises(anthropic.BadRequestError, match="anthropic-version"):
        client.beta.skills.list()


def test_models_are_listed_in_the_shape_of_the_api(client: Anthropic) -> None:
    listed = list(client.models.list())
    assert {"codeact"} < {model.id for model in listed}
    assert all(model.type == "model" and model.display_name == model.id for model in listed)
    assert client.models.retrieve("codeact").type == "model"


def test_models_come_in_pages(client: Anthropic) -> None:
    names = [model.id for model in client.models.list().data]
    assert len(names) > 1
    assert [model.id for model in client.models.list(limit=1)] == names
    assert [model.id for model in client.models.list(after_id=names[0]).data] == names[1:]
    before = client.models.list(before_id=names[-1], limit=1)
    assert ([model.id for model in before.data], before.has_more) == ([names[-2]], len(names) > 2)
    with pytest.raises(anthropic.BadRequestError, match="no model 'nobody'"):
        client.models.list(after_id="nobody")


def test_top_k_reaches_a_model_whose_server_takes_it(client: Anthropic, model_server: ModelServer) -> None:
    model_server.reply("Hello.")
    ask(client, "hi", extra_body={"top_k": 5})  # The client has no parameter of this name any more.
    assert model_server.requests[0].body["top_k"] == 5
