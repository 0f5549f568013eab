"""Code and calls wait for approval: the official client with a real server, kernel, database and MCP server."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai.types.responses import Response
from openai.types.responses.response_output_item import McpApprovalRequest
from websockets.sync.client import connect

from codeact.tools.approval import ApprovalQuestion, Ruling
from tests.model_server import ModelServer
from tests.server.conftest import Running
from tests.server.test_functions import logs, run_code

MCP_SERVER = Path(__file__).parent.parent / "mcp_server.py"


@pytest.fixture(scope="module")
def approving(
    make_server: Callable[..., Running], model_server: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> Running:
    config = tmp_path_factory.mktemp("mcp") / "mcp.json"
    config.write_text(json.dumps({"mcpServers": {"sums": {"command": sys.executable, "args": [str(MCP_SERVER)]}}}))
    server = make_server(
        api_keys="key-a,key-b",
        models="openai/scripted,openai/other",
        model=None,
        model_api_base=model_server.base_url,
        model_api_key="test",
        mcp_config=config,
        approval="function:sums.fail",
        approval_judge=f"{__name__}:judge",
        embed_origins="https://shop.example",
    )
    connected(server)
    return server


def judge(question: ApprovalQuestion) -> Any:
    """The operator's judge: decides about code that names it, and leaves the rest to a person."""
    _, _, word = question.code.partition("# judge: ")
    return {"yes": True, "no": "not today", "other": Ruling(True, code="print('other')")}.get(word)


def until(condition: Callable[[], bool]) -> None:
    """Waits for something that nothing tells."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def connected(server: Running) -> None:
    until(lambda: bool(server.state.mcp.functions))


@pytest.fixture
def client(approving: Running, model_server: ModelServer) -> Iterator[openai.OpenAI]:
    model_server.reset()
    with openai.OpenAI(base_url=f"{approving.url}/v1", api_key="key-a", timeout=60, max_retries=0) as client:
        yield client


def write(model_server: ModelServer, code: str) -> None:
    """Lets the model write code that will wait."""
    model_server.reply(f"<execute>\n{code}\n</execute>\n")


def ask(client: openai.OpenAI, *rules: str, **more: Any) -> Response:
    body = {"codeact:approval": list(rules)} if rules else {}
    return client.responses.create(model="codeact", **{"input": "go", "extra_body": body, **more})


def code_request(response: Response) -> Any:
    (found,) = [item for item in response.output if str(item.type) == "codeact:approval_request"]
    return found


def call_request(response: Response) -> McpApprovalRequest:
    (found,) = [item for item in response.output if item.type == "mcp_approval_request"]
    return found


def decision(request: Any, approve: bool = True, **more: Any) -> Any:
    kind = "mcp_approval_response" if request.type == "mcp_approval_request" else "codeact:approval_response"
    return {"type": kind, "approval_request_id": request.id, "approve": approve, **more}


def decide(client: openai.OpenAI, response: Response, request: Any, approve: bool = True, **more: Any) -> Response:
    rules = [rule for rule in request.model_extra.get("codeact:reasons", []) if rule != "function:sums.fail"]
    return ask(client, *rules, previous_response_id=response.id, input=[decision(request, approve, **more)])


def waiting(client: openai.OpenAI, status: str = "waiting") -> list[Any]:
    listed: Any = client.get(f"/approvals?status={status}&limit=100", cast_to=httpx.Response)
    return list(listed.json()["data"])


def read(client: openai.OpenAI, approval_id: str) -> Any:
    return client.get(f"/approvals/{approval_id}", cast_to=httpx.Response).json()


def observed(model_server: ModelServer) -> str:
    return str(model_server.requests[-1].messages[-1]["content"])


# ---- code --------------------------------------------------------------------------------------------


def test_code_waits_before_it_runs_and_runs_once_it_is_approved(
    client: openai.OpenAI, model_server: ModelServer
) -> None:
    run_code(model_server, "print(6 * 7)", "It is 42.")
    first = ask(client, "code")
    request = code_request(first)
    block = next(item for item in first.output if item.type == "code_interpreter_call")
    assert first.status == "completed"
    assert (request.code, request.code_item_id, request.reasons) == ("print(6 * 7)", block.id, ["code"])
    assert (block.status, logs(first)) == ("completed", "")
    (listed,) = [each for each in waiting(client) if each["id"] == request.id]
    assert (listed["response_id"], listed["preview"], listed["kind"]) == (first.id, "print(6 * 7)", "code")
    second = decide(client, first, request)
    assert logs(second) == "42\n"
    assert second.output_text == "It is 42."
    assert "42" in observed(model_server)
    assert request.id not in [each["id"] for each in waiting(client)]
    assert read(client, request.id)["decision_id"] == second.id


def test_edited_code_runs_in_place_of_it_and_the_model_is_told(
    client: openai.OpenAI, model_server: ModelServer
) -> None:
    run_code(model_server, "print('as written')")
    first = ask(client, "code")
    second = decide(client, first, code_request(first), code="print('as changed')")
    assert logs(second) == "as changed\n"
    assert next(item.code for item in second.output if item.type == "code_interpreter_call") == "print('as changed')"
    assert "changed your block before it ran. What ran:\nprint('as changed')" in observed(model_server)
    assert next(item.code for item in first.output if item.type == "code_interpreter_call") == "print('as written')"
    assert read(client, code_request(first).id)["edited"] is True


def test_a_rejection_is_an_observation_with_its_reason(client: openai.OpenAI, model_server: ModelServer) -> None:
    run_code(model_server, "print(1)", "As you like.")
    first = ask(client, "code")
    second = decide(client, first, code_request(first), approve=False, reason="Not on a Friday.")
    assert second.output_text == "As you like."
    assert "this block was rejected" in observed(model_server)
    assert "Not on a Friday." in observed(model_server)


def test_always_in_this_conversation_holds_for_the_rules_that_asked_and_in_it_alone(
    client: openai.OpenAI, model_server: ModelServer
) -> None:
    run_code(model_server, "print(1)")
    first = ask(client, "code")
    second = decide(client, first, code_request(first), scope="conversation")
    run_code(model_server, "print(2)")
    third = ask(client, "code", previous_response_id=second.id)
    assert logs(third) == "2\n"
    write(model_server, "import os\nos.remove('x')")
    code_request(ask(client, "code", "deletes", previous_response_id=third.id))
    write(model_server, "print(3)")
    code_request(ask(client, "code"))


def test_a_user_who_goes_on_without_a_decision_withdraws_it(client: openai.OpenAI, model_server: ModelServer) -> None:
    run_code(model_server, "print(1)", "Fine.")
    first = ask(client, "code")
    assert ask(client, previous_response_id=first.id, input="Never mind.").output_text == "Fine."
    assert "went on without a decision" in str(model_server.requests[-1].messages)
    with pytest.raises(openai.ConflictError, match="no longer waits"):
        decide(client, first, code_request(first))


def test_code_waits_without_its_sandbox(client: openai.OpenAI, approving: Running, model_server: ModelServer) -> None:
    run_code(model_server, "print('still here')")
    first = ask(client, "code")
    assert first.conversation is not None
    approving.state.workspaces._workspaces.pop(first.conversation.id)
    second = decide(client, first, code_request(first))
    assert logs(second) == "still here\n"
    assert second.model_extra["codeact:notices"] == []


# ---- calls -------------------------------------------------------------------------------------------


def test_a_call_in_running_code_waits_and_is_made_once_it_is_approved(
    client: openai.OpenAI, model_server: ModelServer
) -> None:
    run_code(model_server, "print(sums.look()['result'])\nprint(sums.add(a=40, b=2)['result'])", "42.")
    first = ask(client, "destructive")
    request = call_request(first)
    assert (request.server_label, request.name, json.loads(request.arguments)) == ("sums", "add", {"a": 40, "b": 2})
    assert logs(first) == "seen\n"
    second = decide(client, first, request)
    assert logs(second) == "42\n"
    (call,) = [item for item in second.output if item.type == "mcp_call"]
    assert (call.approval_request_id, call.output) == (request.id, '{"result": 42}')
    assert second.output_text == "42."


def test_a_rejected_call_is_an_error_in_the_code_and_edited_arguments_are_used(
    client: openai.OpenAI, model_server: ModelServer
) -> None:
    code = "try:\n    sums.add(a=1, b=2)\nexcept CallError as error:\n    print(error)\n"
    run_code(model_server, f"{code}print(sums.add(a=3, b=4)['result'])")
    first = ask(client, "calls")
    second = decide(client, first, call_request(first), approve=False, reason="too large")
    assert "rejected" in logs(second)
    assert "too large" in logs(second)
    third = decide(client, second, call_request(second), **{"codeact:arguments": '{"a": 5, "b": 6}'})
    assert logs(third) == "11\n"


@pytest.mark.usefixtures("calls_come_together")
def test_calls_side_by_side_are_decided_one_by_one(client: openai.OpenAI, model_server: ModelServer) -> None:
    code = (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(2) as pool:\n"
        "    print(sorted(pool.map(lambda a: sums.add(a=a, b=0)['result'], [1, 2])))"
    )
    run_code(model_server, code)
    first = ask(client, "calls")
    one, two = [item for item in first.output if item.type == "mcp_approval_request"]
    second = decide(client, first, one)
    assert second.status == "completed"
    with pytest.raises(openai.BadRequestError, match=second.id):
        decide(client, first, two)
    assert logs(decide(client, second, two)) == "[1, 2]\n"


def test_the_policy_of_the_operator_holds_without_a_word_of_the_client(
    client: openai.OpenAI, model_server: ModelServer
) -> None:
    run_code(model_server, "sums.fail()")
    assert call_request(ask(client, "never")).name == "fail"


def test_an_approved_call_whose_kernel_is_gone_is_made_again_without_asking(
    client: openai.OpenAI, approving: Running, model_server: ModelServer
) -> None:
    run_code(model_server, "print(sums.add(a=1, b=1))", "not yet")
    first = ask(client, "calls")
    assert first.conversation is not None
    approving.state.workspaces._workspaces.pop(first.conversation.id)
    model_server.reset()
    run_code(model_server, "print(sums.add(b=1, a=1)['result'])", "2")
    second = ask(client, "calls", previous_response_id=first.id, input=[decision(call_request(first))])
    assert "could not go on, since its kernel is gone" in str(model_server.requests[0].messages)
    assert logs(second) == "2\n"


def test_approved_code_runs_although_a_call_waits_in_another_branch(
    client: openai.OpenAI, model_server: ModelServer
) -> None:
    model_server.reply("Hello.")
    start = ask(client)
    write(model_server, "print('approved')")
    one = ask(client, "code", previous_response_id=start.id)
    write(model_server, "print(sums.add(a=1, b=1))")
    other = ask(client, "calls", previous_response_id=start.id)
    call = call_request(other)
    model_server.reply("It ran.")
    second = decide(client, one, code_request(one))
    assert logs(second) == "approved\n"
    assert second.output_text == "It ran."
    model_server.reply("I see.")
    assert decide(client, other, call).output_text == "I see."
    assert "could not go on" in str(model_server.requests[-1].messages)


# ---- who decides -------------------------------------------------------------------------------------


def test_of_two_approvers_one_wins_and_the_other_is_told(client: openai.OpenAI, model_server: ModelServer) -> None:
    run_code(model_server, "print('once')")
    first = ask(client, "code")
    request = code_request(first)

    def try_to_decide(number: int) -> Response | openai.APIStatusError:
        try:
            return decide(client, first, request)
        except openai.APIStatusError as error:
            return error

    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(try_to_decide, range(4)))
    won = [result for result in results if isinstance(result, Response)]
    lost = [result for result in results if not isinstance(result, Response)]
    assert [logs(result) for result in won] == ["once\n"]
    assert {error.status_code for error in lost} == {409}
    with pytest.raises(openai.ConflictError, match="already approved, by") as told:
        decide(client, first, request)
    assert told.value.code == "approval_decided"


def test_what_has_expired_is_not_run(
    client: openai.OpenAI, approving: Running, model_server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(approving.settings.__dict__, "approval_expires_s", 0.0)
    run_code(model_server, "print(1)")
    first = ask(client, "code")
    request = code_request(first)
    with pytest.raises(openai.ConflictError, match="expired at"):
        decide(client, first, request)
    assert request.id in [each["id"] for each in waiting(client, "expired")]
    assert request.id not in [each["id"] for each in waiting(client)]


def test_hostile_decisions_are_refused_by_name_and_decide_nothing(
    client: openai.OpenAI, approving: Running, model_server: ModelServer
) -> None:
    run_code(model_server, "print('ran')")
    first = ask(client, "code")
    request = code_request(first)
    with openai.OpenAI(base_url=f"{approving.url}/v1", api_key="key-b", timeout=60, max_retries=0) as other:
        with pytest.raises(openai.NotFoundError):
            decide(other, first, request)
        with pytest.raises(openai.NotFoundError):
            ask(other, input=[decision(request)])
        with pytest.raises(openai.NotFoundError):
            read(other, request.id)
    unknown: Any = {**decision(request), "approval_request_id": "apr_0"}
    too_long: Any = {**decision(request), "code": "x" * 10_000_000}
    wrong: Any = {"type": "mcp_approval_response", "approval_request_id": request.id, "approve": True}
    for refused, status, message in [
        ([unknown], 404, "Nothing waits for approval under the id 'apr_0'"),
        ([wrong], 400, "codeact:approval_response"),
        ([decision(request), decision(request)], 400, "each once"),
        ([decision(request, code="")], 400, "code"),
        ([decision(request, code="x" * 200_001)], 400, "code"),
        ([decision(request, reason="x" * 4_001)], 400, "reason"),
        ([decision(request, scope="for ever")], 400, "scope"),
        ([too_long], 413, "8000000"),
        ([decision(request), unknown], 404, "apr_0"),
    ]:
        with pytest.raises(openai.APIStatusError) as error:
            ask(client, previous_response_id=first.id, input=refused)
        assert error.value.status_code == status, error.value
        assert message in str(error.value).replace(",", "")
    conversation_id = first.conversation.id if first.conversation is not None else ""
    with pytest.raises(openai.BadRequestError, match="decided by a response"):
        client.conversations.items.create(conversation_id, items=[decision(request)])
    assert read(client, request.id)["status"] == "waiting"
    assert logs(ask(client, input=[decision(request)])) == "ran\n"  # By the id alone, as from the list.


def test_what_waits_in_a_deleted_conversation_is_not_listed_and_cannot_be_decided(
    client: openai.OpenAI, model_server: ModelServer
) -> None:
    write(model_server, "print(1)")
    first = ask(client, "code")
    request = code_request(first)
    assert first.conversation is not None
    client.conversations.delete(first.conversation.id)
    assert request.id not in [each["id"] for each in waiting(client)]
    with pytest.raises(openai.NotFoundError):
        ask(client, input=[decision(request)])


def test_an_unstored_answer_waits_on_its_socket_and_is_decided_once(
    client: openai.OpenAI, approving: Running, model_server: ModelServer
) -> None:
    run_code(model_server, "print('unstored')")
    with connect(approving.ws_url, additional_headers={"Authorization": "Bearer key-a"}, max_size=None) as socket:

        def send(body: dict[str, Any]) -> dict[str, Any]:
            socket.send(json.dumps({"type": "response.create", "store": False, **body}))
            while True:
                event: dict[str, Any] = json.loads(socket.recv(timeout=60))
                if event["type"] in ("response.completed", "error"):
                    return event

        first = send({"input": "go", "codeact:approval": "code"})["response"]
        request = next(item for item in first["output"] if item["type"] == "codeact:approval_request")
        assert request["id"] not in [each["id"] for each in waiting(client)]
        answer = {"type": "codeact:approval_response", "approval_request_id": request["id"], "approve": True}
        decided = {"previous_response_id": first["id"], "input": [answer]}
        block = next(item for item in send(decided)["response"]["output"] if item["type"] == "code_interpreter_call")
        assert block["outputs"][0]["logs"] == "unstored\n"
        assert send(decided)["type"] == "error"


def test_a_response_that_is_not_stored_decides_nothing_that_is(
    client: openai.OpenAI, model_server: ModelServer
) -> None:
    run_code(model_server, "print('once')")
    first = ask(client, "code")
    request = code_request(first)
    with pytest.raises(openai.BadRequestError, match="without 'store': false"):
        ask(client, previous_response_id=first.id, input=[decision(request)], store=False)
    assert read(client, request.id)["status"] == "waiting"
    assert logs(decide(client, first, request)) == "once\n"


def test_a_rule_that_does_not_exist_is_refused_by_name(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="'sometimes' is no rule"):
        ask(client, "sometimes")


def test_an_imported_conversation_allows_nothing(client: openai.OpenAI, model_server: ModelServer) -> None:
    run_code(model_server, "print(1)")
    first = ask(client, "code")
    second = decide(client, first, code_request(first), scope="conversation")
    assert second.conversation is not None
    path = f"/conversations/{second.conversation.id}/export?format=json"
    archive = client.get(path, cast_to=httpx.Response).json()
    imported: Any = client.post("/conversations/import", body=archive, cast_to=httpx.Response).json()
    write(model_server, "print(2)")
    code_request(ask(client, "code", conversation=imported["id"]))


def test_visitors_of_an_embedding_page_approve_only_where_the_operator_says_so(
    client: openai.OpenAI, approving: Running, model_server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"user": "ann", "origin": "https://shop.example"}
    session: Any = client.post("/embed/sessions", body=body, cast_to=httpx.Response).json()
    headers = {"Authorization": f"Bearer {session['token']}", "Origin": approving.url}
    run_code(model_server, "print(1)")
    sent: dict[str, Any] = {"input": "go", "codeact:approval": "code"}
    with httpx.Client(base_url=f"{approving.url}/v1", headers=headers, timeout=60, trust_env=False) as http:
        first = http.post("/responses", json=sent).raise_for_status().json()
        request = next(item for item in first["output"] if item["type"] == "codeact:approval_request")
        answer = {"type": "codeact:approval_response", "approval_request_id": request["id"], "approve": True}
        body = {"previous_response_id": first["id"], "input": [answer]}
        refused = http.post("/responses", json=body)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "approval_forbidden")
        monkeypatch.setitem(vars(approving.settings), "approval_embed", True)
        allowed = http.post("/responses", json=body).raise_for_status().json()
    assert observed(model_server).endswith("stdout:\n1")
    assert allowed["status"] == "completed"


def test_every_decision_is_in_the_audit_log_with_who_made_it(
    client: openai.OpenAI, approving: Running, model_server: ModelServer
) -> None:
    run_code(model_server, "print(1)")
    first = ask(client, "code")
    request = code_request(first)
    decide(client, first, request)
    with pytest.raises(openai.ConflictError):
        decide(client, first, request)
    decided_by = read(client, request.id)["decided_by"]

    until(lambda: len(audited(client, request.id)) == 2)  # They are stored once a second.
    found = audited(client, request.id)
    assert {(each["action"], each["status"]) for each in found} == {
        ("approval.approve", 200),
        ("approval.approve", 409),
    }
    assert {each["credential_id"] for each in found} == {decided_by}
    changed, rejected = [], []
    for actions, approve, more in ((changed, True, {"code": "print(2)"}), (rejected, False, {"reason": "no"})):
        run_code(model_server, "print(1)")
        waits = ask(client, "code")
        actions.append(code_request(waits).id)
        decide(client, waits, code_request(waits), approve, **more)
    until(lambda: len(audited(client, rejected[0])) == 1)
    assert [each["action"] for each in audited(client, changed[0])] == ["approval.edit"]
    assert [each["action"] for each in audited(client, rejected[0])] == ["approval.reject"]


def audited(client: openai.OpenAI, subject: str) -> list[Any]:
    page: Any = client.get("/audit?limit=100", cast_to=httpx.Response)
    return [each for each in page.json()["data"] if each["subject"] == subject]


def test_the_operators_judge_decides_before_a_person_and_its_decisions_are_in_the_audit_log(
    client: openai.OpenAI, model_server: ModelServer
) -> None:
    for word, seen in (("yes", "mine"), ("no", "The reason: not today"), ("other", "other")):
        run_code(model_server, f"print('mine')  # judge: {word}")
        response = ask(client, "code")
        assert [str(item.type) for item in response.output] == ["message", "code_interpreter_call", "message"], word
        assert seen in observed(model_server)

    def entries() -> list[str]:
        return [each["action"] for each in audited(client, "python") if each["credential_id"] == "judge"]

    until(lambda: len(entries()) == 3)
    assert sorted(entries()) == ["approval.approve", "approval.approve", "approval.reject"]


def test_a_functions_first_use_waits_until_one_was_approved(client: openai.OpenAI, model_server: ModelServer) -> None:
    run_code(model_server, "print(sums.add(1, 2))")
    first = ask(client, "first_use")
    second = decide(client, first, call_request(first))
    assert "3" in observed(model_server)
    run_code(model_server, "print(sums.add(2, 5))")
    third = ask(client, "first_use", previous_response_id=second.id)
    assert all(item.type != "mcp_approval_request" for item in third.output)
    assert "7" in observed(model_server)
    run_code(model_server, "print(sums.add(2, 5))")
    call_request(ask(client, "first_use"))


def test_always_in_this_conversation_can_be_taken_away(
    client: openai.OpenAI, approving: Running, model_server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(vars(approving.settings), "approval_standing", False)
    run_code(model_server, "print(1)")
    first = ask(client, "code")
    second = decide(client, first, code_request(first), scope="conversation")
    run_code(model_server, "print(2)")
    code_request(ask(client, "code", previous_response_id=second.id))
