"""Runs with a scripted model, through the real litellm, over the socket."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from websockets.sync.client import connect

from tests.asking import frame
from tests.model_server import DROP, Gate, ModelServer, Thought
from tests.server.conftest import Running, hurry


@pytest.fixture(autouse=True)
def _fresh_script(model_server: ModelServer) -> None:
    model_server.reset()


@pytest.fixture
def ask(scripted: Running) -> Iterator[Callable[..., list[dict[str, Any]]]]:
    with connect(scripted.ws_url, max_size=None) as socket:

        def ask(text: str = "go", **more: Any) -> list[dict[str, Any]]:
            socket.send(frame({"type": "response.create", "input": text, **more}))
            events: list[dict[str, Any]] = []
            while not events or events[-1]["type"] not in (
                "response.completed",
                "response.incomplete",
                "response.failed",
                "error",
            ):
                events.append(json.loads(socket.recv(timeout=60)))
            return events

        yield ask


Ask = Callable[..., list[dict[str, Any]]]


def calls(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [item for item in events[-1]["response"]["output"] if item["type"] == "code_interpreter_call"]


def test_code_runs_at_the_closing_tag_and_the_models_stream_is_closed(ask: Ask, model_server: ModelServer) -> None:
    never = Gate()
    model_server.reply("I add.\n<execute>\nprint(6 * 7)\n</execute>", "\n", never, "made-up observation")
    model_server.reply("It is 42.", usage={"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13})
    events = ask()
    response = events[-1]["response"]
    assert [item["type"] for item in response["output"]] == ["message", "code_interpreter_call", "message"]
    assert calls(events)[0]["outputs"] == [{"type": "logs", "logs": "42\n"}]
    assert model_server.requests[0].ended.result(timeout=60) == "disconnected"
    assert "made-up" not in json.dumps(response)
    assert response["usage"]["output_tokens"] > 4
    assert response["usage"]["codeact:estimated"] is True


def test_the_model_reads_its_code_and_the_observation(ask: Ask, model_server: ModelServer) -> None:
    model_server.reply("<execute>\nx = 20 + 3\nx\n</execute>\n")
    model_server.reply("Done.")
    ask("what is x?")
    roles = [(message["role"], message["content"]) for message in model_server.requests[1].messages]
    assert roles[1] == ("user", "what is x?")
    assert roles[2] == ("assistant", "<execute>\nx = 20 + 3\nx\n</execute>")
    assert roles[3][0] == "user"
    assert roles[3][1].startswith("Observation: ok")
    assert "23" in roles[3][1]


def test_an_exception_is_an_output_and_the_model_goes_on(ask: Ask, model_server: ModelServer) -> None:
    model_server.reply("<execute>\n1 / 0\n</execute>\n")
    model_server.reply("<execute>\n1 +\n</execute>\n")
    model_server.reply("Both failed.")
    events = ask()
    first, second = calls(events)
    assert events[-1]["type"] == "response.completed"
    assert first["codeact:result"]["error_kind"] == "runtime"
    assert first["codeact:notebook_outputs"][0]["ename"] == "ZeroDivisionError"
    assert second["codeact:result"]["error_kind"] == "syntax"
    assert "ZeroDivisionError" in model_server.requests[1].messages[-1]["content"]


def test_reasoning_is_an_item_of_its_own_and_tags_in_it_do_nothing(ask: Ask, model_server: ModelServer) -> None:
    model_server.reply(Thought("maybe <execute>1</execute>"), "Hello.")
    output = ask()[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["reasoning", "message"]


def test_a_kernel_that_dies_is_replaced_and_user_and_model_are_told(ask: Ask, model_server: ModelServer) -> None:
    model_server.reply("<execute>\nprint('before', flush=True)\nimport os; os._exit(3)\n</execute>\n")
    model_server.reply("<execute>\nprint('again')\n</execute>\n")
    model_server.reply("Recovered.")
    events = ask()
    died, again = calls(events)
    assert died["codeact:result"]["status"] == "died"
    assert died["outputs"] == [{"type": "logs", "logs": "before\n"}]
    assert again["outputs"] == [{"type": "logs", "logs": "again\n"}]
    assert died["container_id"] != again["container_id"]
    assert [notice["code"] for notice in events[-1]["response"]["codeact:notices"]] == ["kernel_replaced"]
    assert "variables" in model_server.requests[1].messages[-1]["content"]


def test_a_kernel_lost_between_two_questions_is_told_with_the_second(
    ask: Ask, model_server: ModelServer, scripted: Running
) -> None:
    model_server.reply(
        "<execute>\nimport os, threading\nx = 1\nthreading.Timer(0.2, os._exit, (3,)).start()\n</execute>\n"
    )
    model_server.reply("Set.")
    first = ask()[-1]["response"]
    workspace = scripted.state.workspaces.get(first["conversation"]["id"], owner="local")
    while workspace.container_id is not None:  # the server's loop notices it; nothing tells this thread
        pass
    model_server.reply("Then I say so.")
    events = ask("and x?", previous_response_id=first["id"])
    assert [event["notice"]["code"] for event in events if event["type"] == "codeact:notice"] == ["kernel_replaced"]
    assert "variables, imports and files are gone" in model_server.requests[-1].messages[-1]["content"]


def test_the_time_limit_is_named_to_user_and_model(
    make_server: Callable[..., Running], model_server: ModelServer
) -> None:
    server = make_server(
        model="openai/scripted", model_api_base=model_server.base_url, model_api_key="k", execution_timeout_s=90
    )
    model_server.reply("<execute>\nimport time\nprint('start')\ntime.sleep(600)\n</execute>\n")
    model_server.reply("Too slow.")
    with connect(server.ws_url, max_size=None) as socket:
        socket.send(frame({"type": "response.create", "input": "go"}))
        events = [json.loads(socket.recv(timeout=60))]
        while events[-1]["type"] != "response.completed":
            events.append(json.loads(socket.recv(timeout=60)))
            if events[-1]["type"] == "codeact:code_interpreter_call.output":
                hurry(server)
    call = calls(events)[0]
    assert (call["codeact:result"]["status"], call["codeact:result"]["limit"]) == ("timeout", "execution_timeout_s")
    assert call["outputs"][0]["logs"].startswith("start")
    assert [notice["code"] for notice in events[-1]["response"]["codeact:notices"]] == ["limit_reached"]
    assert "execution_timeout_s" in model_server.requests[1].messages[-1]["content"]


def test_at_the_last_turn_the_model_answers_from_what_it_has(ask: Ask, model_server: ModelServer) -> None:
    model_server.reply("<execute>\nprint(1)\n</execute>\n")
    model_server.reply("<execute>\nprint(2)\n</execute>\n It was one.")
    events = ask(max_tool_calls=1)
    response = events[-1]["response"]
    assert response["status"] == "completed"
    assert len(calls(events)) == 1
    assert "print(2)" in response["output"][-1]["content"][0]["text"]
    assert [notice["code"] for notice in response["codeact:notices"]] == ["max_tool_calls"]
    assert "No more code will run" in model_server.requests[1].messages[-1]["content"]


def test_running_out_of_tokens_is_an_incomplete_response(ask: Ask, model_server: ModelServer) -> None:
    model_server.reply("It is a long st", finish="length")
    last = ask(max_output_tokens=5)[-1]
    assert last["type"] == "response.incomplete"
    assert last["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert model_server.requests[0].body["max_tokens"] == 5


@pytest.mark.parametrize(
    ("status", "code"),
    [(401, "model_unauthorized"), (404, "model_not_found"), (400, "model_refused"), (429, "rate_limit_exceeded")],
)
def test_what_the_provider_refuses_ends_the_response_by_name(
    ask: Ask, model_server: ModelServer, status: int, code: str
) -> None:
    for _ in range(2):  # those that may pass are tried once more
        model_server.reply(status=status, error={"message": "scripted refusal"}, headers={"Retry-After": "0"})
    last = ask()[-1]
    assert last["type"] == "response.failed"
    assert last["response"]["error"]["code"] == code
    assert last["response"]["error"]["message"]


def test_a_stream_that_breaks_keeps_what_came(ask: Ask, model_server: ModelServer) -> None:
    model_server.reply("Half an ans", DROP)
    last = ask()[-1]
    assert last["type"] == "response.failed"
    assert last["response"]["output"][0]["content"][0]["text"] == "Half an ans"
    assert last["response"]["output"][0]["status"] == "incomplete"


def test_a_model_that_stalls_is_ended_by_the_token_timeout(
    make_server: Callable[..., Running], model_server: ModelServer
) -> None:
    server = make_server(
        model="openai/scripted", model_api_base=model_server.base_url, model_api_key="k", model_token_timeout_s=0.5
    )
    model_server.reply("One", Gate())
    with connect(server.ws_url) as socket:
        socket.send(frame({"type": "response.create", "input": "go"}))
        event: dict[str, Any] = {}
        while event.get("type") != "response.failed":
            event = json.loads(socket.recv(timeout=60))
    assert event["response"]["error"]["code"] == "model_timeout"
    assert "CODEACT_MODEL_TOKEN_TIMEOUT_S" in event["response"]["error"]["message"]


def test_a_model_server_that_is_not_there_is_named(make_server: Callable[..., Running]) -> None:
    server = make_server(
        model="openai/gone", model_api_base="http://127.0.0.1:9/v1", model_api_key="k", model_retries=0
    )
    with connect(server.ws_url) as socket:
        socket.send(frame({"type": "response.create", "input": "go"}))
        event: dict[str, Any] = {}
        while event.get("type") != "response.failed":
            event = json.loads(socket.recv(timeout=60))
    assert event["response"]["error"]["code"] == "model_unreachable"
    assert "127.0.0.1:9" in event["response"]["error"]["message"]


def test_pictures_become_urls_that_can_be_fetched(ask: Ask, model_server: ModelServer, scripted: Running) -> None:
    import httpx

    model_server.reply("<execute>\nimport matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()\n</execute>\n")
    model_server.reply("Shown.")
    call = calls(ask())[0]
    image = next(output for output in call["outputs"] if output["type"] == "image")
    assert image["url"].startswith(scripted.url)
    blob = httpx.get(image["url"], trust_env=False)
    assert blob.headers["content-type"] == "image/png"
    assert blob.content.startswith(b"\x89PNG")


def test_the_ledger_says_where_the_time_went(ask: Ask, model_server: ModelServer) -> None:
    model_server.reply("<execute>\nprint(1)\n</execute>\n")
    model_server.reply("Done.")
    ledger = ask()[-1]["response"]["codeact:ledger"]
    assert 0 <= ledger["first_token_s"] <= ledger["code_detected_s"] <= ledger["first_output_s"] <= ledger["total_s"]
    assert ledger["sandbox_wait_s"] is not None
