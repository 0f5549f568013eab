"""Shells of the client: code asks for commands, the client runs them, and the code goes on with what they printed."""

from typing import Any

import pytest
from openai import OpenAI

from tests.model_server import ModelServer
from tests.server.conftest import Running
from tests.server.test_shell_tool import items

LOCAL = {"type": "shell", "environment": {"type": "local"}}
RESULT = {"stdout": "from the client\n", "stderr": "", "outcome": {"type": "exit", "exit_code": 3}}


@pytest.mark.parametrize("keeps", ["server", "client"])
def test_the_client_runs_the_commands_and_code_gets_their_results(
    scripted: Running, model_server: ModelServer, keeps: str
) -> None:
    model_server.reset()
    code = "got = shell(['ls', 'pwd'], timeout_ms=500)\nprint(got[0]['stdout'], got[0]['exit_code'])"
    model_server.reply(f"I look.\n<execute>\n{code}\n</execute>\n")
    model_server.reply("Done.")
    with OpenAI(base_url=f"{scripted.url}/v1", api_key="none", max_retries=0) as client:
        first = client.responses.create(input="go", tools=[LOCAL])  # type: ignore[list-item]
        (call,) = items(first.to_dict(), "shell_call")
        assert call["environment"] == {"type": "local"}
        assert call["action"] == {"commands": ["ls", "pwd"], "timeout_ms": 500, "max_output_length": None}
        output: Any = {"type": "shell_call_output", "call_id": call["call_id"], "output": [RESULT]}
        if keeps == "server":
            second = client.responses.create(input=[output], previous_response_id=first.id, tools=[LOCAL])  # type: ignore[list-item]
        else:
            history: Any = [{"role": "user", "content": "go"}, *first.to_dict()["output"], output]  # type: ignore[misc]
            second = client.responses.create(input=history, tools=[LOCAL])  # type: ignore[list-item]
    (block,) = items(second.to_dict(), "code_interpreter_call")
    assert block["outputs"][0]["logs"] == "from the client\n 3\n"
    assert second.output_text == "Done."


def test_the_older_tool_runs_one_command(scripted: Running, model_server: ModelServer) -> None:
    model_server.reset()
    model_server.reply("<execute>\nprint('said', local_shell(['ls', '-l'], working_directory='/tmp'))\n</execute>\n")
    model_server.reply("Done.")
    tools: Any = [{"type": "local_shell"}]
    with OpenAI(base_url=f"{scripted.url}/v1", api_key="none", max_retries=0) as client:
        first = client.responses.create(input="go", tools=tools)
        (call,) = items(first.to_dict(), "local_shell_call")
        assert (call["action"]["command"], call["action"]["working_directory"]) == (["ls", "-l"], "/tmp")
        output: Any = {"type": "local_shell_call_output", "id": call["call_id"], "output": "total 0"}
        second = client.responses.create(input=[output], previous_response_id=first.id, tools=tools)
    (block,) = items(second.to_dict(), "code_interpreter_call")
    assert block["outputs"][0]["logs"] == "said total 0\n"


@pytest.mark.parametrize("call", ["shell('ls')", "shell([1])", "shell(['a'], timeout_ms='x')"])
def test_commands_that_are_none_are_an_error_in_the_code(
    scripted: Running, model_server: ModelServer, call: str
) -> None:
    model_server.reset()
    model_server.reply(f"<execute>\ntry:\n    {call}\nexcept CallError as error:\n    print('no')\n</execute>\n")
    model_server.reply("Done.")
    with OpenAI(base_url=f"{scripted.url}/v1", api_key="none", max_retries=0) as client:
        answer = client.responses.create(input="go", tools=[LOCAL])  # type: ignore[list-item]
    assert not items(answer.to_dict(), "shell_call")
    assert answer.output_text == "Done."
