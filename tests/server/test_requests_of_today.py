"""Requests in the forms that clients send today: those that match what the server does are accepted, others refused.

`requests_of_today.jsonl` has one request per line. `now` is the server's answer: `accepted`, or `refused` with a status
and the parameter that the error names.
"""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.model_server import ModelServer
from tests.server.conftest import Running

TABLE = Path(__file__).with_name("requests_of_today.jsonl")
ROWS = [json.loads(line) for line in TABLE.read_text("utf-8").splitlines()]
QUESTION = {"role": "user", "content": "hello"}


def rows(*now: str) -> Any:
    return pytest.mark.parametrize("row", [pytest.param(row, id=row["name"]) for row in ROWS if row["now"] in now])


def sent(server: Running, row: dict[str, Any]) -> httpx.Response:
    (method, path), body = row["request"].split(), row["body"]
    if path == "/v1/responses":
        body = body | {"input": [*body["input"], QUESTION] if "input" in body else "hello"}
    return httpx.request(method, server.url + path, json=body, timeout=60)


@pytest.fixture
def server(scripted: Running, model_server: ModelServer, request: pytest.FixtureRequest) -> Running:
    """A server whose model gives the `replies` of a row."""
    model_server.reset()
    chosen = getattr(request.node, "callspec", None)
    row = chosen.params.get("row", {}) if chosen is not None else {}
    for reply in row.get("replies", ["Hello."]):
        model_server.reply(reply)
    return scripted


@rows("accepted")
def test_what_the_server_does_anyway_may_be_asked_for(server: Running, row: dict[str, Any]) -> None:
    answer = sent(server, row)
    assert answer.status_code == 200, answer.text
    assert answer.json().get("error") is None


@rows("refused")
def test_what_cannot_be_honoured_is_refused_by_name(server: Running, row: dict[str, Any]) -> None:
    answer = sent(server, row)
    assert (answer.status_code, answer.json()["error"]["param"]) == (row["status"], row["param"])


def test_a_wanted_length_is_told_to_the_model_and_named_in_the_answer(
    server: Running, model_server: ModelServer
) -> None:
    answer = httpx.post(f"{server.url}/v1/responses", json={"input": "hello", "text": {"verbosity": "low"}}).json()
    assert answer["text"]["verbosity"] == "low"
    assert answer["instructions"] is None
    assert "Keep the text of your answers short." in model_server.requests[-1].messages[0]["content"]


def test_to_prewarm_is_to_generate_nothing(server: Running, model_server: ModelServer) -> None:
    body = {"input": "hello", "prompt_cache_options": {"prewarm": True}}
    answer = httpx.post(f"{server.url}/v1/responses", json=body, timeout=60).json()
    assert (answer["status"], answer["output"], model_server.requests) == ("completed", [], [])


def test_calls_of_tools_that_are_sent_back_are_told_to_the_model(server: Running, model_server: ModelServer) -> None:
    call = {"type": "mcp_call", "id": "m", "server_label": "crm", "name": "find", "arguments": '{"a":1}', "output": "7"}
    custom = {"type": "custom_tool_call", "call_id": "c", "name": "patch", "input": "*** begin"}
    value = {"type": "custom_tool_call_output", "call_id": "c", "output": "done"}
    body = {"input": [call, custom, value, QUESTION]}
    assert httpx.post(f"{server.url}/v1/responses", json=body).status_code == 200
    told = "\n".join(str(message["content"]) for message in model_server.requests[-1].messages[1:])
    for words in ('crm.find({"a":1})', "crm.find() returned:\n7", "patch(*** begin)", "patch() returned:\ndone"):
        assert words in told


def test_a_call_that_code_made_is_not_told_twice(server: Running, model_server: ModelServer) -> None:
    code = {
        "type": "code_interpreter_call",
        "id": "ci_no",
        "code": "print(host())",
        "outputs": [{"type": "logs", "logs": "7"}],
    }
    call = {"type": "mcp_call", "id": "m", "server_label": "host", "name": "host", "arguments": "{}", "output": "7"}
    assert httpx.post(f"{server.url}/v1/responses", json={"input": [code, call, QUESTION]}).status_code == 200
    assert "host.host" not in str(model_server.requests[-1].messages)
