"""Code waits in the middle of a block, its kernel is lost, and it runs again: a real server, kernel and database."""

from collections.abc import Callable
from functools import partial
from threading import Thread
from typing import Any

import httpx
import openai
import pytest
from openai.types.responses import Response

from codeact.cli.commands.listing import show_waiting
from tests.model_server import Gate, ModelServer
from tests.server import waiting_code
from tests.server.conftest import Running
from tests.server.test_approvals import call_request, code_request, decision, waiting
from tests.server.test_functions import SHOWS_CODE, WEATHER, calls, logs, output, run_code
from tests.server.waiting_code import ask, expire, kill, notices, press, settle, start

client, patience = waiting_code.client, waiting_code.patience


@pytest.fixture(scope="module")
def server(
    make_server: Callable[..., Running], model_server: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> Running:
    return start(make_server, model_server, tmp_path_factory.mktemp("mcp"))


@pytest.mark.parametrize("lose", [expire, press, kill])
def test_a_block_that_waits_for_a_client_runs_again_in_another_sandbox(
    client: openai.OpenAI, server: Running, model_server: ModelServer, lose: Callable[[Running, Response], None]
) -> None:
    code = (
        "seen = globals().get('seen', 0) + 1\n"
        "added = sums.add(a=40, b=2)['result']\n"
        "print('added', added, seen)\n"
        "w = get_weather('Bern')\n"
        "print(w['sky'], seen)"
    )
    run_code(model_server, code, "It is sunny.")
    first = ask(client)
    assert logs(first) == "added 42 1\n"
    lose(server, first)
    (call,) = calls(first)
    second = ask(client, previous_response_id=first.id, input=[output(call, '{"sky": "blue"}')])
    assert logs(second) == "blue 1\n"
    assert second.output_text == "It is sunny."
    assert notices(second) == ["kernel_restored"]
    assert [item.type for item in second.output].count("mcp_call") == 0
    observed = model_server.requests[-1].messages[-1]["content"]
    assert "added 42 1\nblue 1" in observed
    assert "the block ran again" in observed


def test_a_block_finds_the_functions_of_a_search_again(
    client: openai.OpenAI, server: Running, model_server: ModelServer
) -> None:
    run_code(model_server, "tool_search(query='weather')\nprint(get_weather('Bern'))")
    tools: Any = [{"type": "tool_search", "execution": "client"}]
    first = ask(client, tools=tools)
    (search,) = (item for item in first.output if item.type == "tool_search_call")
    expire(server, first)
    found: Any = {"type": "tool_search_output", "call_id": search.call_id, "execution": "client", "tools": [WEATHER]}
    second = ask(client, previous_response_id=first.id, input=[found], tools=tools)
    expire(server, second)
    third = ask(client, previous_response_id=second.id, input=[output(calls(second)[0], "fine")], tools=tools)
    assert (logs(third), notices(second), notices(third)) == ("fine\n", ["kernel_restored"], ["kernel_restored"])


def test_the_state_before_the_block_comes_back_also_between_two_blocks_of_an_answer(
    client: openai.OpenAI, server: Running, model_server: ModelServer
) -> None:
    run_code(model_server, "open('log.txt', 'a').write('one ')")
    before = ask(client)
    settle(server, before)
    model_server.reply("<execute>\nitems = [1]\n</execute>\n")
    code = (
        "items.append(2)\nopen('log.txt', 'a').write('two ')\nopen('new.txt', 'x').close()\n"
        "w = get_weather('Bern')\nprint(items, open('log.txt').read(), w)"
    )
    run_code(model_server, code)
    first = ask(client, previous_response_id=before.id)
    expire(server, first)
    second = ask(client, previous_response_id=first.id, input=[output(calls(first)[0], "fine")])
    assert (logs(second), notices(second)) == ("[1, 2] one two  fine\n", ["kernel_restored"])
    model_server.reset()
    run_code(model_server, "print(items)")
    third = ask(client, previous_response_id=second.id)
    assert logs(third) == "[1, 2]\n"


def test_a_call_that_waits_for_approval_is_made_once_after_its_sandbox_is_gone(
    client: openai.OpenAI, server: Running, model_server: ModelServer, capsys: pytest.CaptureFixture[str]
) -> None:
    code = "print(sums.add(a=1, b=1)['result'])\nprint(sums.add(a=2, b=2)['result'])\nprint(get_weather('Bern'))"
    run_code(model_server, code)
    first = ask(client, "calls")
    request = call_request(first)
    expire(server, first)
    assert request.id in [each["id"] for each in waiting(client)]
    # In a thread of its own: in this one, the loop of other tests' browser may run.
    listing = Thread(target=partial(show_waiting, server.settings, url=server.url, limit=20, as_json=False))
    listing.start()
    listing.join()
    assert f"{first.conversation.id if first.conversation else ''}  until" in (shown := capsys.readouterr().out)
    assert 'sums.add: {"a": 1, "b": 1}' in shown
    second = ask(client, "calls", previous_response_id=first.id, input=[decision(request)])
    assert logs(second) == "2\n"
    assert [item.name for item in second.output if item.type == "mcp_call"] == ["add"]
    expire(server, second)
    with pytest.raises(openai.ConflictError, match="already approved"):
        ask(client, "calls", previous_response_id=first.id, input=[decision(request)])
    third = ask(client, "calls", previous_response_id=second.id, input=[decision(call_request(second))])
    assert logs(third) == "4\n"
    assert [item.type for item in third.output].count("mcp_call") == 1
    expire(server, third)
    fourth = ask(client, "calls", previous_response_id=third.id, input=[output(calls(third)[0], "fine")])
    assert logs(fourth) == "fine\n"
    assert [item.type for item in fourth.output].count("mcp_call") == 0
    assert "2\n4\nfine" in model_server.requests[-1].messages[-1]["content"]
    assert fourth.output_text == "Done."


@pytest.mark.usefixtures("calls_come_together")
def test_a_block_that_has_not_run_runs_with_the_state_of_the_last_checkpoint_once_it_is_approved(
    client: openai.OpenAI, server: Running, model_server: ModelServer
) -> None:
    run_code(model_server, "n = 41\nopen('log.txt', 'w').write('one')")
    before = ask(client)
    settle(server, before)
    model_server.reset()
    run_code(model_server, "print(n + 1, open('log.txt').read())")
    first = ask(client, "code", previous_response_id=before.id)
    expire(server, first)
    second = ask(client, "code", previous_response_id=first.id, input=[decision(code_request(first))])
    assert (logs(second), notices(second)) == ("42 one\n", ["kernel_restored"])


def test_rejected_and_side_by_side_calls_get_the_same_again(
    client: openai.OpenAI, server: Running, model_server: ModelServer
) -> None:
    code = (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "def one(a):\n"
        "    try:\n"
        "        return sums.add(a=a, b=0)['result']\n"
        "    except CallError as error:\n"
        "        return 'rejected' in str(error)\n"
        "with ThreadPoolExecutor(2) as pool:\n"
        "    print(sorted(pool.map(one, [1, 5]), key=str))\n"
        "print(get_weather('Bern'))"
    )
    run_code(model_server, code)
    first = ask(client, "calls")
    one, two = sorted(
        (item for item in first.output if item.type == "mcp_approval_request"), key=lambda item: item.arguments
    )
    expire(server, first)
    second = ask(client, "calls", previous_response_id=first.id, input=[decision(one, approve=False)])
    expire(server, second)
    third = ask(client, "calls", previous_response_id=second.id, input=[decision(two)])
    assert logs(third) == "[5, True]\n"
    expire(server, third)
    fourth = ask(client, "calls", previous_response_id=third.id, input=[output(calls(third)[0], "fine")])
    assert logs(fourth) == "fine\n"


def test_code_that_goes_another_way_is_stopped_and_calls_nothing(
    client: openai.OpenAI, server: Running, model_server: ModelServer
) -> None:
    code = (
        "import os\nprint('begin')\n"
        "print(sums.add(a=int.from_bytes(os.urandom(4)), b=1)['result'] > 0)\n"
        "print(get_weather('Bern'))\nprint(sums.look())"
    )
    run_code(model_server, code)
    first = ask(client)
    expire(server, first)
    second = ask(client, previous_response_id=first.id, input=[output(calls(first)[0], "fine")])
    assert notices(second) == ["kernel_restored", "code_diverged"]
    assert not [item for item in second.output if item.type in ("mcp_call", "function_call")]
    assert "went another way than before: it called sums.add(" in model_server.requests[-1].messages[-1]["content"]
    assert second.output_text == "Done."


def test_other_output_than_before_is_told_and_shown(
    client: openai.OpenAI, server: Running, model_server: ModelServer
) -> None:
    run_code(model_server, "import os\nprint(os.urandom(8).hex())\nprint(get_weather('Bern'))")
    first = ask(client)
    expire(server, first)
    second = ask(client, previous_response_id=first.id, input=[output(calls(first)[0], "fine")])
    assert notices(second) == ["kernel_restored", "output_differs"]
    assert logs(second).endswith("fine\n")
    assert len(logs(second)) == len(logs(first)) + len("fine\n")


def test_a_block_that_needs_what_could_not_be_saved_does_not_run_again(
    client: openai.OpenAI, server: Running, model_server: ModelServer
) -> None:
    model_server.reply("<execute>\nfile = open('log.txt', 'w')\n</execute>\n")
    run_code(model_server, "file.write('x')\nprint(get_weather('Bern'))")
    first = ask(client)
    expire(server, first)
    second = ask(client, previous_response_id=first.id, input=[output(calls(first)[0], "fine")])
    assert "code_not_repeated" in notices(second)
    assert "it needs file, which could not be saved" in str(second.model_extra)
    assert "could not go on" in str(model_server.requests[-1].messages)


def test_a_value_that_is_sent_twice_does_not_run_the_block_twice(
    client: openai.OpenAI, server: Running, model_server: ModelServer
) -> None:
    run_code(model_server, "print(get_weather('Bern'))\nprint(sums.look()['result'])")
    first = ask(client)
    expire(server, first)
    value = [output(calls(first)[0], "fine")]
    second = ask(client, previous_response_id=first.id, input=value)
    assert logs(second) == "fine\nseen\n"
    model_server.reply("I see.")
    again = ask(client, previous_response_id=first.id, input=value)
    assert "it has gone on already" in str(again.model_extra)
    assert not [item for item in again.output if item.type == "mcp_call"]


def test_a_block_that_has_waited_too_long_is_not_run(
    client: openai.OpenAI, server: Running, model_server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(server.settings.__dict__, "approval_expires_s", -1.0)
    run_code(model_server, "print(get_weather('Bern'))")
    first = ask(client)
    expire(server, first)
    second = ask(client, previous_response_id=first.id, input=[output(calls(first)[0], "fine")])
    assert "it had expired" in str(second.model_extra)


def test_an_eager_block_runs_again(client: openai.OpenAI, server: Running, model_server: ModelServer) -> None:
    runs = Gate()
    model_server.reply("<execute>\na = 1\n", "print(get_weather('Bern'))\n", runs, "print(a)\n</execute>\n")
    model_server.reply("Done.")
    first: Any = None
    for event in client.responses.create(
        model="codeact",
        input="go",
        tools=[WEATHER],
        include=SHOWS_CODE,  # type: ignore[arg-type]
        extra_body={"codeact:eager": True},
        stream=True,
    ):
        if event.type == "response.code_interpreter_call.interpreting":
            runs.open()
        first = getattr(event, "response", first)
    (block,) = [item for item in first.output if item.type == "code_interpreter_call"]
    assert block.model_extra["codeact:restart"]["statements"]
    expire(server, first)
    second = ask(client, previous_response_id=first.id, input=[output(calls(first)[0], "fine")])
    assert logs(second) == "fine\n1\n"


def test_a_copy_of_a_conversation_has_nothing_to_run_again(
    client: openai.OpenAI, server: Running, model_server: ModelServer
) -> None:
    run_code(model_server, "print(get_weather('Bern'))")
    first = ask(client)
    assert first.conversation is not None
    archive = client.get(f"/conversations/{first.conversation.id}/export?format=json", cast_to=httpx.Response).json()
    copy: Any = client.post("/conversations/import", body=archive, cast_to=httpx.Response).json()

    def restarts(conversation_id: str) -> list[Any]:
        items: Any = client.get(
            f"/conversations/{conversation_id}/items?include=codeact:events", cast_to=httpx.Response
        ).json()
        return [item["codeact:restart"] for item in items["data"] if item["type"] == "code_interpreter_call"]

    assert restarts(first.conversation.id)[0]["code"] == "print(get_weather('Bern'))"
    assert restarts(copy["id"]) == [None]
