"""The tool `shell`: commands in the conversation's own sandbox, with the standard's items and live output."""

from typing import Any

import httpx
import msgspec
import pytest

from codeact import events as e
from tests.model_server import ModelServer
from tests.server.conftest import Running

SHELL = {"type": "shell", "environment": {"type": "container_auto"}}


def answered(server: Running, model_server: ModelServer, code: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The events of an answer whose code is this, and the response."""
    model_server.reset()
    model_server.reply(f"I look.\n<execute>\n{code}\n</execute>\n")
    model_server.reply("Done.")
    body = {"input": "go", "tools": [SHELL], "stream": True}
    text = httpx.post(f"{server.url}/v1/responses", json=body, timeout=90).text
    events = [msgspec.json.decode(line[6:]) for line in text.splitlines() if line.startswith('data: {"')]
    return events, events[-1]["response"]


def items(response: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [item for item in response["output"] if item["type"] == kind]


def test_commands_run_and_their_output_comes_live(scripted: Running, model_server: ModelServer) -> None:
    code = "got = shell(['echo one; echo bad >&2', 'exit 3'])\nprint(got[0]['stdout'], got[1]['exit_code'])"
    events, response = answered(scripted, model_server, code)
    (call,), (output,) = items(response, "shell_call"), items(response, "shell_call_output")
    assert call["action"]["commands"] == ["echo one; echo bad >&2", "exit 3"]
    assert call["environment"] == {"type": "container_reference", "container_id": call["environment"]["container_id"]}
    assert (output["call_id"], output["status"]) == (call["call_id"], "completed")
    assert output["output"] == [
        {"stdout": "one\n", "stderr": "bad\n", "outcome": {"type": "exit", "exit_code": 0}},
        {"stdout": "", "stderr": "", "outcome": {"type": "exit", "exit_code": 3}},
    ]
    deltas = [event for event in events if event["type"] == "response.shell_call_output_content.delta"]
    assert "".join(event["delta"].get("stdout", "") for event in deltas) == "one\n"
    done = [event for event in events if event["type"] == "response.shell_call_output_content.done"]
    assert [event["command_index"] for event in done] == [0, 1]
    (block,) = items(response, "code_interpreter_call")
    assert "one\n 3" in block["outputs"][0]["logs"]
    again = httpx.get(f"{scripted.url}/v1/responses/{response['id']}").json()
    assert again["output"] == response["output"]
    assert "shell(commands: list[str]" in model_server.requests[0].messages[0]["content"]


def test_a_command_that_takes_too_long_is_ended(scripted: Running, model_server: ModelServer) -> None:
    code = "print(shell('sleep 600', timeout_ms=200)[0]['exit_code'])"
    _, response = answered(scripted, model_server, code)
    (output,) = items(response, "shell_call_output")
    assert output["output"][0]["outcome"] == {"type": "timeout"}


def test_output_is_cut_where_the_call_says(scripted: Running, model_server: ModelServer) -> None:
    code = "print(len(shell(['yes | head -c 100000'], max_output_length=10)[0]['stdout']))"
    _, response = answered(scripted, model_server, code)
    (output,) = items(response, "shell_call_output")
    assert output["output"][0]["stdout"] == "y\n" * 5


@pytest.mark.parametrize(
    "said",
    [
        "{'commands': []}",
        "{'commands': ['a'] * 101}",
        "{'commands': 'a'}",
        "{'commands': ['a'], 'timeout_ms': -1}",
        "{'commands': ['a'], 'max_output_length': 'x'}",
        "{'exit_code': 0}",
        "{'ended': True}",
        "{}",
    ],
)
def test_what_hostile_code_says_of_commands_is_refused(scripted: Running, model_server: ModelServer, said: str) -> None:
    code = (
        f"from codeact_calls import call\ntry:\n    call('shell', {said})\nexcept CallError as error:\n    print('no')"
    )
    _, response = answered(scripted, model_server, code)
    assert not items(response, "shell_call")
    assert response["output"][-1]["type"] == "message"
    assert items(response, "code_interpreter_call")[0]["outputs"][0]["logs"] == "no\n"


@pytest.mark.parametrize("exit_code", [0, 2**31, 2**63])
def test_an_end_of_a_command_counts_once_and_only_with_an_exit_code(
    scripted: Running, model_server: ModelServer, exit_code: int
) -> None:
    code = (
        "from codeact_calls import call\ncall('shell', {'commands': ['a']})\n"
        + ("call('shell', {'exit_code': 0})\n" if exit_code == 0 else "")
        + f"try:\n    call('shell', {{'exit_code': {exit_code}}})\nexcept CallError as error:\n    print('no')"
    )
    events, response = answered(scripted, model_server, code)
    assert "no\n" in items(response, "code_interpreter_call")[0]["outputs"][0]["logs"]
    done = [event for event in events if event["type"] == "response.shell_call_output_content.done"]
    assert len(done) == (exit_code == 0)


def test_commands_that_never_end_are_closed_with_their_code(scripted: Running, model_server: ModelServer) -> None:
    code = "from codeact_calls import call\ncall('shell', {'commands': ['a', 'b']})\nprint('x')"
    _, response = answered(scripted, model_server, code)
    (output,) = items(response, "shell_call_output")
    assert output["status"] == "incomplete"
    assert isinstance(msgspec.convert(output, e.ShellCallOutput).output[0].outcome, e.ShellTimeout)
