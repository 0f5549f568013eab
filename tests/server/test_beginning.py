"""Races at the beginning of a question and while steering an answer.

Nothing attaches to an outdated answer, every stored response has its run, and no input is lost.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import anyio
import httpx
import pytest
from websockets.sync.client import connect

from codeact import events as e
from codeact.ids import new_id
from codeact.store import OwnerLimits, Store, open_store
from codeact.store.repositories.threads import Threads
from tests.model_server import Gate, ModelServer
from tests.server.conftest import Running, in_thread, settings_of
from tests.server.test_websocket import Socket

REAL_BEGIN = Threads.begin
FOUND_WITHIN_S = 30


@pytest.fixture(autouse=True)
def _fresh_script(model_server: ModelServer) -> None:
    model_server.reset()


@pytest.fixture
def http(scripted: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=scripted.url, trust_env=False, timeout=60) as client:
        yield client


@pytest.fixture
def open_socket() -> Iterator[Callable[..., Socket]]:
    with ExitStack() as stack:
        yield lambda server, **more: Socket(stack.enter_context(connect(server.ws_url, max_size=None, **more)))


def create(http: httpx.Client, **body: Any) -> dict[str, Any]:
    answer = http.post("/v1/responses", json={"input": "go"} | body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def asked(model_server: ModelServer) -> str:
    return "\n".join(str(message["content"]) for message in model_server.requests[-1].messages[1:])


class AnotherServer:
    """Answers in a conversation like another server, without a model."""

    def __init__(self, server: Running) -> None:
        self._settings = settings_of(server.settings.data_dir)

    def answer(self, conversation: str, previous: str | None, words: str, *, owner: str = "local") -> str:
        async def store() -> str:
            async with open_store(self._settings) as store:
                return await _answered(store, conversation, previous, words, owner)

        return in_thread(anyio.run, store)


async def _answered(store: Store, conversation: str, previous: str | None, words: str, owner: str) -> str:
    response = e.Response(
        id=new_id("resp", after=previous),
        created_at=1.0,
        model="other",
        conversation=e.ConversationRef(conversation),
        previous_response_id=previous,
    )
    await store.begin_response(response, [], owner=owner)
    item = e.Message(id=new_id("msg"), status="completed", content=[e.OutputText(words)])
    response.output.append(item)
    await store.add_item(response.id, 0, item)
    response.status = "completed"
    await store.end_response(response)
    return response.id


def answered_meanwhile(server: Running, conversation: str, previous: str, patch: pytest.MonkeyPatch) -> list[str]:
    """Makes another server answer "the other tab" once, between reading an attachment and beginning there.

    The list then contains the id of that response.
    """
    answers: list[str] = []
    once = iter([AnotherServer(server)])

    async def begin(self: Threads, *args: Any, **more: Any) -> None:
        if (other := next(once, None)) is not None:
            words = "the other tab"
            answers.append(await anyio.to_thread.run_sync(other.answer, conversation, previous, words))
        await REAL_BEGIN(self, *args, **more)

    patch.setattr(Threads, "begin", begin)
    return answers


# ---- where a question attaches -------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["conversation", "container"])
def test_a_question_attaches_after_an_answer_that_ended_while_it_was_being_prepared(
    by: str, http: httpx.Client, scripted: Running, model_server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    model_server.reply("I look.\n<execute>\nprint(7)\n</execute>")
    model_server.reply("Seven.")
    model_server.reply("Both.")
    first = create(http)
    conversation = first["conversation"]["id"]
    other = answered_meanwhile(scripted, conversation, first["id"], monkeypatch)
    container = next(item for item in first["output"] if item["type"] == "code_interpreter_call")["container_id"]
    named = {"tools": [{"type": "code_interpreter", "container": container}]}
    second = create(http, **({"conversation": conversation} if by == "conversation" else named))
    assert second["previous_response_id"] == other[0]
    assert "the other tab" in asked(model_server)
    turns = http.get(f"/v1/conversations/{conversation}/responses").json()["data"]
    assert [turn["response"]["id"] for turn in turns] == [first["id"], other[0], second["id"]]


def test_a_branch_that_was_none_when_it_was_read_keeps_the_kernel_in_which_no_other_code_has_run(
    http: httpx.Client, scripted: Running, model_server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    model_server.reply("I look.\n<execute>\nx = 7\n</execute>")
    model_server.reply("Seven.")
    model_server.reply("Here.")
    first = create(http)
    conversation = first["conversation"]["id"]
    answered_meanwhile(scripted, conversation, first["id"], monkeypatch)
    second = create(http, previous_response_id=first["id"])
    assert second["previous_response_id"] == first["id"]
    assert "the other tab" not in asked(model_server)
    assert "The Python kernel did not go back" not in asked(model_server)
    assert second["codeact:notices"] == []


# ---- a question is stored with its run, or not at all ----------------------------------------------------


def test_a_client_that_leaves_while_its_question_is_being_stored_leaves_a_run_that_ends(
    http: httpx.Client,
    scripted: Running,
    model_server: ModelServer,
    open_socket: Callable[..., Socket],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model_server.reply("Answered all the same.")
    stored, left = threading.Event(), threading.Event()
    begun: list[str] = []

    async def begin(self: Threads, response: e.Response, *args: Any, **more: Any) -> None:
        await REAL_BEGIN(self, response, *args, **more)
        begun.append(response.id)
        stored.set()
        await anyio.to_thread.run_sync(left.wait, FOUND_WITHIN_S)

    monkeypatch.setattr(Threads, "begin", begin)
    socket = open_socket(scripted)
    socket.send({"type": "response.create", "input": "go"})
    assert stored.wait(FOUND_WITHIN_S)
    with socket.connection:
        pass  # the client leaves
    left.set()
    with http.stream("GET", f"/v1/responses/{begun[0]}", params={"stream": True}) as stream:
        assert stream.status_code == 200
        for _ in stream.iter_lines():
            pass
    assert http.get(f"/v1/responses/{begun[0]}").json()["status"] == "completed"


def test_a_question_that_is_refused_leaves_nothing_behind(http: httpx.Client, scripted: Running) -> None:
    before = [each["id"] for each in http.get("/v1/conversations").json()["data"]]
    others = set(scripted.state.runs.at_work)  # Other tests' answers may still go on.
    refused = http.post("/v1/responses", json={"input": [{"type": "item_reference", "id": "msg_no"}]})
    assert refused.status_code == 404
    assert [each["id"] for each in http.get("/v1/conversations").json()["data"]] == before
    assert set(scripted.state.runs.at_work) <= others


# ---- steering -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keyed(make_server: Callable[..., Running], model_server: ModelServer) -> Running:
    return make_server(
        model="openai/scripted", model_api_base=model_server.base_url, model_api_key="test", require_keys=True
    )


def key(server: Running, owner: str, limits: OwnerLimits | None = None) -> str:
    async def make() -> str:
        async with open_store(settings_of(server.settings.data_dir)) as store:
            return (await store.access.create_key(owner=owner, name="", limits=limits))[1]

    return in_thread(anyio.run, make)


def steer(socket: Socket, model_server: ModelServer, *, reply: str, **body: Any) -> tuple[dict[str, Any], Gate]:
    """Steers a response that waits at the gate, with `in French`."""
    gate = Gate()
    model_server.reply("I run it.", gate, reply, usage={"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18})
    socket.send({"type": "response.create", "input": "say hello"} | body)
    created = socket.until("response.output_text.delta")[0]["response"]
    socket.send({"type": "response.steer", "previous_response_id": created["id"], "input": "in French, please"})
    socket.until("response.steer.accepted")
    return created, gate


def waiting(http: httpx.Client, conversation: str) -> list[str]:
    items = http.get(f"/v1/conversations/{conversation}/items", params={"order": "asc", "limit": 100}).json()["data"]
    return [item["content"][0]["text"] for item in items if item.get("role") == "user"]


def test_words_stay_in_the_conversation_where_no_successor_may_begin(
    keyed: Running, model_server: ModelServer, open_socket: Callable[..., Socket]
) -> None:
    limited = {"Authorization": f"Bearer {key(keyed, 'eve', OwnerLimits(tokens_per_day=5))}"}
    socket = open_socket(keyed, additional_headers=limited)
    created, gate = steer(socket, model_server, reply="\n<execute>\nprint('first')\n</execute>")
    gate.open()
    socket.until("response.incomplete")
    failed = socket.recv()
    assert (failed["type"], failed["error"]["code"]) == ("response.steer.failed", "successor_creation_failed")
    assert "It is stored" in failed["error"]["message"]
    assert failed["steer"] == {"previous_response_id": created["id"], "input": []}
    free = {"Authorization": f"Bearer {key(keyed, 'eve')}"}
    with httpx.Client(base_url=keyed.url, headers=free, trust_env=False, timeout=60) as http:
        conversation = created["conversation"]["id"]
        assert waiting(http, conversation) == ["say hello", "in French, please"]
        model_server.reply("Bonjour.")
        create(http, input="go on", conversation=conversation)
        assert asked(model_server).count("in French, please") == 1
        assert waiting(http, conversation) == ["say hello", "in French, please", "go on"]


def test_words_stay_in_the_conversation_of_a_response_that_is_cancelled(
    http: httpx.Client, scripted: Running, model_server: ModelServer, open_socket: Callable[..., Socket]
) -> None:
    socket = open_socket(scripted)
    created, _ = steer(socket, model_server, reply=" more")
    socket.send({"type": "response.cancel", "response_id": created["id"]})
    assert "response.steer.failed" in [event["type"] for event in socket.until("response.steer.failed")]
    assert waiting(http, created["conversation"]["id"]) == ["say hello", "in French, please"]


def test_words_that_a_successor_takes_wait_no_longer(
    http: httpx.Client, scripted: Running, model_server: ModelServer, open_socket: Callable[..., Socket]
) -> None:
    socket = open_socket(scripted)
    created, gate = steer(socket, model_server, reply="\n<execute>\nprint('first')\n</execute>")
    model_server.reply("Bonjour.")
    gate.open()
    socket.until("response.completed")
    assert asked(model_server).count("in French, please") == 1
    assert waiting(http, created["conversation"]["id"]) == ["say hello", "in French, please"]
    model_server.reply("Encore.")
    create(http, input="again", conversation=created["conversation"]["id"])
    assert asked(model_server).count("in French, please") == 1


def test_words_for_an_unstored_response_come_back_to_the_client(
    scripted: Running, model_server: ModelServer, open_socket: Callable[..., Socket]
) -> None:
    socket = open_socket(scripted)
    created, _ = steer(socket, model_server, reply=" more", store=False)
    socket.send({"type": "response.cancel", "response_id": created["id"]})
    failed = socket.until("response.steer.failed")[-1]
    [message] = failed["steer"]["input"]
    assert message["content"] == [{"type": "input_text", "text": "in French, please"}]
