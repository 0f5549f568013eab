"""The tool `mcp`: servers that a request names, their lists of tools, approvals, and refused addresses."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai.types.responses import Response

from tests.model_server import ModelServer
from tests.ports import free_port
from tests.server.conftest import Running

SERVER = Path(__file__).parent.parent / "mcp_server.py"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    port = free_port()
    with subprocess.Popen([sys.executable, SERVER, str(port)], stderr=subprocess.DEVNULL) as process:
        while True:
            with httpx.Client(trust_env=False) as http:
                try:
                    http.get(f"http://127.0.0.1:{port}/mcp", timeout=30)
                    break
                except httpx.TransportError:
                    assert process.poll() is None
        yield f"http://127.0.0.1:{port}/mcp"
        process.terminate()


@pytest.fixture(scope="module")
def server(make_server: Callable[..., Running], model_server: ModelServer) -> Running:
    return make_server(
        model="openai/scripted", model_api_base=model_server.base_url, model_api_key="test", request_mcp="any"
    )


@pytest.fixture
def client(server: Running, model_server: ModelServer) -> Iterator[openai.OpenAI]:
    model_server.reset()
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", timeout=90, max_retries=0) as client:
        yield client


def tool(url: str, **more: Any) -> Any:
    return {"type": "mcp", "server_label": "crm", "server_url": url, **more}


def logs(response: Response) -> str:
    blocks = [item for item in response.output if item.type == "code_interpreter_call"]
    return "".join(part.logs for block in blocks for part in block.outputs or () if part.type == "logs")


def test_its_tools_are_listed_and_called(client: openai.OpenAI, model_server: ModelServer, url: str) -> None:
    model_server.reply("I add.\n<execute>\nprint(crm.add(a=1, b=2), hasattr(crm, 'greet'))\n</execute>\n")
    model_server.reply("Three.")
    asked = tool(
        url,
        allowed_tools=["add"],
        require_approval="never",
        authorization="secret-1",
        headers={"X-Key": "secret-2"},
        server_description="Knows customers.",
    )
    with client.responses.stream(model="codeact", input="go", tools=[asked]) as stream:
        kinds = [event.type for event in stream]
        response: Any = stream.get_final_response()
    assert kinds[2:6] == [
        "response.output_item.added",
        "response.mcp_list_tools.in_progress",
        "response.mcp_list_tools.completed",
        "response.output_item.done",
    ]
    listed = response.output[0]
    assert (listed.type, listed.server_label, [one.name for one in listed.tools]) == ("mcp_list_tools", "crm", ["add"])
    assert listed.tools[0].input_schema["required"] == ["a", "b"]
    (call,) = [item for item in response.output if item.type == "mcp_call"]
    assert (call.server_label, call.name, call.output) == ("crm", "add", '{"result": 3}')
    assert "False" in logs(response)
    assert "secret" not in response.model_dump_json()
    assert "secret" not in client.responses.retrieve(response.id).model_dump_json()
    assert "crm: Knows customers." in model_server.requests[0].messages[0]["content"]


def test_calls_wait_for_approval_unless_the_request_says_otherwise(
    client: openai.OpenAI, model_server: ModelServer, url: str
) -> None:
    model_server.reply("I add.\n<execute>\nprint(crm.add(a=1, b=2))\n</execute>\n")
    model_server.reply("Three.")
    first = client.responses.create(model="codeact", input="go", tools=[tool(url)])
    (asks,) = [item for item in first.output if item.type == "mcp_approval_request"]
    assert (asks.server_label, asks.name) == ("crm", "add")
    decision: Any = {"type": "mcp_approval_response", "approval_request_id": asks.id, "approve": True}
    second = client.responses.create(
        model="codeact", previous_response_id=first.id, input=[decision], tools=[tool(url)]
    )
    assert "3" in logs(second)
    assert second.output_text == "Three."


def test_a_server_that_does_not_answer_fails_the_response_by_name(client: openai.OpenAI) -> None:
    port = free_port()
    response: Any = client.responses.create(model="codeact", input="go", tools=[tool(f"http://127.0.0.1:{port}/mcp")])
    assert (response.status, response.error.code) == ("failed", "mcp_list_tools_failed")
    assert response.output[0].error


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"server_url": "http://example.com/mcp"}, "tools[0].server_url"),
        ({"server_url": "https://127.0.0.1/mcp"}, "tools[0].server_url"),
        ({"server_url": "https://[::1]/mcp"}, "tools[0].server_url"),
        ({"server_url": "https://10.0.0.1/mcp"}, "tools[0].server_url"),
        ({"server_url": "https://user:word@example.com/mcp"}, "tools[0].server_url"),
        ({"server_url": "https://" + "a" * 2_000}, "tools[0].server_url"),
        ({"server_label": "print"}, "tools[0].server_label"),
        ({"server_label": "host"}, "tools[0].server_label"),
        ({"server_label": "a b"}, "tools[0].server_label"),
        ({"headers": {"a b": "c"}}, "tools[0].headers"),
        ({"headers": {"a": "b\r\nc: d"}}, "tools[0].headers[...]"),
        ({"connector_id": "connector_gmail"}, "tools[0].connector_id"),
        ({"allowed_callers": ["direct"]}, "tools[0].allowed_callers"),
    ],
)
def test_what_a_request_may_not_ask_for_is_refused_by_name(scripted: Running, change: Any, param: str) -> None:
    body = {"input": "go", "tools": [tool("https://example.com/mcp") | change]}
    answer = httpx.post(f"{scripted.url}/v1/responses", json=body, timeout=60)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_a_name_of_a_private_address_is_not_connected_to(scripted: Running) -> None:
    body = {"input": "go", "tools": [tool("https://localhost/mcp")]}
    answer = httpx.post(f"{scripted.url}/v1/responses", json=body, timeout=90).json()
    assert answer["error"]["code"] == "mcp_list_tools_failed"
    assert "localhost has no public address" in answer["output"][0]["error"]


def test_servers_are_few_and_have_different_labels(scripted: Running) -> None:
    same = [tool("https://example.com")] * 2
    many = [tool("https://example.com", server_label=f"s{number}") for number in range(9)]
    for tools in (same, many):
        answer = httpx.post(f"{scripted.url}/v1/responses", json={"input": "go", "tools": tools}, timeout=60)
        assert answer.status_code == 400
