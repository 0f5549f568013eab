"""Searches for tools that the client carries out: code asks, the client finds functions, and code calls them."""

from collections.abc import Iterator
from typing import Any

import pytest
from openai import OpenAI
from openai.types.responses import Response

from tests.model_server import ModelServer
from tests.server.conftest import Running
from tests.server.test_shell_tool import items

SEARCH: Any = {
    "type": "tool_search",
    "execution": "client",
    "description": "Finds tools of this project.",
    "parameters": {"type": "object", "properties": {"goal": {"type": "string"}}, "required": ["goal"]},
}
LOOK: Any = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}}


def of_crm(name: str) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}
    tool = {"type": "function", "name": name, "description": f"Does {name}.", "parameters": parameters}
    return {"type": "namespace", "name": "crm", "description": "Customers.", "tools": [tool | {"defer_loading": True}]}


@pytest.fixture
def client(scripted: Running, model_server: ModelServer) -> Iterator[OpenAI]:
    model_server.reset()
    with OpenAI(base_url=f"{scripted.url}/v1", api_key="none", max_retries=0, timeout=60) as client:
        yield client


def code(text: str) -> str:
    return f"I look.\n<execute>\n{text}\n</execute>\n"


def logs(response: Response) -> str:
    blocks = items(response.to_dict(), "code_interpreter_call")
    return "".join(part["logs"] for block in blocks for part in block["outputs"] or () if part["type"] == "logs")


def found(response: Response, *tools: Any) -> dict[str, Any]:
    (call,) = items(response.to_dict(), "tool_search_call")
    assert (call["execution"], call["status"]) == ("client", "completed")
    return {"type": "tool_search_output", "execution": "client", "call_id": call["call_id"], "tools": list(tools)}


def value(response: Response, name: str, output: str) -> dict[str, Any]:
    (call,) = items(response.to_dict(), "function_call")
    assert call["name"] == name
    return {"type": "function_call_output", "call_id": call["call_id"], "output": output}


@pytest.mark.parametrize("keeps", ["server", "client", "client alone"])
def test_code_calls_what_the_client_has_found_in_the_same_block_and_later(
    client: OpenAI, model_server: ModelServer, keeps: str
) -> None:
    history: list[Any] = [{"role": "user", "content": "go"}]

    def ask(before: Response | None, *given: Any) -> Response:
        more: dict[str, Any] = {"input": [*given]}
        if before is not None and keeps == "server":
            more["previous_response_id"] = before.id
        elif before is not None:
            history.extend([*before.to_dict()["output"], *given])  # type: ignore[misc]
            more["input"] = history
        if keeps == "client alone":
            more["store"] = False
        answer: Response = client.responses.create(tools=[SEARCH], **more)
        return answer

    block = "print(tool_search(goal='customers'))\nprint(crm.find(q='Ada'))"
    for reply in (code(block), code("print(crm.add(q='Bob'), crm.find(q='Eve'))"), "Done.", code("print(look())")):
        model_server.reply(reply)
    first = ask(None, *history)
    (search,) = items(first.to_dict(), "tool_search_call")
    assert search["arguments"] == {"goal": "customers"}
    second = ask(first, found(first, of_crm("find"), of_crm("add"), LOOK))
    assert items(second.to_dict(), "function_call")[0]["namespace"] == "crm"
    assert logs(second).startswith("crm: Customers.\n\ncrm.find(q: str)\n    Does find.")
    assert "look()" in logs(second)
    third = ask(second, value(second, "find", "7"))
    assert logs(third) == "7\n"
    fourth = ask(third, value(third, "add", "8"))
    fifth = ask(fourth, value(fourth, "find", "9"))
    assert logs(fifth) == "8 9\n"
    assert fifth.output_text == "Done."
    sixth = ask(fifth, {"role": "user", "content": "and look"})
    assert items(sixth.to_dict(), "function_call")[0]["name"] == "look"
    assert "crm.add(q: str)" in model_server.requests[-1].messages[0]["content"]


def test_a_second_search_adds_to_a_namespace_and_what_was_found_is_an_item_of_the_input(
    client: OpenAI, model_server: ModelServer
) -> None:
    model_server.reply(
        code("a = tool_search(goal='a')\nb = tool_search(goal='b')\nprint(crm.find(q='x'), crm.add(q='y'))")
    )
    model_server.reply("Done.")
    ask = client.responses.create
    first = ask(input="go", tools=[SEARCH])
    second = ask(input=[found(first, of_crm("find"))], previous_response_id=first.id, tools=[SEARCH])  # type: ignore[list-item]
    third = ask(input=[found(second, of_crm("add"))], previous_response_id=second.id, tools=[SEARCH])  # type: ignore[list-item]
    fourth = ask(input=[value(third, "find", "1")], previous_response_id=third.id, tools=[SEARCH])  # type: ignore[list-item]
    fifth = ask(input=[value(fourth, "add", "2")], previous_response_id=fourth.id, tools=[SEARCH])  # type: ignore[list-item]
    assert logs(fifth) == "1 2\n"
    [item] = client.responses.input_items.list(second.id).data
    assert item.type == "tool_search_output"
    assert item.tools[0].to_dict() == of_crm("find")


@pytest.mark.parametrize("how", ["the user goes on", "nothing", "allowed_tools"])
def test_a_search_without_a_result(client: OpenAI, model_server: ModelServer, how: str) -> None:
    caught = "except (CallError, NameError) as error:\n    print(type(error).__name__)"
    model_server.reply(code(f"try:\n    print(tool_search(goal='x'))\n{caught}"))
    model_server.reply("Done.")
    if how == "allowed_tools":  # It could find functions that are not allowed.
        choice: Any = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "look"}]}
        answer = client.responses.create(input="go", tools=[SEARCH, LOOK], tool_choice=choice)
        assert logs(answer) == "NameError\n"
        return
    first = client.responses.create(input="go", tools=[SEARCH])
    given: Any = "go on" if how == "the user goes on" else [found(first)]
    second = client.responses.create(input=given, previous_response_id=first.id, tools=[SEARCH])
    assert logs(second) == ("CallError\n" if how == "the user goes on" else "It found no functions.\n")
