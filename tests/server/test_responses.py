"""What a request may ask for besides a question: each parameter, with a scripted model."""

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from tests.model_server import Gate, ModelServer
from tests.server.conftest import Running
from tests.server.test_websocket import Socket

PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n not a real picture").decode()
USAGE = {"prompt_tokens": 10, "completion_tokens": 50, "total_tokens": 60}


@pytest.fixture(autouse=True)
def _fresh_script(model_server: ModelServer) -> None:
    model_server.reset()


@pytest.fixture
def http(scripted: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=scripted.url, trust_env=False, timeout=60) as client:
        yield client


@pytest.fixture
def open_socket(scripted: Running) -> Iterator[Callable[[], Socket]]:
    from contextlib import ExitStack

    with ExitStack() as stack:
        yield lambda: Socket(stack.enter_context(connect(scripted.ws_url, max_size=None)))


def create(http: httpx.Client, **body: Any) -> dict[str, Any]:
    answer = http.post("/v1/responses", json={"input": "go"} | body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def error(answer: httpx.Response) -> tuple[int, str, str | None]:
    body = answer.json()["error"]
    return answer.status_code, body["code"], body["param"]


def notices(response: dict[str, Any]) -> list[str]:
    return [notice["code"] for notice in response["codeact:notices"]]


# ---- background, cancel, delete, input items -----------------------------------------------------------


def test_in_the_background_the_answer_comes_at_once_and_the_run_goes_on(
    http: httpx.Client, model_server: ModelServer
) -> None:
    gate = Gate()
    model_server.reply("Half", gate, " and half.")
    begun = create(http, background=True)
    assert (begun["status"], begun["background"]) == ("in_progress", True)
    gate.reached.result(timeout=60)
    gate.open()
    with http.stream("GET", f"/v1/responses/{begun['id']}", params={"stream": "true"}) as events:
        lines = list(events.iter_lines())
    assert lines[-2] == "data: [DONE]"
    assert http.get(f"/v1/responses/{begun['id']}").json()["output"][0]["content"][0]["text"] == "Half and half."


def test_deleting_stops_a_response_and_forgets_it_but_not_what_follows(
    http: httpx.Client, model_server: ModelServer
) -> None:
    model_server.reply("One.")
    first = create(http, input="first")
    model_server.reply("Two.")
    second = create(http, input="second", previous_response_id=first["id"])
    assert http.delete(f"/v1/responses/{first['id']}").json() == {
        "id": first["id"],
        "object": "response",
        "deleted": True,
    }
    assert error(http.get(f"/v1/responses/{first['id']}"))[:2] == (404, "not_found")
    model_server.reply("Three.")
    create(http, input="third", previous_response_id=second["id"])
    said = [message["content"] for message in model_server.requests[-1].messages[1:]]
    assert said == ["second", "Two.", "third"]
    model_server.reply("Never ", Gate())
    running = create(http, background=True)
    assert http.delete(f"/v1/responses/{running['id']}").status_code == 200
    assert http.get(f"/v1/responses/{running['id']}").status_code == 404


def test_input_items_come_page_by_page(http: httpx.Client, model_server: ModelServer) -> None:
    model_server.reply("Read.")
    given = [{"role": "user", "content": text} for text in ("a", "b", "c")]
    path = f"/v1/responses/{create(http, input=given)['id']}/input_items"

    def page(**query: Any) -> tuple[list[str], bool, str]:
        body = http.get(path, params=query).json()
        return [item["content"][0]["text"] for item in body["data"]], body["has_more"], body["last_id"]

    newest, more, last_id = page(limit=2)
    assert (newest, more) == (["c", "b"], True)
    assert page(limit=2, after=last_id)[:2] == (["a"], False)
    assert page(order="asc")[:2] == (["a", "b", "c"], False)
    assert error(http.get(path, params={"after": "msg_no"})) == (400, "invalid_request", "after")
    assert error(http.get(path, params={"limit": 0}))[2] == "limit"
    assert error(http.get(path, params={"colour": "red"}))[1:] == ("unknown_parameter", "colour")


# ---- branches ------------------------------------------------------------------------------------------


def test_an_older_response_can_be_continued_and_the_model_knows_that_the_kernel_is_ahead(
    http: httpx.Client, model_server: ModelServer
) -> None:
    model_server.reply("<execute>\nx = 1\n</execute>")
    model_server.reply("Set.")
    first = create(http, input="set x")
    model_server.reply("<execute>\nx = 2\n</execute>")
    model_server.reply("Changed.")
    create(http, input="change x", previous_response_id=first["id"])
    model_server.reply("<execute>\nprint(x)\n</execute>")
    model_server.reply("Seen.")
    other = create(http, input="what is x?", previous_response_id=first["id"])
    call = next(item for item in other["output"] if item["type"] == "code_interpreter_call")
    assert call["outputs"] == [{"type": "logs", "logs": "2\n"}]
    asked = str(model_server.requests[-1].messages)
    assert "change x" not in asked
    assert "The Python kernel did not go back" in asked
    assert (other["previous_response_id"], other["conversation"]) == (first["id"], first["conversation"])


# ---- limits of one request -----------------------------------------------------------------------------


def test_max_output_tokens_holds_for_all_turns_together(http: httpx.Client, model_server: ModelServer) -> None:
    model_server.reply("<execute>\nprint(1)\n</execute>" + " " * 400)
    response = create(http, max_output_tokens=5)
    assert response["status"] == "incomplete"
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}
    assert [item["status"] for item in response["output"]] == ["completed"]
    assert len(model_server.requests) == 1


def test_tool_choice_none_runs_no_code(http: httpx.Client, model_server: ModelServer) -> None:
    model_server.reply("<execute>\nprint(1)\n</execute>")
    response = create(http, tool_choice="none")
    assert [item["type"] for item in response["output"]] == ["message"]
    assert notices(response) == []


def test_sampling_and_effort_reach_the_model_and_are_echoed(http: httpx.Client, model_server: ModelServer) -> None:
    model_server.reply("a", usage=USAGE | {"prompt_tokens_details": {"cached_tokens": 4}})
    response = create(http, temperature=0.5, top_p=0.25, metadata={"k": "v"}, user="me", prompt_cache_key="key")
    body = model_server.requests[0].body
    assert (body["temperature"], body["top_p"]) == (0.5, 0.25)
    assert {name: response[name] for name in ("temperature", "top_p", "metadata", "user", "prompt_cache_key")} == {
        "temperature": 0.5,
        "top_p": 0.25,
        "metadata": {"k": "v"},
        "user": "me",
        "prompt_cache_key": "key",
    }
    assert response["usage"]["input_tokens_details"]["cached_tokens"] == 4


def test_a_conversation_that_is_too_long_fails_or_loses_its_oldest_part(
    http: httpx.Client, model_server: ModelServer
) -> None:
    too_long = {"message": "This model's maximum context length is 10 tokens."}
    long = [{"role": role, "content": f"{index} " + "x" * 5000} for index, role in enumerate(["user", "assistant"] * 3)]
    given = [*long, {"role": "user", "content": "the question"}]
    model_server.reply(status=400, error=too_long)
    failed = create(http, input=given)
    assert (failed["status"], failed["error"]["code"]) == ("failed", "context_length_exceeded")
    for _ in range(2):
        model_server.reply(status=400, error=too_long)
    model_server.reply("Fits.")
    response = create(http, input=given, truncation="auto")
    assert (response["status"], notices(response)) == ("completed", ["history_unknown", "context_truncated"])
    asked = model_server.requests[-1].messages
    assert "earlier messages of this conversation are left out" in str(asked[1])
    assert asked[-1]["content"].endswith("the question")


# ---- what is not stored --------------------------------------------------------------------------------


def test_an_unstored_response_goes_on_only_on_its_own_socket(
    open_socket: Callable[[], Socket], http: httpx.Client, model_server: ModelServer
) -> None:
    socket = open_socket()
    model_server.reply("<execute>\nx = 5\n</execute>")
    model_server.reply("Set.")
    first = socket.answer("set x", store=False)[-1]["response"]
    assert (first["store"], first["conversation"]) == (False, None)
    assert http.get(f"/v1/responses/{first['id']}").status_code == 404
    model_server.reply("<execute>\nprint(x)\n</execute>")
    model_server.reply("Five.")
    second = socket.answer("and x?", store=False, previous_response_id=first["id"])[-1]["response"]
    assert second["output"][0]["outputs"] == [{"type": "logs", "logs": "5\n"}]
    refused = open_socket().answer("and x?", store=False, previous_response_id=second["id"])[-1]
    assert refused["error"]["code"] == "previous_response_not_found"


def test_a_failed_continuation_ends_what_it_wanted_to_continue(
    open_socket: Callable[[], Socket], model_server: ModelServer
) -> None:
    socket = open_socket()
    model_server.reply("Hello.")
    first = socket.answer("hi", store=False)[-1]["response"]
    broken = [{"role": "user", "content": [{"type": "input_file", "filename": "a", "file_data": "%"}]}]
    socket.send({"type": "response.create", "input": broken, "store": False, "previous_response_id": first["id"]})
    assert socket.recv()["error"]["code"] == "invalid_base64"
    refused = socket.answer("again", store=False, previous_response_id=first["id"])[-1]
    assert refused["error"]["code"] == "previous_response_not_found"


def test_the_sandbox_of_unstored_responses_goes_with_their_socket(
    open_socket: Callable[[], Socket], model_server: ModelServer, scripted: Running
) -> None:
    socket = open_socket()
    model_server.reply("<execute>\n1\n</execute>")
    model_server.reply("One.")
    response = socket.answer("go", store=False)[-1]["response"]
    sandbox_id = response["output"][0]["container_id"]
    held = list(scripted.state.workspaces._workspaces.values())
    workspace = next(workspace for workspace in held if workspace.container_id == sandbox_id)
    socket.connection.close()
    while workspace.container_id is not None:
        pass  # the server's loop notices that the socket is closed; nothing tells this thread


def test_generate_false_makes_the_conversation_and_claims_its_sandbox(
    open_socket: Callable[[], Socket], model_server: ModelServer, scripted: Running
) -> None:
    socket = open_socket()
    ready = socket.answer("", generate=False)[-1]["response"]
    assert (ready["status"], ready["output"]) == ("completed", [])
    workspace = scripted.state.workspaces.get(ready["conversation"]["id"], owner="local")
    claimed = workspace.container_id
    assert claimed is not None
    model_server.reply("<execute>\n1\n</execute>")
    model_server.reply("One.")
    response = socket.answer("go", previous_response_id=ready["id"])[-1]["response"]
    assert response["output"][0]["container_id"] == claimed
    assert len(model_server.requests) == 2


# ---- images and references -----------------------------------------------------------------------------


def test_an_image_is_kept_as_a_blob_and_shown_to_the_model(http: httpx.Client, model_server: ModelServer) -> None:
    url = f"data:image/png;base64,{PIXEL}"
    model_server.reply("A pixel.")
    parts = [{"type": "input_text", "text": "look"}, {"type": "input_image", "image_url": url}]
    response = create(http, input=[{"role": "user", "content": parts}])
    assert model_server.requests[0].messages[-1]["content"][1]["image_url"]["url"] == url
    items = http.get(f"/v1/responses/{response['id']}/input_items").json()["data"]
    kept = items[0]["content"][1]["image_url"]
    assert http.get(kept).content == base64.b64decode(PIXEL)
    model_server.reply("The same.")
    create(http, input=[{"role": "user", "content": [parts[0], {"type": "input_image", "image_url": kept}]}])
    assert model_server.requests[1].messages[-1]["content"][1]["image_url"]["url"] == url
    refused = http.post(
        "/v1/responses",
        json={
            "input": [{"role": "user", "content": [parts[0], parts[1] | {"image_url": "https://example.com/a.png"}]}]
        },
    )
    assert error(refused)[2] == "input[0].content[1].image_url"


def test_a_file_is_in_the_working_directory_and_the_model_knows(http: httpx.Client, model_server: ModelServer) -> None:
    content = base64.b64encode(b"a,b\n1,2\n").decode()
    part = {"type": "input_file", "filename": "../data.csv", "file_data": f"data:text/csv;base64,{content}"}
    given = [{"role": "user", "content": [{"type": "input_text", "text": "sum it"}, part]}]
    model_server.reply("<execute>\nprint(open('data.csv').read())\n</execute>")
    model_server.reply("Three.")
    response = create(http, input=given)
    assert response["output"][0]["outputs"] == [{"type": "logs", "logs": "a,b\n1,2\n\n"}]
    assert "[The user's file 'data.csv', 8 bytes: it is in the working directory.]" in str(
        model_server.requests[0].messages
    )
    model_server.reply("<execute>\nimport os; os.remove('data.csv'); os._exit(1)\n</execute>")
    model_server.reply(
        "<execute>\nprint(os.path.exists('data.csv') if 'os' in dir() else open('data.csv').read(1))\n</execute>"
    )
    model_server.reply("There again.")
    after = create(http, input="go on", previous_response_id=response["id"])
    assert after["output"][1]["outputs"] == [{"type": "logs", "logs": "a\n"}]


NAMES = [
    "Screenshot 2026-01-01 at 10.00.00\u202fAM.csv",
    "Sn\u00edmek obrazovky\u00a0v 13.csv",
    "\u58f2\u4e0a\u3000\u30c7\u30fc\u30bf.csv",
    "\u05d3\u05d5\u05d7\u200f.csv",
    "family \U0001f468\u200d\U0001f469\u200d\U0001f467.csv",
]


def test_files_have_the_names_that_users_gave_them_and_models_write(
    http: httpx.Client, model_server: ModelServer
) -> None:
    files = [*NAMES, "cafe\u0301.csv", "cafe\u0301.csv"]
    written = [*NAMES, "caf\u00e9.csv", "caf\u00e9 (2).csv"]
    content = [
        {"type": "input_file", "filename": name, "file_data": f"data:text/csv;base64,{base64.b64encode(text).decode()}"}
        for name, text in zip(files, (b"%d" % number for number in range(7)), strict=True)
    ]
    model_server.reply(f"<execute>\n[open(name).read() for name in {written!a}]\n</execute>")
    model_server.reply("All there.")
    create(http, input=[{"role": "user", "content": content}])
    told = str(model_server.requests[-1].messages)
    assert "['0', '1', '2', '3', '4', '5', '6']" in str(model_server.requests[-1].messages[-1]["content"])
    assert "\\u202fAM" in told
    assert "Two files were sent under one name" in told


def test_a_name_that_is_none_is_refused_with_the_reason(http: httpx.Client) -> None:
    for name, reason in (("a\nb", "control characters"), ("x" * 256, "255 bytes"), ("..", "needs a name")):
        part = {"type": "input_file", "filename": name, "file_data": "data:text/csv;base64,YQ=="}
        refused = http.post("/v1/responses", json={"input": [{"role": "user", "content": [part]}]})
        assert refused.status_code == 400
        assert reason in refused.json()["error"]["message"]


def test_items_of_an_earlier_answer_can_be_sent_back_or_named(http: httpx.Client, model_server: ModelServer) -> None:
    model_server.reply("I look.\n<execute>\nprint(7)\n</execute>")
    model_server.reply("Seven.")
    first = create(http, input="which?")
    said = {"role": "user", "content": "which?"}
    for earlier in (first["output"], [{"type": "item_reference", "id": item["id"]} for item in first["output"]]):
        model_server.reply("Still seven.")
        again = create(http, input=[said, *earlier, {"role": "user", "content": "sure?"}])
        assert again["conversation"] == first["conversation"]
        asked = [message["content"] for message in model_server.requests[-1].messages[1:]]
        assert asked[1] == "I look.\n\n<execute>\nprint(7)\n</execute>"
        assert asked[2].startswith("Observation:")
        assert "7" in asked[2]
        assert asked[3:] == ["Seven.", "sure?"]
        assert notices(again) == []
    missing = http.post("/v1/responses", json={"input": [{"type": "item_reference", "id": "msg_no"}]})
    assert error(missing) == (404, "not_found", "input")


# ---- steering ------------------------------------------------------------------------------------------


def test_what_is_said_meanwhile_is_answered_by_a_successor_after_the_next_turn(
    open_socket: Callable[[], Socket], model_server: ModelServer
) -> None:
    socket = open_socket()
    gate = Gate()
    model_server.reply("I run it.", gate, "\n<execute>\nprint('first')\n</execute>")
    model_server.reply("In French: bonjour.")
    socket.send({"type": "response.create", "input": "say hello", "stream_id": "lane"})
    created = socket.until("response.output_text.delta")[0]["response"]
    socket.send({"type": "response.steer", "previous_response_id": created["id"], "input": "in French, please"})
    accepted = socket.until("response.steer.accepted")[-1]
    assert accepted["steer"]["previous_response_id"] == created["id"]
    gate.open()
    steered = socket.until("response.incomplete")[-1]["response"]
    assert steered["incomplete_details"] == {"reason": "steered"}
    assert [item["status"] for item in steered["output"]] == ["completed", "completed"]
    events = socket.until("response.completed")
    assert {event["stream_id"] for event in events} == {"lane"}
    successor = events[-1]["response"]
    assert successor["previous_response_id"] == created["id"]
    asked = model_server.requests[-1].messages
    assert "in French, please" in asked[-1]["content"]
    assert "first" in asked[-1]["content"]


@pytest.mark.parametrize("knows", ["this server", "only the database"])
def test_what_is_said_while_code_waits_for_the_client_comes_before_the_clients_value(
    scripted: Running, open_socket: Callable[[], Socket], model_server: ModelServer, knows: str
) -> None:
    socket = open_socket()
    gate = Gate()
    tool = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}}
    model_server.reply("I look.", gate, "\n<execute>\nprint('seen', look())\n</execute>")
    model_server.reply("Voilà.")
    socket.send({"type": "response.create", "input": "look", "tools": [tool], "stream_id": "lane"})
    created = socket.until("response.output_text.delta")[0]["response"]
    socket.send({"type": "response.steer", "previous_response_id": created["id"], "input": "in French, please"})
    accepted = socket.until("response.steer.accepted")[-1]["steer"]
    gate.open()
    waits = socket.until("response.completed")[-1]["response"]
    call = next(item for item in waits["output"] if item["type"] == "function_call")
    pending = socket.until("response.steer.pending")[-1]
    assert pending["steer"] == {"id": accepted["id"], "previous_response_id": created["id"]}
    assert (pending["reason"], pending["stream_id"]) == ("waiting_for_required_input", "lane")
    [stub] = pending["required_input"]
    assert stub == {"type": "function_call_output", "call_id": call["call_id"], "name": "look"}
    body = {"input": [stub | {"output": "a cat"}], "previous_response_id": created["id"], "tools": [tool]}
    body["input"][0].pop("name")  # type: ignore[attr-defined]
    if knows == "only the database":  # As after a restart, and at another server.
        scripted.state.service._service._steers.drop(created["id"])
    socket.send({"type": "response.create", **body})
    assert socket.until("response.completed")[-1]["response"]["output"][-1]["content"][0]["text"] == "Voilà."
    told = [str(message["content"]) for message in model_server.requests[-1].messages]
    assert sum("in French, please" in words for words in told) == 1
    assert any("seen a cat" in words for words in told)


def test_steering_what_does_not_run_gives_the_input_back(
    open_socket: Callable[[], Socket], model_server: ModelServer
) -> None:
    socket = open_socket()
    model_server.reply("Done.")
    ended = socket.answer("go")[-1]["response"]["id"]
    for response_id, given, code in [
        (ended, "more", "response_already_completed"),
        ("resp_no", "more", "response_not_found"),
        (ended, [{"role": "assistant", "content": "x"}], "invalid_input"),
    ]:
        socket.send({"type": "response.steer", "previous_response_id": response_id, "input": given})
        failed = socket.recv()
        assert (failed["type"], failed["error"]["code"]) == ("response.steer.failed", code)
        assert failed["steer"]["input"] == given
        json.dumps(failed)
