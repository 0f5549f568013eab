"""Answers to code whose kernel was lost while it waited: at the same instant, too late, and while something fails."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import anyio
import openai
import pytest
from openai.types.responses import Response

from codeact.agent.response_builder import ResponseBuilder
from codeact.errors import StoreUnavailable
from codeact.runs import question
from codeact.runs.waiting_blocks import Found, find_waiting_block
from codeact.store.repositories.threads import Moved, Threads
from codeact.workspaces.restoration import Restoration
from tests.model_server import Gate, ModelServer
from tests.server import waiting_code
from tests.server.conftest import Running
from tests.server.test_approvals import call_request, decision, waiting
from tests.server.test_functions import SHOWS_CODE, calls, logs, output, run_code
from tests.server.waiting_code import ask, expire, notices, press, settle, start

CALL_BYTES = 100_000


client, patience = waiting_code.client, waiting_code.patience


@pytest.fixture(scope="module")
def server(
    make_server: Callable[..., Running], model_server: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> Running:
    return start(make_server, model_server, tmp_path_factory.mktemp("mcp"), call_bytes=CALL_BYTES)


def at_once(send: Callable[[], Response]) -> tuple[list[Response], list[openai.APIStatusError]]:
    """Sends the same request four times at once. Returns the answers, and the errors."""

    def attempt(_: int) -> Response | openai.APIStatusError:
        try:
            return send()
        except openai.APIStatusError as error:
            return error

    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(attempt, range(4)))
    errors = [each for each in results if isinstance(each, openai.APIStatusError)]
    return [each for each in results if isinstance(each, Response)], errors


def made(response: Response) -> int:
    """How many calls outside of the sandbox it made."""
    return sum(item.type == "mcp_call" for item in response.output)


def test_of_two_approvers_at_the_same_instant_one_lets_the_block_run_again(
    client: openai.OpenAI, server: Running, model_server: ModelServer
) -> None:
    run_code(model_server, "print('asking')\nprint(sums.add(a=1, b=1)['result'])")
    first = ask(client, "calls")
    request = call_request(first)
    expire(server, first)
    decide = partial(ask, client, "calls", previous_response_id=first.id, input=[decision(request)])
    won, lost = at_once(decide)
    assert [(logs(each), made(each), notices(each)) for each in won] == [("2\n", 1, ["kernel_restored"])]
    assert [error.status_code for error in lost] == [409] * 3


def test_of_two_values_at_the_same_instant_one_lets_the_block_run_again(
    client: openai.OpenAI, server: Running, model_server: ModelServer
) -> None:
    run_code(model_server, "print(get_weather('Bern'))\nprint(sums.look()['result'])")
    model_server.reply("I see.")
    model_server.reply("I see.")
    model_server.reply("I see.")
    first = ask(client)
    expire(server, first)
    value = [output(calls(first)[0], "fine")]
    answered, refused = at_once(partial(ask, client, previous_response_id=first.id, input=value))
    # One that comes after the end of another continues the conversation, without running the block.
    assert sorted(made(each) for each in answered) == [*[0] * (len(answered) - 1), 1]
    assert {error.status_code for error in refused} <= {409}


def test_a_block_that_goes_on_elsewhere_while_a_request_begins_does_not_run_twice(
    client: openai.OpenAI, server: Running, model_server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_code(model_server, "print(get_weather('Bern'))\nprint(sums.look()['result'])")
    first = ask(client)
    expire(server, first)
    begin, begun, found = Threads.begin, [], []

    async def begin_late(self: Threads, *arguments: Any, **more: Any) -> None:
        begun.append(1)
        if len(begun) == 1:
            raise Moved
        await begin(self, *arguments, **more)

    async def find(*arguments: Any) -> Found | None:
        found.append(await find_waiting_block(*arguments))
        return found[0] if len(found) == 1 else Found(problem="it has gone on already, after another request")

    monkeypatch.setattr(Threads, "begin", begin_late)
    monkeypatch.setattr(question, "find_waiting_block", find)
    second = ask(client, previous_response_id=first.id, input=[output(calls(first)[0], "fine")])
    assert found[0] is not None
    assert found[0].block is not None
    assert (made(second), logs(second)) == (0, "")
    assert "code_not_repeated" in notices(second)


def test_a_database_that_fails_while_the_block_is_sought_leaves_the_decision_to_be_made_again(
    client: openai.OpenAI, server: Running, model_server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_code(model_server, "print(sums.add(a=1, b=1)['result'])")
    first = ask(client, "calls")
    request = call_request(first)
    expire(server, first)

    async def fail(*_: Any) -> bool:
        raise StoreUnavailable("The database does not answer.")

    with monkeypatch.context() as patch:
        patch.setattr(Threads, "has_continued", fail)
        with pytest.raises(openai.InternalServerError, match="database") as refused:
            ask(client, "calls", previous_response_id=first.id, input=[decision(request)])
    assert refused.value.status_code == 503
    assert request.id in [each["id"] for each in waiting(client)]
    second = ask(client, "calls", previous_response_id=first.id, input=[decision(request)])
    assert logs(second) == "2\n"


def test_code_that_could_not_go_on_waits_on_in_its_living_kernel(
    client: openai.OpenAI, model_server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_code(model_server, "print(get_weather('Bern'))")
    first = ask(client)
    value = [output(calls(first)[0], "fine")]

    async def fail(*_: Any, **__: Any) -> None:
        raise StoreUnavailable("The database does not answer.")

    with monkeypatch.context() as patch:
        patch.setattr(ResponseBuilder, "code_continues", fail)
        assert ask(client, previous_response_id=first.id, input=value).status == "failed"
    second = ask(client, previous_response_id=first.id, input=value)
    assert (second.status, logs(second), notices(second)) == ("completed", "fine\n", [])


def test_the_first_value_of_a_call_is_that_of_a_block_that_runs_again(
    client: openai.OpenAI, server: Running, model_server: ModelServer
) -> None:
    run_code(model_server, "for city in ('Bern', 'Basel', 'Chur'):\n    print(get_weather(city))")
    first = ask(client)
    bern = calls(first)[0]
    second = ask(client, previous_response_id=first.id, input=[output(bern, "one")])
    values = [output(bern, "other"), output(calls(second)[0], "two")]
    third = ask(client, previous_response_id=second.id, input=values)
    assert logs(third) == "two\n"
    expire(server, third)
    fourth = ask(client, previous_response_id=third.id, input=[output(calls(third)[0], "three")])
    assert (logs(fourth), notices(fourth)) == ("three\n", ["kernel_restored"])


def test_values_of_a_client_count_no_more_when_the_block_runs_again(
    client: openai.OpenAI, server: Running, model_server: ModelServer
) -> None:
    run_code(model_server, "for city in ('Bern', 'Basel', 'Chur'):\n    print(len(get_weather(city)))")
    long = "x" * (CALL_BYTES // 2 + 1)
    first = ask(client)
    second = ask(client, previous_response_id=first.id, input=[output(calls(first)[0], long)])
    third = ask(client, previous_response_id=second.id, input=[output(calls(second)[0], long)])
    expire(server, third)
    fourth = ask(client, previous_response_id=third.id, input=[output(calls(third)[0], "fine")])
    assert (logs(fourth), notices(fourth)) == ("4\n", ["kernel_restored"])


def test_a_thread_that_calls_on_while_other_output_is_awaited_is_no_other_way(
    client: openai.OpenAI, server: Running, model_server: ModelServer
) -> None:
    code = (
        "import os, threading, time\n"
        "found = []\n"
        "def later():\n"
        "    time.sleep(0.25)\n"
        "    found.append(sums.add(a=1, b=1)['result'])\n"
        "thread = threading.Thread(target=later)\n"
        "print(os.urandom(8).hex())\n"
        "thread.start()\n"
        "sky = get_weather('Bern')\n"
        "thread.join()\n"
        "print(sky, found)"
    )
    run_code(model_server, code)
    first = ask(client)
    assert made(first) == 0
    expire(server, first)
    second = ask(client, previous_response_id=first.id, input=[output(calls(first)[0], "fine")])
    assert notices(second) == ["kernel_restored", "output_differs"]
    assert (made(second), logs(second).splitlines()[-1]) == (1, "fine [2]")


def test_user_and_model_read_what_did_not_come_back_with_a_block_that_runs_again(
    client: openai.OpenAI, server: Running, model_server: ModelServer
) -> None:
    model_server.reply("<execute>\nheld = open('log.txt', 'w')\n</execute>\n")
    run_code(model_server, "print(get_weather('Bern'))")
    first = ask(client)
    expire(server, first)
    second = ask(client, previous_response_id=first.id, input=[output(calls(first)[0], "fine")])
    assert logs(second) == "fine\n"
    assert "Not restored: held (" in str(second.model_extra)
    assert "Not restored: held (" in model_server.requests[-1].messages[-1]["content"]


def test_a_restore_that_is_cancelled_leaves_the_block_to_run_with_the_value_sent_again(
    client: openai.OpenAI, server: Running, model_server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_code(model_server, "n = 41")
    before = ask(client)
    settle(server, before)
    model_server.reset()
    run_code(model_server, "n += 1\nprint(get_weather('Bern'), n)\nprint(sums.look()['result'])")
    first = ask(client, previous_response_id=before.id)
    expire(server, first)
    value = [output(calls(first)[0], "fine")]
    restoring: Future[None] = Future()

    async def never(*_: Any) -> None:
        restoring.set_result(None)
        await anyio.sleep_forever()

    with monkeypatch.context() as patch:
        patch.setattr(Restoration, "_load", never)
        begun = ask(client, previous_response_id=first.id, input=value, background=True)
        restoring.result(timeout=30)
        assert client.responses.cancel(begun.id).status == "cancelled"
    second = ask(client, previous_response_id=first.id, input=value)
    assert (logs(second), made(second), notices(second)) == ("fine 42\nseen\n", 1, ["kernel_restored"])


def test_a_block_whose_sandbox_is_taken_while_its_value_is_queued_runs_again(
    make_server: Callable[..., Running], model_server: ModelServer
) -> None:
    server = make_server(
        model="openai/scripted",
        model_api_base=model_server.base_url,
        model_api_key="test",
        checkpoint=True,
        max_concurrent_runs=1,
        max_queued_runs=1,
    )
    model_server.reset()
    gate = Gate()
    model_server.reply("<execute>\nprint(get_weather('Bern'))\n</execute>\n")
    model_server.reply("Half", gate, " and half.")
    model_server.reply("It is fine.")
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", timeout=60, max_retries=0) as client:
        first = ask(client)
        client.responses.create(model="codeact", input="Something else.", background=True)
        gate.reached.result(timeout=30)
        value = [output(calls(first)[0], "fine")]
        queued = ask(client, previous_response_id=first.id, input=value, background=True)
        assert queued.status == "queued"
        press(server, first)
        gate.open()
        with client.responses.retrieve(queued.id, stream=True, include=SHOWS_CODE) as events:  # type: ignore[call-overload]
            second: Any = [event for event in events if event.type == "response.completed"][-1].response
    assert (logs(second), notices(second)) == ("fine\n", ["kernel_restored"])
    assert second.output_text == "It is fine."
