"""What a client may send before it is authenticated."""

import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest
import uvicorn
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.sync.client import connect

from codeact.server import http
from codeact.server.pending_connections import PendingConnections
from codeact.server.transports import websocket
from tests.server.conftest import Running


def exchange(server: Running, *chunks: bytes) -> bytes:
    """The server's answer, until it closes the connection."""
    host, port = server.url.removeprefix("http://").split(":")
    answer = b""
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        try:
            for chunk in chunks:
                connection.sendall(chunk)
            while received := connection.recv(65536):
                answer += received
        except (BrokenPipeError, ConnectionResetError):
            pass
    return answer


def test_endless_headers_end_the_connection(demo: Running) -> None:
    line = b"X-Filler: " + b"x" * 1000 + b"\r\n"
    answer = exchange(demo, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n", *[line] * 5000)
    assert answer.startswith(b"HTTP/1.1 431") or answer == b""


def test_one_endless_header_ends_the_connection(demo: Running) -> None:
    answer = exchange(demo, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Filler: ", *[b"x" * 65536] * 200)
    assert answer.startswith(b"HTTP/1.1 431") or answer == b""


def test_ordinary_requests_share_a_connection(demo: Running) -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
    last = request + b"Connection: close\r\n\r\n"
    assert exchange(demo, request + b"\r\n", request + b"\r\n", last).count(b"HTTP/1.1 200") == 3


def test_a_health_check_without_a_host_is_answered(demo: Running) -> None:
    """haproxy sends such checks; a browser always says which host it asks."""
    assert exchange(demo, b"GET /healthz HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200")
    assert exchange(demo, b"GET /healthz HTTP/1.0\r\nHost: rebound.example\r\n\r\n").startswith(b"HTTP/1.1 403")


def waiting_from(*connections: tuple[str, str], most: int = 4, most_per_client: int = 2) -> tuple[list[str], int]:
    waiting = PendingConnections(most=most, most_per_client=most_per_client)
    closed = [str(closed) for name, client in connections for closed in waiting.add(name, client)]
    return closed, len(waiting)


def test_beyond_a_clients_bound_its_connection_that_waited_longest_is_closed() -> None:
    assert waiting_from(("a", "one"), ("b", "one"), ("x", "two"), ("c", "one")) == (["a"], 3)


def test_beyond_all_bounds_the_connection_that_waited_longest_is_closed() -> None:
    assert waiting_from(("a", "1"), ("b", "2"), ("c", "3"), ("d", "4"), ("e", "5")) == (["a"], 4)


def test_a_connection_that_waits_anew_is_the_youngest() -> None:
    assert waiting_from(("a", "1"), ("b", "1"), ("a", "1"), ("c", "1")) == (["b"], 2)


def open_with(server: Running, stack: ExitStack, data: bytes) -> socket.socket:
    host, port = server.url.removeprefix("http://").split(":")
    connection = stack.enter_context(socket.create_connection((host, int(port)), timeout=30))
    connection.sendall(data)
    return connection


UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
UNFINISHED = (
    b"POST /v1/responses HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
)


def test_bodies_that_never_come_keep_nobody_else_out(demo: Running) -> None:
    with ExitStack() as stack:
        for _ in range(demo.settings.waiting_connections_per_client):
            open_with(demo, stack, UNFINISHED)
        first = open_with(demo, stack, UNFINISHED)
        for _ in range(demo.settings.waiting_connections_per_client):
            open_with(demo, stack, UNFINISHED)
        assert first.recv(1) == b""  # it has waited longest
        assert httpx.get(f"{demo.url}/healthz", trust_env=False).status_code == 200


def test_a_body_that_comes_too_slowly_is_ended_by_name(demo: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "BODY_FIRST_S", 0.2)
    monkeypatch.setattr(http, "BODY_CHECK_S", 0.1)
    assert exchange(demo, UNFINISHED).startswith(b"HTTP/1.1 408 Request Timeout\r\nx-request-id: req_")


def test_a_request_that_is_no_http_is_answered_with_an_id(demo: Running) -> None:
    assert exchange(demo, b"NO HTTP AT ALL\r\n\r\n").startswith(b"HTTP/1.1 400 Bad Request\r\nx-request-id: req_")


def test_a_client_that_reads_nothing_of_its_answer_is_cut_off(demo: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "STALLED_S", 0.2)
    request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with ExitStack() as stack:
        connection = open_with(demo, stack, b"")

        def send_on() -> None:
            for _ in range(100_000):
                connection.sendall(request * 100)

        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            send_on()


def test_a_socket_that_reads_nothing_is_cut_off(demo: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "STALLED_S", 0.2)
    with ExitStack() as stack:
        client = stack.enter_context(connect(demo.ws_url, max_queue=1))
        frame = '{"type": "nothing", "stream_id": "mine"}'  # each is answered by an error frame
        monkeypatch.setattr(websocket, "MAX_BAD_FRAMES", 1_000_000_000)

        def send_on() -> None:
            for _ in range(10_000_000):
                client.send(frame)

        with pytest.raises(ConnectionClosed):
            send_on()


@contextmanager
def serving(app: Any, *, ws: type[http.BoundedWebSocketProtocol] = http.BoundedWebSocketProtocol) -> Iterator[str]:
    """The address of an application with these protocols."""
    protocol = http.http_protocol(PendingConnections(most=100, most_per_client=100))
    server = uvicorn.Server(uvicorn.Config(app, port=0, http=protocol, ws=ws, log_level="error", lifespan="off"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(60)


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"Content-Length: 4", b"body"),
        (b"Transfer-Encoding: chunked", b"4\r\nbody\r\n0\r\n\r\n"),
        (b"Transfer-Encoding: chunked", b"0\r\n\r\n"),
    ],
)
def test_the_application_is_called_once_the_body_begins(head: bytes, body: bytes) -> None:
    called = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        called.append(scope["path"])
        message = await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
        await send({"type": "http.response.body", "body": b"got " + message["body"]})

    with serving(app) as address:
        host, port = address.split(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(b"POST /late HTTP/1.1\r\nHost: localhost\r\n" + head + b"\r\n\r\n")
            for _ in range(3):
                httpx.get(f"http://{address}/other", trust_env=False)
            assert called == ["/other"] * 3
            connection.sendall(body)
            answer = b""
            while received := connection.recv(65536):
                answer += received
        assert called[-1] == "/late"
        assert answer.startswith(b"HTTP/1.1 200")
        assert (b"got body" in answer) == (b"body" in body)


def test_a_body_that_waits_to_be_asked_for_is_asked_for() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
        await send({"type": "http.response.body", "body": b"got " + message["body"]})

    with serving(app) as address:
        host, port = address.split(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(
                b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
            )
            assert connection.recv(65536).startswith(b"HTTP/1.1 100")
            connection.sendall(b"body")
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")


def test_many_small_frames_are_parsed_in_steps_between_which_others_are_served() -> None:
    steps = 0
    pings_of_steps: Counter[int] = Counter()
    texts: list[int] = []

    class Counted(http.BoundedWebSocketProtocol):
        def handle_ping(self) -> None:
            pings_of_steps[steps] += 1
            super().handle_ping()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def count() -> None:
            nonlocal steps
            while True:
                steps += 1
                await anyio.lowlevel.checkpoint()

        await receive()
        await send({"type": "websocket.accept"})
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(count)
            while (event := await receive())["type"] != "websocket.disconnect":
                texts.append(len(event["text"]))
            tasks.cancel_scope.cancel()

    with serving(app, ws=Counted) as address, socket.socket() as client:
        host, port = address.split(":")
        client.settimeout(20)
        client.connect((host, int(port)))
        client.sendall(UPGRADE)
        assert client.recv(4_096).startswith(b"HTTP/1.1 101")
        ping, text = b"\x89\x80\0\0\0\0", b"\x81\xff" + (100_000).to_bytes(8, "big") + b"\0\0\0\0" + b"t" * 100_000
        client.sendall((ping * 40_000 + text) * 2 + b"\x88\x80\0\0\0\0")
        while client.recv(65_536):
            pass
    assert (pings_of_steps.total(), texts) == (80_000, [100_000, 100_000])
    assert max(pings_of_steps.values()) < 5_000


def test_pings_of_a_client_that_reads_nothing_hold_no_memory_and_the_last_one_is_answered() -> None:
    protocols: list[http.BoundedWebSocketProtocol] = []

    class Noted(http.BoundedWebSocketProtocol):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            protocols.append(self)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass

    with serving(app, ws=Noted) as address, socket.socket() as client:
        host, port = address.split(":")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.settimeout(20)
        client.connect((host, int(port)))
        client.sendall(UPGRADE)
        answer = client.recv(4_096)
        assert answer.startswith(b"HTTP/1.1 101")
        for _ in range(200):
            client.sendall((b"\x89\xfd\0\0\0\0" + b"p" * 125) * 1_000)
        assert protocols[0].transport.get_write_buffer_size() < 1_000_000
        client.sendall(b"\x89\x84\0\0\0\0last\x88\x80\0\0\0\0")
        while received := client.recv(65_536):
            answer = (answer + received)[-100:]
    assert answer.endswith(b"\x8a\x04last\x88\x00")


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536, 1_000_000])
def test_a_text_frame_has_the_bytes_that_the_library_would_write(size: int) -> None:
    content = b"a" * size
    assert b"".join(http.text_frame(content)) == Frame(Opcode.TEXT, content).serialize(mask=False)
