"""The tool `apply_patch`: files of the conversation's own sandbox are changed by diffs, with the standard's items."""

import httpx
import pytest
from openai import OpenAI

from tests.model_server import ModelServer
from tests.server.conftest import Running
from tests.server.test_shell_tool import items

TOOLS = [{"type": "apply_patch"}]


def answered(server: Running, model_server: ModelServer, code: str) -> dict[str, object]:
    """The response whose code is this, as the official client reads it."""
    model_server.reset()
    model_server.reply(f"I change it.\n<execute>\n{code}\n</execute>\n")
    model_server.reply("Done.")
    with OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        answer = client.responses.create(input="go", tools=TOOLS)  # type: ignore[arg-type]
        assert client.responses.retrieve(answer.id).output == answer.output
    return answer.to_dict()


def test_files_are_created_changed_and_deleted_and_each_change_is_an_item(
    scripted: Running, model_server: ModelServer
) -> None:
    code = (
        "apply_patch({'type': 'create_file', 'path': 'a.py', 'diff': '+x = 1\\n+y = 2'})\n"
        "apply_patch({'type': 'update_file', 'path': 'a.py', 'diff': '@@\\n-x = 1\\n+x = 5'})\n"
        "print(open('a.py').read())\n"
        "try:\n    apply_patch({'type': 'update_file', 'path': 'a.py', 'diff': '-z'})\n"
        "except Exception as error:\n    print(type(error).__name__)\n"
        "apply_patch({'type': 'delete_file', 'path': 'a.py'})\n"
        "import os; print(os.path.exists('a.py'))"
    )
    response = answered(scripted, model_server, code)
    calls, outputs = items(response, "apply_patch_call"), items(response, "apply_patch_call_output")
    assert [call["operation"]["type"] for call in calls] == ["create_file", "update_file", "update_file", "delete_file"]
    assert calls[1]["operation"] == {"type": "update_file", "path": "a.py", "diff": "@@\n-x = 1\n+x = 5"}
    assert [call["call_id"] for call in calls] == [output["call_id"] for output in outputs]
    assert [output["status"] for output in outputs] == ["completed", "completed", "failed", "completed"]
    assert "These lines are not in the file" in outputs[2]["output"]
    (block,) = items(response, "code_interpreter_call")
    assert block["outputs"][0]["logs"] == "x = 5\ny = 2\n\nPatchError\nFalse\n"
    assert "apply_patch(patch: Any)" in model_server.requests[0].messages[0]["content"]
    # A client that keeps the conversation sends the items back; the model reads them once.
    model_server.reply("Yes.")
    again = {"input": [*response["output"], {"role": "user", "content": "and now?"}], "tools": TOOLS, "store": False}  # type: ignore[misc]
    assert httpx.post(f"{scripted.url}/v1/responses", json=again, timeout=60).status_code == 200


@pytest.mark.parametrize(
    "said",
    [
        "{}",
        "{'operation': {'type': 'rename', 'path': 'a'}}",
        "{'operation': {'type': 'create_file', 'path': 'a'}}",
        "{'operation': {'type': 'create_file', 'path': 'a', 'diff': 1}}",
        "{'operation': {'type': 'create_file', 'path': '', 'diff': ''}}",
        "{'operation': {'type': 'create_file', 'path': 'a' * 5000, 'diff': ''}}",
        "{'operation': {'type': 'update_file', 'path': 'a', 'diff': 'x' * 600_000}}",
        "{'status': 'completed', 'output': 'x'}",
        "{'status': 'gone', 'output': 'x'}",
    ],
)
def test_what_hostile_code_says_of_a_patch_is_refused(scripted: Running, model_server: ModelServer, said: str) -> None:
    code = f"from codeact_calls import call\ntry:\n    call('apply_patch', {said})\nexcept CallError:\n    print('no')"
    response = answered(scripted, model_server, code)
    assert not items(response, "apply_patch_call")
    assert items(response, "code_interpreter_call")[0]["outputs"][0]["logs"] == "no\n"


def test_a_patch_that_never_ends_is_closed_with_its_code(scripted: Running, model_server: ModelServer) -> None:
    code = "from codeact_calls import call\ncall('apply_patch', {'operation': {'type': 'delete_file', 'path': 'a'}})"
    (output,) = items(answered(scripted, model_server, code), "apply_patch_call_output")
    assert output["status"] == "failed"
