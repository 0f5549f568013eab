"""Custom tools, namespaces, images in functions' values, and clients that keep the conversation themselves."""

import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
from openai.types.responses import Response

from codeact import events as e
from codeact.runs.new_run import NewRun
from codeact.runs.resume_points import ResumePoint
from codeact.runs.unstored_conversations import MOST_OF_OWNER, UnstoredConversations
from tests.model_server import ModelServer
from tests.server.conftest import Running

FIND: Any = {"type": "function", "name": "find", "parameters": {"type": "object", "properties": {"q": {}}}}
NOTE: Any = {
    "type": "custom",
    "name": "note",
    "format": {"type": "grammar", "syntax": "regex", "definition": "[a-z ]+"},
}
CRM: Any = {"type": "namespace", "name": "crm", "description": "Customers.", "tools": [FIND, NOTE]}
PNG = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAA"
    "AfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


@pytest.fixture(scope="module")
def server(make_server: Callable[..., Running], model_server: ModelServer) -> Running:
    return make_server(
        model="openai/scripted", model_api_base=model_server.base_url, model_api_key="test", api_keys="key-a,key-b"
    )


@pytest.fixture
def client(server: Running, model_server: ModelServer) -> Iterator[openai.OpenAI]:
    model_server.reset()
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="key-a", timeout=60, max_retries=0) as client:
        yield client


def code(text: str) -> str:
    return f"I look.\n<execute>\n{text}\n</execute>\n"


def ask(client: openai.OpenAI, **more: Any) -> Response:
    return client.responses.create(model="codeact", **{"input": "go", "tools": [CRM, NOTE], **more})


def calls(response: Response) -> list[Any]:
    return [item for item in response.output if item.type in ("function_call", "custom_tool_call")]


def logs(response: Response) -> str:
    blocks = [item for item in response.output if item.type == "code_interpreter_call"]
    return "".join(part.logs for block in blocks for part in block.outputs or () if part.type == "logs")


def value(call: Any, output: Any) -> Any:
    return {"type": f"{call.type}_output", "call_id": call.call_id, "output": output}


def test_functions_of_a_namespace_and_custom_tools(client: openai.OpenAI, model_server: ModelServer) -> None:
    for reply in (code("print(crm.find(q='Ann')['id'])\nprint(note('call ann'))"), "Done."):
        model_server.reply(reply)
    with client.responses.stream(model="codeact", input="go", tools=[CRM, NOTE]) as stream:
        list(stream)
        first: Any = stream.get_final_response()
    (found,) = calls(first)
    assert (found.type, found.namespace, found.name) == ("function_call", "crm", "find")
    with client.responses.stream(
        model="codeact", previous_response_id=first.id, input=[value(found, '{"id": 7}')], tools=[CRM, NOTE]
    ) as stream:
        kinds = [event.type for event in stream]
        second: Any = stream.get_final_response()
    (noted,) = calls(second)
    assert (noted.type, noted.name, noted.input) == ("custom_tool_call", "note", "call ann")
    at = kinds.index("response.custom_tool_call_input.delta")
    assert kinds[at - 1 : at + 3] == [
        "response.output_item.added",
        "response.custom_tool_call_input.delta",
        "response.custom_tool_call_input.done",
        "response.output_item.done",
    ]
    third = ask(client, previous_response_id=second.id, input=[value(noted, "noted")])
    assert third.output_text == "Done."
    assert "crm: Customers." in model_server.requests[0].messages[0]["content"]
    assert model_server.requests[1].messages[-1]["content"].count("Observation:") == 1
    assert "7\nnoted" in model_server.requests[1].messages[-1]["content"]


@pytest.mark.parametrize("knows", [True, False])
def test_a_call_names_the_code_that_made_it_to_clients_that_know_programs(
    client: openai.OpenAI, model_server: ModelServer, knows: bool
) -> None:
    model_server.reply(code("crm.find(q='Ann')"))
    tools = [CRM, {"type": "programmatic_tool_calling"}] if knows else [CRM]
    first = ask(client, tools=tools)
    (found,) = calls(first)
    (block,) = (item for item in first.output if item.type == "code_interpreter_call")
    assert (found.caller.to_dict() if knows else found.caller) == (
        {"type": "program", "caller_id": block.id} if knows else None
    )


def test_a_text_that_does_not_match_the_grammar_is_an_error_in_the_code(
    client: openai.OpenAI, model_server: ModelServer
) -> None:
    model_server.reply(code("try:\n    note('line\\nNOTE')\nexcept ValueError as error:\n    print(error)"))
    model_server.reply("Done.")
    response = ask(client)
    assert not calls(response)
    assert "note() takes a text in its format (regex grammar): line 1 does not fit from '\\nNOTE' on." in logs(response)


def test_a_hostile_grammar_costs_only_the_time_of_the_code(client: openai.OpenAI, model_server: ModelServer) -> None:
    form = {"type": "grammar", "syntax": "lark", "definition": 'start: start start | "a"|'}
    model_server.reply(code("try:\n    note('a' * 3000)\nexcept ValueError as error:\n    print('refused')"))
    model_server.reply("Done.")
    assert logs(ask(client, tools=[NOTE | {"format": form}])) == "refused\n"


def test_images_and_files_in_a_value(client: openai.OpenAI, model_server: ModelServer) -> None:
    model_server.reply(
        code("got = crm.find(q='x')\nprint([part['type'] for part in got])\nprint(open('a.txt').read())")
    )
    model_server.reply("Done.")
    first = ask(client)
    file = {"type": "input_file", "filename": "a.txt", "file_data": b64encode(b"in the file").decode()}
    parts = [{"type": "input_text", "text": "see"}, {"type": "input_image", "image_url": PNG}, file]
    second = ask(client, previous_response_id=first.id, input=[value(calls(first)[0], parts)])
    assert logs(second) == "['input_text', 'input_image', 'input_file']\nin the file\n"
    shown = [
        message["content"] for message in model_server.requests[1].messages if isinstance(message["content"], list)
    ]
    assert any(part["type"] == "image_url" for content in shown for part in content)


def test_without_a_store_code_goes_on_by_its_call_and_keeps_its_variables(
    client: openai.OpenAI, server: Running, model_server: ModelServer
) -> None:
    for reply in (
        code("x = crm.find(q=1)\ny = crm.find(q=2)\nprint(x + y)"),
        "Whose is it?",
        "Three.",
        code("print('still', x)"),
        "One.",
    ):
        model_server.reply(reply)
    history: list[Any] = [{"role": "user", "content": "go"}]
    response = ask(client, store=False, input=history)
    (call,) = calls(response)
    history += [call.model_dump(exclude_none=True), value(call, "1")]
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="key-b", max_retries=0) as stranger:
        assert not logs(ask(stranger, store=False, input=history))
    response = ask(client, store=False, input=history)
    (call,) = calls(response)
    history += [call.model_dump(exclude_none=True), value(call, "2")]
    response = ask(client, store=False, input=history)
    assert (logs(response), response.output_text) == ("3\n", "Three.")
    # The client leaves out what it does not know: the code.
    history += [item.model_dump(exclude_none=True) for item in response.output if item.type == "message"]
    history += [{"role": "user", "content": "again"}]
    assert logs(ask(client, store=False, input=history)) == "still 1\n"


def test_a_history_with_a_call_of_a_deleted_conversation_begins_a_new_one(
    client: openai.OpenAI, model_server: ModelServer
) -> None:
    for reply in (code("print(find(q=1))"), "One.", "Hello again."):
        model_server.reply(reply)
    history: list[Any] = [{"role": "user", "content": "go"}]
    response = ask(client, input=history, tools=[FIND])
    (call,) = calls(response)
    history += [call.model_dump(exclude_none=True), value(call, "1")]
    response = ask(client, input=history, tools=[FIND])
    assert response.output_text == "One."
    history += [{"role": "assistant", "content": "One."}, {"role": "user", "content": "again"}]
    assert response.conversation is not None
    client.conversations.delete(response.conversation.id)
    again = ask(client, input=history, tools=[FIND])
    assert again.output_text == "Hello again."
    assert again.conversation is not None
    assert again.conversation.id != response.conversation.id


def test_a_tool_that_is_not_there_is_left_out_where_it_is_optional(
    client: openai.OpenAI, model_server: ModelServer
) -> None:
    model_server.reply("Hello.")
    response: Any = ask(client, tools=[{"type": "web_search", "codeact:optional": True}, NOTE])
    assert [tool.type for tool in response.tools] == ["custom"]
    assert [notice["code"] for notice in response.model_extra["codeact:notices"]] == ["tool_left_out"]


def test_what_a_client_says_of_itself_is_stored_and_shown_nowhere(
    client: openai.OpenAI, model_server: ModelServer
) -> None:
    model_server.reply("Hello.")
    response = ask(client, extra_body={"client_metadata": {"session": "s-1"}})
    assert "s-1" not in response.model_dump_json()
    assert "s-1" not in client.responses.retrieve(response.id).model_dump_json()


def asked(owner: str, call_id: str | None = None) -> NewRun:
    values = [e.FunctionCallOutput(id="fco", call_id=call_id, output="1")] if call_id else []
    return NewRun(owner=owner, messages=values, store=False, tools=[FIND])


def answered(kept: UnstoredConversations, owner: str, number: int) -> None:
    found = kept.find(asked(owner))
    assert found is not None
    call = e.FunctionCall(id=f"fc_{number}", call_id=f"call_{number}", name="find")
    response = e.Response(id=f"resp_{number}", created_at=0, model="x", status="completed", output=[call])
    found.add(response, [], ResumePoint(), workspace_id=f"unstored_{number}")


def test_an_owner_has_a_bounded_number_of_unstored_conversations() -> None:
    kept = UnstoredConversations(idle_s=900)
    answered(kept, "other", 1_000)
    for number in range(MOST_OF_OWNER + 3):
        answered(kept, "me", number)
    assert kept.dropped() == {f"unstored_{number}" for number in range(3)}
    known = kept.find(asked("me", f"call_{MOST_OF_OWNER}"))
    assert known is not None
    assert known.of_call(f"call_{MOST_OF_OWNER}") is not None
    stolen = kept.find(asked("me", "call_1000"))
    assert stolen is not None
    assert stolen.of_call("call_1000") is None


def test_the_output_of_an_answer_without_a_store_is_counted(
    client: openai.OpenAI, server: Running, model_server: ModelServer
) -> None:
    model_server.reply(code("crm.find(q='x' * 100_000)"))
    kept = server.state.service._service._unstored
    before = kept.bytes
    assert calls(ask(client, store=False))
    deadline = time.monotonic() + 60
    while kept.bytes < before + 100_000:  # It is counted right after the answer, which nothing tells.
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_conversation_that_answers_is_not_dropped() -> None:
    kept = UnstoredConversations(idle_s=900)
    found = kept.find(asked("me"))
    assert found is not None
    with found.beginning():
        for number in range(MOST_OF_OWNER + 1):
            answered(kept, "me", number)
        assert not found.closed
        response = e.Response(id="resp_mine", created_at=0, model="x")
        found.add(response, [], ResumePoint(), workspace_id="unstored_mine")
    for number in range(MOST_OF_OWNER + 1):
        answered(kept, "me", 100 + number)
    assert not found.closed
    response.status = "completed"
    kept.ended(found, response)
    for number in range(MOST_OF_OWNER + 1):
        answered(kept, "me", 200 + number)
    assert found.closed
    assert "unstored_mine" in kept.dropped()


def test_unstored_conversations_expire_without_another_request() -> None:
    kept = UnstoredConversations(idle_s=0)
    found = kept.find(asked("me"))
    assert found is not None
    with found.beginning():
        response = e.Response(id="resp_1", created_at=0, model="x")
        found.add(response, [], ResumePoint(), workspace_id="unstored_1")
    response.output.append(e.FunctionCall(id="fc", call_id="call_1", name="find", arguments="x" * 10_000))
    kept.make_room()
    assert not found.closed
    response.status = "completed"
    kept.ended(found, response)
    time.sleep(0.001)  # The clock must have moved by more than `idle_s`.
    kept.make_room()
    assert (kept.bytes, kept.dropped()) == (0, {"unstored_1"})


def test_unstored_conversations_have_a_bounded_number_of_bytes() -> None:
    kept = UnstoredConversations(idle_s=900, most_bytes=33_000_000)
    for number in range(40):
        found = kept.find(asked(f"owner {number}"))
        assert found is not None
        message = e.InputMessage(id="msg", role="user", content=[{"type": "input_text", "text": "x" * 200_000}])
        response = e.Response(id=f"resp_{number}", created_at=0, model="x", status="completed")
        found.add(response, [message], ResumePoint(), workspace_id=f"unstored_{number}")
    assert kept.bytes <= 1_400_000
    assert len(kept.dropped()) > 30
