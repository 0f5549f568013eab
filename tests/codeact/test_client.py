"""The client with a scripted server: what it sends, what it yields, and how it reports each failure."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from http import HTTPStatus
from typing import Any

import anyio
import msgspec
import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request
from websockets.http11 import Response as HTTPResponse

from codeact import events as e
from codeact.client import connect
from codeact.errors import (
    ClientError,
    ConfigurationError,
    RequestRefused,
    ServerGone,
    ServerUnauthorized,
    ServerUnreachable,
)
from codeact.http_client import find_profile

pytestmark = pytest.mark.anyio

Handler = Callable[[ServerConnection], Awaitable[None]]


@asynccontextmanager
async def serving(handler: Handler, **options: Any) -> AsyncIterator[str]:
    async with serve(handler, "127.0.0.1", 0, **options) as server:
        yield f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"


async def receive(socket: ServerConnection) -> dict[str, Any]:
    request: dict[str, Any] = msgspec.json.decode(await socket.recv(decode=False))
    return request


async def send(socket: ServerConnection, event: Any, stream_id: str | None = None) -> None:
    frame = msgspec.json.decode(e.encode(event))
    if stream_id is not None:
        frame["stream_id"] = stream_id
    await socket.send(msgspec.json.encode(frame), text=True)


def response(status: Any = "in_progress") -> e.Response:
    return e.Response(id="resp_1", created_at=0, model="demo", status=status)


def delta(text: str) -> e.OutputTextDelta:
    return e.OutputTextDelta(item_id="msg_1", output_index=0, delta=text)


async def answer(socket: ServerConnection, request: dict[str, Any], text: str) -> None:
    stream_id = request["stream_id"]
    await send(socket, e.ResponseCreated(response=response()), stream_id)
    await send(socket, delta(text), stream_id)
    await send(socket, e.ResponseCompleted(response=response("completed")), stream_id)


async def ask(url: str, text: str = "hi") -> list[e.Event]:
    async with connect(url) as connection:
        return [event async for event in connection.create(text)]


async def test_an_answer_is_yielded_event_by_event_up_to_its_terminal_one() -> None:
    requests = []

    async def handler(socket: ServerConnection) -> None:
        requests.append((socket.request, await receive(socket)))
        await answer(socket, requests[0][1], "four")

    async with (
        serving(handler) as url,
        connect(url + "/v1/", "secret") as connection,
        aclosing(connection.create("2+2?", previous_response_id="resp_0")) as events,
    ):
        seen = [event async for event in events]

    assert [type(event) for event in seen] == [e.ResponseCreated, e.OutputTextDelta, e.ResponseCompleted]
    http_request, request = requests[0]
    assert http_request is not None
    assert http_request.path == "/v1/responses"
    assert http_request.headers["Authorization"] == "Bearer secret"
    assert request["type"] == "response.create"
    assert request["input"] == "2+2?"
    assert request["previous_response_id"] == "resp_0"


async def test_events_of_unknown_types_are_passed_over() -> None:
    async def handler(socket: ServerConnection) -> None:
        request = await receive(socket)
        await socket.send(msgspec.json.encode({"type": "codeact:later", "stream_id": request["stream_id"]}))
        await answer(socket, request, "x")

    async with serving(handler) as url:
        assert len(await ask(url)) == 3


async def test_the_rest_of_an_abandoned_answer_does_not_reach_the_next_one() -> None:
    async def handler(socket: ServerConnection) -> None:
        first = await receive(socket)
        await send(socket, e.ResponseCreated(response=response()), first["stream_id"])
        second = await receive(socket)
        await answer(socket, first, "old")
        await answer(socket, second, "new")

    async with serving(handler) as url, connect(url) as connection:
        async with aclosing(connection.create("first")) as events:
            await anext(events)
        seen = [event async for event in connection.create("second")]
    assert [event.delta for event in seen if isinstance(event, e.OutputTextDelta)] == ["new"]


async def test_one_stream_id_serves_all_answers_that_are_read_to_their_end() -> None:
    ids = set()

    async def handler(socket: ServerConnection) -> None:
        for _ in range(3):
            request = await receive(socket)
            ids.add(request["stream_id"])
            await answer(socket, request, "x")

    async with serving(handler) as url, connect(url) as connection:
        for _ in range(3):
            assert [event async for event in connection.create("again")]
    assert len(ids) == 1


async def test_cancel_is_sent_while_the_answer_is_read() -> None:
    async def handler(socket: ServerConnection) -> None:
        request = await receive(socket)
        await send(socket, e.ResponseCreated(response=response()), request["stream_id"])
        assert await receive(socket) == {"type": "response.cancel", "response_id": "resp_1"}
        await send(socket, e.ResponseIncomplete(response=response("cancelled")), request["stream_id"])

    async with serving(handler) as url, connect(url) as connection:
        with anyio.fail_after(240):
            async for event in connection.create("count"):
                if isinstance(event, e.ResponseCreated):
                    await connection.cancel(event.response.id)
    assert isinstance(event, e.ResponseIncomplete)
    assert event.response.status == "cancelled"


async def test_a_late_error_about_a_cancel_does_not_end_the_answer() -> None:
    async def handler(socket: ServerConnection) -> None:
        request = await receive(socket)
        await send(socket, e.ResponseCreated(response=response()), request["stream_id"])
        await socket.send(msgspec.json.encode({"type": "error", "status": 404, "error": {"message": "no"}}))
        await send(socket, e.ResponseCompleted(response=response("completed")), request["stream_id"])

    async with serving(handler) as url:
        assert len(await ask(url)) == 2


@pytest.mark.parametrize("named", [True, False], ids=["with stream_id", "without"])
async def test_an_error_frame_is_raised_with_the_servers_words_and_code(named: bool) -> None:
    async def handler(socket: ServerConnection) -> None:
        request = await receive(socket)
        error = {"message": "No such response.", "code": "not_found", "param": "previous_response_id"}
        frame = {"type": "error", "status": 404, "error": error}
        if named:
            frame["stream_id"] = request["stream_id"]
        await socket.send(msgspec.json.encode(frame))
        await socket.wait_closed()

    async with serving(handler) as url:
        with pytest.raises(RequestRefused, match=r"No such response\.") as caught:
            await ask(url)
    assert caught.value.code == "not_found"
    assert caught.value.param == "previous_response_id"


async def test_a_port_where_nothing_listens_is_named_with_the_remedy() -> None:
    async with serving(answer_nothing) as url:
        pass
    with pytest.raises(ServerUnreachable, match=f"{url}.*codeact serve"):
        await ask(url)


async def test_a_refused_key_is_told_for_a_handshake_and_for_a_close_code() -> None:
    def refuse(socket: ServerConnection, request: Request) -> HTTPResponse:
        return socket.respond(HTTPStatus.UNAUTHORIZED, "no")

    async def close(socket: ServerConnection) -> None:
        await socket.close(4401, "no")

    for handler, options in ((answer_nothing, {"process_request": refuse}), (close, {})):
        async with serving(handler, **options) as url:
            with pytest.raises(ServerUnauthorized, match="CODEACT_API_KEYS"):
                await ask(url)


@pytest.mark.parametrize(
    ("code", "error", "words"),
    [(1012, ServerGone, "restarting"), (1011, ServerGone, "code 1011"), (4403, RequestRefused, "not yours")],
)
async def test_a_server_that_closes_mid_answer_is_told_by_its_reason(
    code: int, error: type[ClientError], words: str
) -> None:
    async def handler(socket: ServerConnection) -> None:
        request = await receive(socket)
        await send(socket, e.ResponseCreated(response=response()), request["stream_id"])
        await socket.close(code, "not yours")

    async with serving(handler) as url:
        with pytest.raises(error, match=words):
            await ask(url)


async def test_a_server_that_dies_mid_answer_is_told() -> None:
    async def handler(socket: ServerConnection) -> None:
        request = await receive(socket)
        await send(socket, e.ResponseCreated(response=response()), request["stream_id"])
        socket.transport.abort()

    async with serving(handler) as url:
        with pytest.raises(ServerGone, match="the connection broke"):
            await ask(url)


async def test_another_kind_of_server_is_told_apart() -> None:
    def not_found(socket: ServerConnection, request: Request) -> HTTPResponse:
        return socket.respond(HTTPStatus.NOT_FOUND, "no")

    async with serving(answer_nothing, process_request=not_found) as url:
        with pytest.raises(ServerUnreachable, match="HTTP status 404"):
            await ask(url)

    async def hang_up(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(b"SSH-2.0-OpenSSH\r\n")

    def something_else(socket: ServerConnection, request: Request) -> HTTPResponse:
        return socket.respond(HTTPStatus.OK, "<html>")

    async with serving(answer_nothing, process_request=something_else) as url:
        with pytest.raises(ServerUnreachable, match="no codeact server"):
            await find_profile(url, None, "Analyst")

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, hang_up)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        with pytest.raises(ServerUnreachable, match="does not speak WebSocket"):
            await ask(f"http://127.0.0.1:{port}")
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x", "http://"])
async def test_what_is_no_address_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigurationError, match="is not an address"):
        await ask(url)


async def test_a_frame_that_cannot_be_read_is_told() -> None:
    async def handler(socket: ServerConnection) -> None:
        await socket.send("hello")
        await socket.wait_closed()

    async with serving(handler) as url:
        with pytest.raises(ClientError, match="cannot read"):
            await ask(url)


async def answer_nothing(socket: ServerConnection) -> None:
    await socket.wait_closed()
