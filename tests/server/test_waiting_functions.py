"""Calls of a client's functions that wait for values are listed with what waits for approval."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import openai
import pytest

from tests.model_server import ModelServer
from tests.server import waiting_code
from tests.server.conftest import Running
from tests.server.test_approvals import call_request, read, waiting
from tests.server.test_functions import calls, logs, output, run_code
from tests.server.waiting_code import ask, expire, start

patience = waiting_code.patience


@pytest.fixture(scope="module")
def server(
    make_server: Callable[..., Running], model_server: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> Running:
    return start(make_server, model_server, tmp_path_factory.mktemp("mcp"), api_keys="key-a,key-b")


@pytest.fixture
def client(server: Running, model_server: ModelServer) -> Iterator[openai.OpenAI]:
    model_server.reset()
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="key-a", timeout=60, max_retries=0) as client:
        yield client


def of(client: openai.OpenAI, response_id: str, status: str = "waiting") -> list[Any]:
    return [each for each in waiting(client, status) if each["response_id"] == response_id]


def test_a_call_waits_in_the_list_of_its_owner_until_its_value_comes(
    client: openai.OpenAI, server: Running, model_server: ModelServer
) -> None:
    run_code(model_server, "print(get_weather('Bern'))", "It is fine.")
    first = ask(client)
    (call,) = calls(first)
    (listed,) = of(client, first.id)
    assert first.conversation is not None
    assert (listed["kind"], listed["status"], listed["name"]) == ("function", "waiting", "get_weather")
    assert (listed["id"], listed["call_id"], listed["preview"]) == (call.id, call.call_id, call.arguments)
    assert (listed["conversation_id"], listed["reasons"]) == (first.conversation.id, [])
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="key-b", timeout=60, max_retries=0) as other:
        assert of(other, first.id, "all") == []
        with pytest.raises(openai.NotFoundError):
            read(other, call.id)
        with pytest.raises(openai.NotFoundError):
            other.get(f"/approvals?after={call.id}", cast_to=httpx.Response)
    second = ask(client, previous_response_id=first.id, input=[output(call, "sunny")])
    assert logs(second) == "sunny\n"
    assert of(client, first.id) == []
    answered = read(client, call.id)
    assert (answered["status"], answered["decision_id"], answered["decided_by"]) == ("answered", second.id, None)


def test_a_value_that_never_comes_withdraws_its_call_and_leaves_those_of_other_conversations(
    client: openai.OpenAI, model_server: ModelServer
) -> None:
    run_code(model_server, "print(get_weather('Basel'))")
    other = ask(client)
    model_server.reset()
    run_code(model_server, "print(get_weather('Bern'))")
    first = ask(client)
    ask(client, previous_response_id=first.id, input="Never mind.")
    assert read(client, calls(first)[0].id)["status"] == "withdrawn"
    assert len(of(client, other.id)) == 1


@pytest.mark.parametrize("keeps_state", [True, False])
def test_a_call_whose_kernel_is_gone_waits_on_and_is_answered_whether_its_code_can_run_again_or_not(
    client: openai.OpenAI,
    server: Running,
    model_server: ModelServer,
    monkeypatch: pytest.MonkeyPatch,
    keeps_state: bool,
) -> None:
    run_code(model_server, "import random\nprint(get_weather('Bern'))", "I see.")
    if not keeps_state:
        monkeypatch.setattr("codeact.agent.call_record.MOST_CODE_CHARS", 1)
    first = ask(client)
    expire(server, first)
    assert len(of(client, first.id)) == 1
    second = ask(client, previous_response_id=first.id, input=[output(calls(first)[0], "cold")])
    assert logs(second) == ("cold\n" if keeps_state else "")
    assert read(client, calls(first)[0].id)["status"] == "answered"


def test_calls_and_approvals_are_one_list_that_can_be_read_by_kind_and_page_by_page(
    client: openai.OpenAI, model_server: ModelServer
) -> None:
    run_code(model_server, "get_weather('Bern')")
    call = calls(ask(client))[0]
    model_server.reset()
    run_code(model_server, "print(sums.add(a=1, b=1)['result'])")
    request = call_request(ask(client, "calls"))

    def page(query: str) -> Any:
        return client.get(f"/approvals?{query}", cast_to=httpx.Response).json()

    assert [each["id"] for each in page("limit=2")["data"]] == [request.id, call.id]
    assert [each["id"] for each in page("limit=1&kind=function")["data"]] == [call.id]
    assert [each["id"] for each in page("limit=1&kind=call")["data"]] == [request.id]
    assert page(f"limit=1&after={request.id}")["data"][0]["id"] == call.id
    with pytest.raises(openai.BadRequestError, match="kind"):
        page("kind=everything")


def test_a_decision_about_a_function_is_refused_by_name(client: openai.OpenAI, model_server: ModelServer) -> None:
    run_code(model_server, "print(get_weather('Bern'))")
    first = ask(client)
    (call,) = calls(first)
    for kind in ("mcp_approval_response", "codeact:approval_response"):
        wrong = {"type": kind, "approval_request_id": call.id, "approve": True}
        with pytest.raises(openai.BadRequestError, match="function_call_output"):
            ask(client, previous_response_id=first.id, input=[wrong])
    assert read(client, call.id)["status"] == "waiting"
    assert logs(ask(client, previous_response_id=first.id, input=[output(call, "fine")])) == "fine\n"


def test_calls_of_an_unstored_answer_are_not_listed(client: openai.OpenAI, model_server: ModelServer) -> None:
    run_code(model_server, "get_weather('Bern')")
    unstored = ask(client, store=False)
    assert calls(unstored)
    assert of(client, unstored.id, "all") == []


@pytest.mark.parametrize("code", ["get_weather('Bern')", "sums.add(a=1, b=2)"])
def test_what_waits_in_a_deleted_response_is_listed_no_more(
    client: openai.OpenAI, model_server: ModelServer, code: str
) -> None:
    run_code(model_server, code)
    first = ask(client, "calls")
    assert len(of(client, first.id)) == 1
    client.responses.delete(first.id)
    assert of(client, first.id, "all") == []
