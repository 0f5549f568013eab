"""What only the client of the Responses API over a WebSocket does. `test_adapters.py` has what every adapter does."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

import anyio
import pytest
from websockets.asyncio.server import ServerConnection, serve

from codeact import errors
from codeact.dialect.freeform import Freeform
from codeact.dialect.tool_call import ToolCalls
from codeact.model import ChatMessage, ModelEvent, PastCall, ReasoningKept, Sampling, TextDelta, ToolCall
from codeact.models.discovery import find_models
from codeact.models.responses_api.client import ResponsesModel
from codeact.models.responses_api.socket_client import ResponsesSocketModel
from codeact.models.responses_api.sockets import MAX_FRAME_BYTES, MAX_IDLE, chain
from codeact.models.shared.chat_messages import ITEMS
from codeact.settings import Settings
from tests.model_server import CallPiece, Gate, Kept, ModelServer, outcome

pytestmark = pytest.mark.anyio

HELLO = [ChatMessage("system", "Be kind."), ChatMessage("user", "Hello")]


@pytest.fixture
async def model(server: ModelServer) -> AsyncIterator[ResponsesSocketModel]:
    async with asked_at(server.base_url) as model:
        yield model


@asynccontextmanager
async def asked_at(api_base: str, **options: Any) -> AsyncIterator[ResponsesSocketModel]:
    model = ResponsesSocketModel("m", model="scripted", api_base=api_base, **({"retries": 0} | options))
    yield model
    await model.close()


async def collect(
    model: ResponsesModel, messages: Sequence[ChatMessage] = HELLO, sampling: Sampling | None = None
) -> list[ModelEvent]:
    async with aclosing(model.stream(messages, sampling or Sampling())) as stream:
        return [event async for event in stream]


def text_of(events: Sequence[ModelEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


# ---- one socket, many responses ------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", [ToolCalls(), Freeform()])
async def test_a_conversation_goes_on_with_what_is_new(
    server: ModelServer, model: ResponsesSocketModel, dialect: ToolCalls
) -> None:
    sampling = Sampling(tools=dialect.tools)
    arguments = "1 + 1" if dialect.name == "freeform" else '{"code": "1 + 1"}'
    server.reply(Kept({"encrypted_content": "sealed"}), "I add.", CallPiece(arguments, "python", "call_1"))
    events = await collect(model, HELLO, sampling)
    [kept] = [event.fields[ITEMS] for event in events if isinstance(event, ReasoningKept)]
    [called] = [event for event in events if isinstance(event, ToolCall)]
    call = PastCall(called.call_id, called.name, called.arguments, custom=dialect.name == "freeform")
    messages = [
        *HELLO,
        ChatMessage("assistant", text_of(events), (call,), reasoning={ITEMS: kept}),
        ChatMessage("tool", "2", tool_call_id="call_1"),
    ]
    server.reply("2.")
    await collect(model, messages, sampling)
    server.reply("4.")
    await collect(model, [*messages, ChatMessage("assistant", "2."), ChatMessage("user", "Twice?")], sampling)
    assert [request.continues for request in server.requests] == [False, True, True]
    assert server.sockets == 1
    # What the server has in the end is what it would have been sent as a whole.
    kinds = [item["type"] for item in server.requests[-1].body["input"]]
    used = "custom_tool_call" if dialect.name == "freeform" else "function_call"
    assert kinds == ["message", "reasoning", "message", used, f"{used}_output", "message", "message"]


async def test_another_conversation_is_sent_whole_on_a_socket_of_its_own(
    server: ModelServer, model: ResponsesSocketModel
) -> None:
    other = [HELLO[0], ChatMessage("user", "Who are you?")]
    for text in ("a", "b", "c", "d"):
        server.reply(text)
    await collect(model)
    await collect(model, other)
    changed = [*HELLO, ChatMessage("assistant", "not what it said"), ChatMessage("user", "go on")]
    await collect(model, changed)
    await collect(model, [*other, ChatMessage("assistant", "b"), ChatMessage("user", "go on")])
    assert [request.continues for request in server.requests] == [False, False, False, True]
    assert [item["content"] for item in server.requests[2].body["input"]] == ["Hello", "not what it said", "go on"]
    assert [item["content"] for item in server.requests[3].body["input"]] == ["Who are you?", "b", "go on"]


async def test_the_sockets_that_are_kept_have_a_number(server: ModelServer, model: ResponsesSocketModel) -> None:
    for number in range(MAX_IDLE + 3):
        server.reply("a")
        await collect(model, [ChatMessage("user", f"question {number}")])
    assert server.sockets == MAX_IDLE
    gates = [Gate() for _ in range(MAX_IDLE + 2)]
    for gate in gates:
        server.reply(gate, "a")
    async with anyio.create_task_group() as tasks:
        for number in range(len(gates)):
            tasks.start_soon(collect, model, [ChatMessage("user", f"at once {number}")])
        for gate in gates:
            await outcome(gate.reached)
        for gate in gates:
            gate.open()
    assert server.sockets == MAX_IDLE + 2
    assert model._sockets is not None
    assert len(model._sockets._idle) == MAX_IDLE


async def test_a_server_that_keeps_nothing_is_sent_everything_from_then_on(
    server: ModelServer, model: ResponsesSocketModel
) -> None:
    server.keeps = False
    messages = list(HELLO)
    for _ in range(3):
        server.reply("a")
        await collect(model, messages)
        messages += [ChatMessage("assistant", "a"), ChatMessage("user", "more")]
    assert [len(request.body["input"]) for request in server.requests] == [1, 3, 5]
    assert server.sockets == 1


async def test_a_response_that_failed_leaves_the_socket_and_is_not_continued(
    server: ModelServer, model: ResponsesSocketModel
) -> None:
    server.reply("a")
    await collect(model)
    server.reply(status=400, error={"message": "No."})
    with pytest.raises(errors.ModelRefused, match=r"No\."):
        await collect(model, [*HELLO, ChatMessage("assistant", "a"), ChatMessage("user", "more")])
    server.reply("b")
    await collect(model, [*HELLO, ChatMessage("assistant", "a"), ChatMessage("user", "else")])
    assert [request.continues for request in server.requests] == [False, True, False]
    assert server.sockets == 1


def test_a_digest_tells_items_apart_however_they_are_cut() -> None:
    assert chain([b"ab", b"c"])[-1] != chain([b"a", b"bc"])[-1]
    assert chain([b"a", b"b", b"c"])[2] == chain([b"a", b"b"])[2]


# ---- without a WebSocket -------------------------------------------------------------------------------


async def test_a_server_without_websockets_is_asked_over_http_and_the_log_says_so(
    server: ModelServer, model: ResponsesSocketModel, caplog: pytest.LogCaptureFixture
) -> None:
    server.upgrade = 404
    for text in ("a", "b"):
        server.reply(text)
        assert text_of(await collect(model)) == text
    assert ["stream" in request.body for request in server.requests] == [True, True]
    said = [record.getMessage() for record in caplog.records if "model_has_no_websocket" in record.getMessage()]
    assert len(said) == 1
    assert "m;api=responses" in said[0]


@pytest.mark.parametrize("status", [401, 429, 503])
async def test_a_refusal_for_now_is_no_missing_websocket(
    server: ModelServer, model: ResponsesSocketModel, status: int
) -> None:
    server.upgrade = status
    server.reply(status=status, error={"message": "not now"})
    with pytest.raises(errors.ModelError, match="not now"):
        await collect(model)
    server.upgrade = 101
    server.reply("a")
    await collect(model)
    assert server.sockets == 1


# ---- hostile servers -----------------------------------------------------------------------------------


Handler = Callable[[ServerConnection], Awaitable[None]]


@asynccontextmanager
async def hostile(handler: Handler, **options: Any) -> AsyncIterator[ResponsesSocketModel]:
    async with serve(handler, "127.0.0.1", 0, compression=None, max_size=None) as listening:
        port = listening.sockets[0].getsockname()[1]
        async with asked_at(f"http://127.0.0.1:{port}/v1", **options) as model:
            yield model


def event(kind: str, **fields: Any) -> str:
    return json.dumps({"type": f"response.{kind}", **fields})


def delta(text: str) -> str:
    return event("output_text.delta", output_index=0, delta=text)


def completed(response_id: str) -> str:
    return event("completed", response={"id": response_id, "status": "completed", "output": []})


async def test_a_socket_that_ended_meanwhile_is_replaced_without_an_error() -> None:
    frames: list[dict[str, Any]] = []

    async def serves_one(socket: ServerConnection) -> None:
        frames.append(json.loads(await socket.recv()))
        await socket.send(event("created", response={"id": f"r{len(frames)}"}))
        await socket.send(delta("a"))
        await socket.send(completed(f"r{len(frames)}"))
        frames.append(json.loads(await socket.recv()))
        socket.transport.abort()

    async with hostile(serves_one) as model:
        await collect(model)
        said = await collect(model, [*HELLO, ChatMessage("assistant", "a"), ChatMessage("user", "more")])
    assert text_of(said) == "a"
    assert [frame.get("previous_response_id") for frame in frames] == [None, "r1", None]


async def test_events_of_an_earlier_response_never_reach_another_conversation() -> None:
    async def late(socket: ServerConnection) -> None:
        async for _ in socket:
            number = str(id(socket))
            await socket.send(event("created", response={"id": number}))
            await socket.send(delta(f"mine {number}"))
            await socket.send(completed(number))
            await socket.send(delta("a secret"))
            await socket.send(completed(number))

    async with hostile(late) as model:
        for _ in range(3):
            assert "secret" not in text_of(await collect(model))


@pytest.mark.parametrize("begins", [True, False])
async def test_an_event_has_a_largest_size(begins: bool) -> None:
    async def huge(socket: ServerConnection) -> None:
        await socket.recv()
        if begins:
            await socket.send(event("created", response={"id": "r"}))
        await socket.send("x" * (MAX_FRAME_BYTES + 1))
        await socket.wait_closed()

    async with hostile(huge) as model:
        with pytest.raises(errors.ModelStreamBroken, match="over 4,000,000 bytes"):
            await collect(model)


async def test_a_socket_that_stays_open_without_an_end_is_a_pause_between_tokens() -> None:
    async def pings(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(event("created", response={"id": "r"}))
        await socket.send(delta("a"))
        while True:
            await (await socket.ping())

    async with hostile(pings, token_timeout_s=0.1) as model:
        with pytest.raises(errors.ModelTimeout, match="CODEACT_MODEL_TOKEN_TIMEOUT_S"):
            await collect(model)


async def test_an_answer_is_over_with_its_last_event_whatever_follows() -> None:
    async def goes_on(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(event("created", response={"id": "r"}))
        await socket.send(delta("a"))
        await socket.send(completed("r"))
        while True:
            await socket.send(delta("b"))

    async with hostile(goes_on) as model:
        assert text_of(await collect(model)) == "a"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (1000, errors.ModelStreamBroken),
        (1011, errors.ModelStreamBroken),
        (4401, errors.ModelUnauthorized),
        (1013, errors.ModelUnreachable),
    ],
)
async def test_a_socket_that_is_closed_is_named_with_the_servers_reason(
    code: int, kind: type[errors.ModelError]
) -> None:
    async def closes(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.close(code, "for a reason")

    async with hostile(closes) as model:
        with pytest.raises(errors.ModelError, match="for a reason") as caught:
            await collect(model)
    assert type(caught.value) is kind


@pytest.mark.parametrize("frame", ["[]", "nonsense", "[" * 2_000, '"\\ud800"', b"\xff\xfe", "{" * 10 + "}" * 10])
async def test_what_is_no_event_is_a_broken_stream(frame: str | bytes) -> None:
    async def odd(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(frame)
        await socket.wait_closed()

    async with hostile(odd) as model:
        with pytest.raises(errors.ModelStreamBroken):
            await collect(model)


# ---- which models are asked so -------------------------------------------------------------------------


async def test_a_configured_model_names_it(server: ModelServer) -> None:
    models = "a;api=responses-ws,b;dialect=freeform;api=responses-ws,c;api=responses-ws;dialect=freeform"
    settings = Settings.load(models=models, model=None, model_api_base=server.base_url)
    found = await find_models(settings, probes=())
    assert [type(model) for model in found.registry.models] == [ResponsesSocketModel] * 3
    await found.close()
