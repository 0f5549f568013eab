"""What a client may send before anybody knows who it is."""

import socket

from tests.server.conftest import Running


def exchange(server: Running, *chunks: bytes) -> bytes:
    """What comes back until the server closes."""
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
