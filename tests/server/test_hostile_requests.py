"""No request makes the server fail: every route, with hostile values in its path, query, headers and body."""

import re
import socket
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import httpx
import pytest
from starlette.routing import Route

from tests.needs import LONG
from tests.server import hostile
from tests.server.conftest import Running
from tests.server.hostile import Raw
from tests.server.test_owners import OF_PEOPLE, made_by

T = TypeVar("T")

PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")


@pytest.fixture(scope="module")
def server(make_server: Callable[..., Running], tmp_path_factory: pytest.TempPathFactory) -> Running:
    data_dir = tmp_path_factory.mktemp("hostile")
    return make_server(api_keys="key", data_dir=data_dir, embed_origins="https://shop.example")


@pytest.fixture(scope="module")
def ids(server: Running) -> dict[str, bytes]:
    made = made_by(server, "key", "Plot a sine wave")
    others = OF_PEOPLE | {"session_id": "emb_x", "token": "x", "model": "demo", "name": "index.js"}
    return {name: value.encode() for name, value in (made | others).items()}


@pytest.fixture
def raw(server: Running) -> Iterator[Raw]:
    client = Raw(int(server.url.rpartition(":")[2]), {b"Authorization": b"Bearer key"})
    yield client
    client.close()


def routes(server: Running) -> list[tuple[str, Route]]:
    found = [route for route in server.app.routes if isinstance(route, Route)]
    return [(method, route) for route in found for method in sorted(route.methods or ())]


def some(values: list[T], number: int) -> list[T]:
    """All values in a long run; otherwise a fifth of them, different for each place, so that each value is used
    somewhere.
    """
    return values if LONG else values[number % 5 :: 5]


def path(route: Route, ids: dict[str, bytes], **hostile_values: bytes) -> bytes:
    values = ids | hostile_values
    return PARAMETER.sub(lambda match: values[match[1]].decode("latin-1"), route.path).encode("latin-1")


def test_whatever_stands_in_a_path(server: Running, raw: Raw, ids: dict[str, bytes]) -> None:
    failed = []
    for method, route in routes(server):
        for name in PARAMETER.findall(route.path):
            for value in hostile.SEGMENTS:
                target = path(route, ids, **{name: value})
                body = b"{}" if method in ("POST", "PATCH") else None
                if raw.status(method, target, body=body) >= 500:
                    failed.append((method, target[:200]))
    assert not failed


@pytest.mark.long
def test_whatever_stands_in_a_query(server: Running, raw: Raw, ids: dict[str, bytes]) -> None:
    failed = []
    for number, (method, route) in enumerate(routes(server)):
        if method not in ("GET", "DELETE"):
            continue
        operation = getattr(route.endpoint, "operation", None)
        query = operation.query if operation is not None else None
        fields = query.__struct_encode_fields__ if query is not None else ("origin", "stream", "starting_after")
        # A query is checked before anything is done; what could be deleted is not there.
        target = path(route, ids if method == "GET" else dict.fromkeys(ids, b"x"))
        given = [
            b"%s=%s" % (name.encode(), hostile.encoded(value))
            for at, name in enumerate(fields)
            for value in some(hostile.QUERIES, number + at)
        ]
        broken = (b"%ff=%fe", b"&&&==", b"\xff=\xfe", b"a=%zz", b"limit=1&limit=2", b"=" * 5000)
        failed += [
            (method, target, one[:200]) for one in (*given, *broken) if raw.status(method, target + b"?" + one) >= 500
        ]
    assert not failed


@pytest.mark.long
def test_whatever_stands_in_a_header(server: Running, raw: Raw, ids: dict[str, bytes]) -> None:
    failed = []
    for number, (method, route) in enumerate(routes(server)):
        target = path(route, ids if method in ("GET", "HEAD") else dict.fromkeys(ids, b"x"))
        for name, value in some([(name, value) for name, all_ in hostile.HEADERS.items() for value in all_], number):
            body = b"{}" if method in ("POST", "PATCH") and name != b"Content-Length" else None
            if raw.status(method, target, {name: value}, body) >= 500:
                failed.append((method, target[:200], name, value[:200]))
            if name == b"Content-Length":
                raw.close()
    assert not failed


@pytest.mark.long
@pytest.mark.parametrize("place", sorted(hostile.BODIES))
def test_whatever_stands_in_a_body(server: Running, raw: Raw, ids: dict[str, bytes], place: str) -> None:
    method, _, pattern = place.partition(" ")
    route = next(route for _, route in routes(server) if route.path == pattern)
    target = path(route, ids)
    changed = some(list(hostile.mutations(hostile.BODIES[place])), 0)
    bodies = [*hostile.RAW_BODIES, *map(hostile.as_json, changed)]
    failed = [body[:200] for body in bodies if raw.status(method, target, body=body) >= 500]
    assert not failed


@pytest.mark.long
def test_whatever_a_response_keeps(server: Running, raw: Raw) -> None:
    kept: dict[str, Any] = {
        "metadata": {"a": "b"},
        "tools": [
            {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {"a": {"const": 1}}}}
        ],
        "instructions": "x",
        "user": "u",
        "prompt_cache_key": "k",
        "temperature": 1.0,
        "max_output_tokens": 10,
    }
    asked = {"input": "hello", "max_tool_calls": 0}
    changed = some(some([kept | {"input": value} for value in hostile.VALUES] + list(hostile.mutations(kept)), 3), 2)
    bodies = [hostile.as_json(asked | body) for body in changed if isinstance(body, dict)]
    failed = [body[:300] for body in bodies if raw.status("POST", b"/v1/responses", body=body) >= 500]
    assert not failed


@pytest.mark.long
def test_whatever_stands_in_an_archive(server: Running, raw: Raw, ids: dict[str, bytes]) -> None:
    export = f"{server.url}/v1/conversations/{ids['conversation_id'].decode()}/export?format=json"
    archive = httpx.get(export, headers={"Authorization": "Bearer key"}, trust_env=False).raise_for_status().json()
    small = archive | {"responses": archive["responses"][:1], "blobs": archive["blobs"][:1]}
    response = small["responses"][0]["response"] | {"output": small["responses"][0]["response"]["output"][:1]}
    changed: list[Any] = []
    for value in hostile.VALUES:
        changed.append(small | {"conversation": dict.fromkeys(small["conversation"], value)})
        changed += [small | {"conversation": small["conversation"] | {key: value}} for key in small["conversation"]]
    for key in some(list(response), 0):
        for value in some(hostile.VALUES, len(key)):
            turn = small["responses"][0] | {"response": response | {key: value}}
            changed.append(small | {"responses": [turn]})
    bodies = map(hostile.as_json, some(changed, 1))
    failed = [body[:300] for body in bodies if raw.status("POST", b"/v1/conversations/import", body=body) >= 500]
    assert not failed


def test_bodies_that_end_early_are_no_errors_of_ours(
    server: Running, ids: dict[str, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    port = int(server.url.rpartition(":")[2])
    for method, route in routes(server):
        if method not in ("POST", "PATCH"):
            continue
        for kind in (b"application/json", b"multipart/form-data; boundary=x"):
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(
                    b"%s %s HTTP/1.1\r\nHost: localhost:%d\r\nAuthorization: Bearer key\r\nContent-Type: %s\r\n"
                    b"Content-Length: 100\r\n\r\n--x\r\n{" % (method.encode(), path(route, ids), port, kind)
                )
    raw = Raw(port, {b"Authorization": b"Bearer key"})
    for _ in range(3):
        assert raw.status("GET", b"/v1/models") == 200
    raw.close()
    assert not [record for record in caplog.records if record.exc_info or record.levelname == "ERROR"]
