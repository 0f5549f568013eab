"""What `tool_choice` requires is done before the answer; otherwise the response fails with an error that names it."""

from collections.abc import Iterator
from typing import Any

import pytest
from openai import BadRequestError, OpenAI

from tests.model_server import CallPiece, ModelServer
from tests.server.conftest import Running

BLOCK = "<execute>\nprint(6*7)\n</execute>"
TOOLS: list[Any] = [
    {"type": "function", "name": name, "parameters": {"type": "object", "properties": {}}, "strict": False}
    for name in ("weather", "stocks")
]


@pytest.fixture(autouse=True)
def _fresh_script(model_server: ModelServer) -> Iterator[None]:
    model_server.reset()
    yield
    model_server.reset()


@pytest.fixture
def client(scripted: Running) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{scripted.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.mark.parametrize(
    "choice",
    [
        "required",
        {"type": "code_interpreter"},
        {"type": "allowed_tools", "mode": "required", "tools": [{"type": "code_interpreter"}]},
    ],
)
def test_code_that_is_required_runs_before_the_answer(client: OpenAI, model_server: ModelServer, choice: Any) -> None:
    for said in ("It is 42, I think.", BLOCK, "42."):
        model_server.reply(said)
    response = client.responses.create(input="6*7?", tool_choice=choice)
    assert [item.type for item in response.output] == ["message", "code_interpreter_call", "message"]
    assert "run code" in model_server.requests[0].messages[0]["content"]
    assert "run code" in model_server.requests[1].messages[-1]["content"]


def test_a_provider_that_calls_is_held_to_it_by_itself(client: OpenAI, model_server: ModelServer) -> None:
    model_server.reply(CallPiece('{"code": "6*7"}', "python", "call_1"), finish="tool_calls")
    model_server.reply("42.")
    client.responses.create(input="6*7?", tool_choice="required", extra_body={"codeact:dialect": "tool_call"})
    assert [request.body["tool_choice"] for request in model_server.requests] == ["required", "auto"]


def test_an_answer_without_the_code_fails_by_name(client: OpenAI, model_server: ModelServer) -> None:
    model_server.reply("42.")
    model_server.reply("Still 42.")
    response = client.responses.create(input="6*7?", tool_choice="required")
    assert response.error is not None
    assert "answered without the demanded code" in response.error.message


def test_a_named_function_is_called(client: OpenAI, model_server: ModelServer) -> None:
    for said in ("Sunny.", "<execute>\nprint(weather())\n</execute>", "Sunny indeed."):
        model_server.reply(said)
    choice: Any = {"type": "function", "name": "weather"}
    first = client.responses.create(input="weather?", tools=TOOLS, tool_choice=choice)
    call = first.output[-1]
    assert call.type == "function_call"
    assert "calls weather()" in model_server.requests[1].messages[-1]["content"]
    value: Any = [{"type": "function_call_output", "call_id": call.call_id, "output": '"sunny"'}]
    second = client.responses.create(input=value, previous_response_id=first.id, tools=TOOLS, tool_choice=choice)
    assert second.output_text == "Sunny indeed."


PATCH = "*** Begin Patch\\n*** Add File: a.txt\\n+a\\n*** End Patch"


@pytest.mark.parametrize(
    ("tool", "code", "kind"),
    [
        ({"type": "shell", "environment": {"type": "container_auto"}}, "shell(['echo hi'])", "shell_call"),
        ({"type": "apply_patch"}, f'apply_patch("{PATCH}")', "apply_patch_call"),
        ({"type": "local_shell"}, "local_shell(['ls'])", "local_shell_call"),
    ],
)
def test_a_tool_that_is_chosen_by_its_type_is_used(
    client: OpenAI, model_server: ModelServer, tool: Any, code: str, kind: str
) -> None:
    for said in ("No need.", f"<execute>\n{code}\n</execute>", "Done."):
        model_server.reply(said)
    response = client.responses.create(input="go", tools=[tool], tool_choice={"type": tool["type"]})
    assert kind in [item.type for item in response.output]
    assert tool["type"] in model_server.requests[1].messages[-1]["content"]


def test_a_list_of_allowed_tools_may_have_these(client: OpenAI, model_server: ModelServer) -> None:
    model_server.reply("<execute>\nprint('apply_patch' in globals(), shell(['echo hi'])[0]['stdout'])\n</execute>")
    model_server.reply("Done.")
    tools: list[Any] = [{"type": "shell", "environment": {"type": "container_auto"}}, {"type": "apply_patch"}]
    allowed: Any = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "shell"}]}
    client.responses.create(input="go", tools=tools, tool_choice=allowed)
    assert "False hi" in model_server.requests[1].messages[-1]["content"]


def test_functions_that_are_not_allowed_are_not_there(client: OpenAI, model_server: ModelServer) -> None:
    model_server.reply("Hello.")
    allowed: Any = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "stocks"}]}
    response = client.responses.create(input="hi", tools=TOOLS, tool_choice=allowed)
    told = model_server.requests[0].messages[0]["content"]
    assert ("stocks" in told, "weather" in told) == (True, False)
    assert response.to_dict()["tool_choice"] == allowed


@pytest.mark.parametrize(
    "choice", [{"type": "function", "name": "news"}, {"type": "mcp", "server_label": "x"}, "always"]
)
def test_what_is_not_among_the_tools_is_refused_by_name(client: OpenAI, choice: Any) -> None:
    with pytest.raises(BadRequestError) as caught:
        client.responses.create(input="hi", tools=TOOLS, tool_choice=choice)
    assert (caught.value.param or "").startswith("tool_choice")
