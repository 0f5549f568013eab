"""What tests of embed tokens share: keys, tokens and sockets."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx
from websockets import Subprotocol
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from codeact.store import Store
from tests.asking import frame
from tests.server.conftest import Running

SHOP, OTHER = "https://shop.example", "http://localhost:3000"
FIBONACCI = "What is the 100th Fibonacci number?"
SESSIONS = "/v1/embed/sessions"
Ask = Callable[[Callable[[Store], Any]], Any]


def client(server: Running, token: str | None = None, **headers: str) -> httpx.Client:
    given = {"Authorization": f"Bearer {token}"} if token is not None else {}
    return httpx.Client(base_url=server.url, headers=given | headers, trust_env=False, timeout=60)


def make(server: Running, key: str | None, **body: Any) -> httpx.Response:
    with client(server, key) as backend:
        return backend.post(SESSIONS, json={"origin": SHOP, "user": "alice"} | body)


def token_of(server: Running, key: str = "key-a", **body: Any) -> str:
    made = make(server, key, **body)
    assert made.status_code == 201, made.text
    return str(made.json()["token"])


@contextmanager
def socket(server: Running, token: str, **options: Any) -> Iterator[ClientConnection]:
    offered = [Subprotocol("codeact"), Subprotocol(f"codeact-key.{token}")]
    with connect(server.ws_url, subprotocols=offered, **options) as opened:
        yield opened


def events(opened: ClientConnection) -> Iterator[dict[str, Any]]:
    while True:
        yield json.loads(opened.recv(timeout=30))


def answered(opened: ClientConnection, **request: Any) -> dict[str, Any]:
    """The last event of the answer, or the error."""
    opened.send(frame({"type": "response.create", "input": FIBONACCI} | request))
    ends = ("response.completed", "response.failed", "response.incomplete", "error")
    return next(event for event in events(opened) if event["type"] in ends)


def closed_with(opened: ClientConnection) -> int:
    with suppress(ConnectionClosed):
        while True:
            opened.recv(timeout=30)
    assert opened.close_code is not None
    return opened.close_code
