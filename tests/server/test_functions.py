"""Function tools of a client as Python in the sandbox: the official client with a real server and kernel."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai.types.responses import Response

from tests.model_server import ModelServer
from tests.server.conftest import Running

WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather of a city.",
    "strict": False,
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


SHOWS_CODE = ["code_interpreter_call.outputs"]
"""Without it, an answer to a request whose only tools are functions has no items of code."""


@pytest.fixture(autouse=True)
def _fresh_script(model_server: ModelServer) -> None:
    model_server.reset()


@pytest.fixture
def client(scripted: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{scripted.url}/v1", api_key="none", timeout=60, max_retries=0) as client:
        yield client


def run_code(model_server: ModelServer, code: str, answer: str = "Done.") -> None:
    model_server.reply(f"I look.\n<execute>\n{code}\n</execute>\n")
    model_server.reply(answer)


def ask(client: openai.OpenAI, **more: Any) -> Response:
    return client.responses.create(
        model="codeact", **{"input": "go", "tools": [WEATHER], "include": SHOWS_CODE, **more}
    )


def calls(response: Response) -> list[Any]:
    return [item for item in response.output if item.type == "function_call"]


def output(call: Any, value: str) -> Any:
    return {"type": "function_call_output", "call_id": call.call_id, "output": value}


def logs(response: Response) -> str:
    blocks = [item for item in response.output if item.type == "code_interpreter_call"]
    return "".join(part.logs for block in blocks for part in block.outputs or () if part.type == "logs")


def test_a_call_ends_the_response_and_the_next_one_brings_its_value(
    client: openai.OpenAI, model_server: ModelServer
) -> None:
    run_code(model_server, "print('asking')\nw = get_weather('Bern')\nprint(w['sky'])\nprint('end')", "It is sunny.")
    first = ask(client)
    assert first.status == "completed"
    (call,) = calls(first)
    assert (call.name, json.loads(call.arguments), call.status) == ("get_weather", {"city": "Bern"}, "completed")
    block = next(item for item in first.output if item.type == "code_interpreter_call")
    assert call.model_extra["codeact:code_item_id"] == block.id
    assert (block.status, logs(first)) == ("completed", "asking\n")
    second = ask(client, previous_response_id=first.id, input=[output(call, '{"sky": "blue"}')])
    assert logs(second) == "blue\nend\n"
    assert second.output_text == "It is sunny."
    told = model_server.requests[1].messages
    assert "get_weather(city: str)" in told[0]["content"]
    assert told[-1]["content"].startswith("Observation: ok")
    assert "asking\nblue\nend" in told[-1]["content"]
    assert [message["role"] for message in told] == ["system", "user", "assistant", "user"]


def test_the_arguments_are_streamed_as_the_standard_has_it(client: openai.OpenAI, model_server: ModelServer) -> None:
    run_code(model_server, "get_weather('Bern')")
    with client.responses.stream(model="codeact", input="go", tools=[WEATHER]) as stream:
        kinds = [event.type for event in stream]
        (call,) = calls(stream.get_final_response())
    at = kinds.index("response.function_call_arguments.delta")
    assert kinds[at - 1 : at + 3] == [
        "response.output_item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done",
    ]
    assert call.arguments == '{"city": "Bern"}'


@pytest.mark.usefixtures("calls_come_together")
@pytest.mark.parametrize("parallel", [True, False])
def test_calls_in_a_loop_and_in_threads(client: openai.OpenAI, model_server: ModelServer, parallel: bool) -> None:
    code = (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(3) as pool:\n"
        "    print(sorted(pool.map(get_weather, 'abc')))\n"
        "for city in 'de':\n"
        "    print(get_weather(city))"
    )
    run_code(model_server, code)
    more = {} if parallel else {"parallel_tool_calls": False}
    response, rounds = ask(client, **more), []
    assert response.parallel_tool_calls is parallel
    while pending := calls(response):
        rounds.append(len(pending))
        values = [output(call, json.loads(call.arguments)["city"].upper()) for call in pending]
        response = ask(client, previous_response_id=response.id, input=values, **more)
        if len(rounds) == (1 if parallel else 3):
            assert logs(response) == "['A', 'B', 'C']\n"
    assert rounds == ([3, 1, 1] if parallel else [1] * 5)
    assert response.output_text == "Done."
    assert "['A', 'B', 'C']\nD\nE" in model_server.requests[1].messages[-1]["content"]


def test_a_strict_function_is_called_with_arguments_that_fit_its_schema_alone(
    client: openai.OpenAI, model_server: ModelServer
) -> None:
    tried = "try:\n    get_weather(7)\nexcept CallError as error:\n    print(error)\n"
    run_code(model_server, f"{tried}get_weather('Bern')")
    first = ask(client, tools=[WEATHER | {"strict": True}])
    (call,) = calls(first)
    assert json.loads(call.arguments) == {"city": "Bern"}
    wrong = "get_weather(): the arguments do not fit its schema, at ['city']: 7 is not of type 'string'\n"
    assert logs(first) == wrong
    model_server.reset()
    run_code(model_server, "get_weather(7)")
    assert json.loads(calls(ask(client, tools=[WEATHER]))[0].arguments) == {"city": 7}


def test_a_user_who_goes_on_without_the_value_ends_the_wait(client: openai.OpenAI, model_server: ModelServer) -> None:
    run_code(model_server, "try:\n    get_weather('Bern')\nexcept CallError as error:\n    print(error)", "Never mind.")
    first = ask(client)
    second = ask(client, previous_response_id=first.id, input="Forget it.")
    assert "went on without it" in logs(second)
    assert second.output_text == "Never mind."


def test_a_value_may_be_text_and_too_large_a_one_is_an_error(client: openai.OpenAI, model_server: ModelServer) -> None:
    run_code(
        model_server,
        "print(get_weather('Bern'))\ntry:\n    get_weather('x')\nexcept CallError as error:\n    print(error)",
    )
    first = ask(client)
    second = ask(client, previous_response_id=first.id, input=[output(calls(first)[0], "sunny, not {json}")])
    assert logs(second) == "sunny, not {json}\n"
    large = output(calls(second)[0], "x" * 4_000_001)
    third = ask(client, previous_response_id=second.id, input=[large])
    assert "over 4,000,000 bytes" in logs(third)


def test_the_value_of_a_call_that_nobody_made_is_refused(client: openai.OpenAI, model_server: ModelServer) -> None:
    model_server.reply("Hello.")
    first = ask(client)
    stray: Any = {"type": "function_call_output", "call_id": "call_x", "output": "1"}
    with pytest.raises(openai.BadRequestError, match="No function was called under the call_id 'call_x'"):
        ask(client, previous_response_id=first.id, input=[stray])


@pytest.mark.parametrize(
    ("tool", "param"),
    [
        ({"type": "function", "name": "print"}, "tools[0].name"),
        ({"type": "function", "name": "f", "parameters": {"type": "array"}}, "tools[0].parameters"),
        ({"type": "function"}, "tools[0]"),
        ({"type": "file_search"}, "tools[0].type"),
    ],
)
def test_a_function_that_cannot_be_expressed_is_refused_by_name(client: openai.OpenAI, tool: Any, param: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, tools=[tool])
    assert refused.value.param == param


def test_a_lost_kernel_does_not_lose_the_value(
    client: openai.OpenAI, scripted: Running, model_server: ModelServer
) -> None:
    run_code(model_server, "get_weather('Bern')", "It was sunny.")
    first = ask(client)
    assert first.conversation is not None
    scripted.state.workspaces._workspaces.pop(first.conversation.id)
    second = ask(client, previous_response_id=first.id, input=[output(calls(first)[0], "sunny")])
    assert second.output_text == "It was sunny."
    told = model_server.requests[1].messages[-1]["content"]
    assert "the code waited for get_weather() and could not go on" in told
    assert "get_weather() returned:\nsunny" in told


def test_cancelling_ends_code_that_waits(client: openai.OpenAI, model_server: ModelServer) -> None:
    run_code(model_server, "get_weather('Bern')\nimport time\ntime.sleep(60)")
    first = ask(client)
    second = client.responses.create(
        model="codeact",
        previous_response_id=first.id,
        input=[output(calls(first)[0], "sunny")],
        tools=[WEATHER],
        background=True,
    )
    assert client.responses.cancel(second.id).status == "cancelled"
