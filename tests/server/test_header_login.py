"""People who have signed in at a proxy, which names them in headers."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from codeact.login_settings import LoginSettings
from codeact.store.repositories.people import People, owner_of_subject
from tests.server.conftest import Running
from tests.server.test_auth import client

SETTINGS: dict[str, Any] = {
    "pool_min": 0,
    "login_header": "X-Forwarded-User",
    "login_header_email": "X-Forwarded-Email",
    "login_header_groups": "X-Forwarded-Groups",
    "login_users": "staff,*@example.com",
    "login_operators": "ops",
    "login_admins": "boss",
}
ALICE = {"X-Forwarded-User": "alice", "X-Forwarded-Groups": "staff, others"}


@pytest.fixture(scope="module")
def server(make_server: Callable[..., Running]) -> Running:
    return make_server(trusted_proxies="127.0.0.1", api_keys="key", **SETTINGS)


def asks(server: Running, headers: Any, path: str = "/v1/models") -> httpx.Response:
    with client(server, None) as http:
        return http.get(path, headers=headers)


def test_headers_count_from_the_proxy_alone(server: Running, make_server: Callable[..., Running]) -> None:
    assert asks(server, ALICE).status_code == 200
    elsewhere = make_server(trusted_proxies="192.0.2.1", **SETTINGS)
    assert asks(elsewhere, ALICE).status_code == 401
    assert asks(server, {}).status_code == 401
    # A proxy that adds its header to that of the client has one of an attacker's.
    assert asks(server, [("X-Forwarded-User", "alice"), ("X-Forwarded-User", "boss")]).status_code == 401
    assert asks(server, [*ALICE.items(), ("X-Forwarded-Groups", "boss")]).status_code == 401
    assert asks(server, {"X-Forwarded-User": "a" * 300}).status_code == 401


def wait_for_entry(server: Running, action: str, subject: str) -> None:
    boss = {"X-Forwarded-User": "boss", "X-Forwarded-Groups": "boss"}
    for _ in range(2000):
        if asks(server, boss, f"/v1/audit?action={action}&subject={subject}").json()["data"]:
            return
    raise AssertionError(f"no entry {action} {subject}")


@pytest.mark.parametrize(
    ("groups", "role"),
    [("staff", "user"), ("staff,ops", "operator"), ("x , boss", "admin"), ("none", None), ("", None)],
)
def test_groups_give_the_role(server: Running, groups: str, role: str | None) -> None:
    answer = asks(server, {"X-Forwarded-User": "bob", "X-Forwarded-Groups": groups}, "/v1/session")
    assert answer.status_code == (200 if role else 403)
    assert answer.json().get("role") == role
    if role is None:
        wait_for_entry(server, "login.failed", "login_refused")


def test_a_person_is_the_same_owner_whatever_the_groups(server: Running) -> None:
    owner = owner_of_subject("proxy", "alice")
    for headers in (ALICE, {"X-Forwarded-User": "alice", "X-Forwarded-Email": "Alice@Example.com"}):
        assert asks(server, headers, "/v1/session").json()["owner"] == owner
    assert asks(server, {**ALICE, "X-Forwarded-User": "alice2"}, "/v1/session").json()["owner"] != owner


def test_a_key_counts_before_the_headers(server: Running) -> None:
    with client(server, None) as http:
        key = http.post("/v1/keys", headers=ALICE, json={"name": "x"}).json()["secret"]
        assert http.post("/v1/embed/sessions", headers=ALICE, json={"origin": "https://x.example"}).status_code == 403
    bob = {"X-Forwarded-User": "bob", "X-Forwarded-Groups": "staff", "Authorization": f"Bearer {key}"}
    assert asks(server, bob, "/v1/session").json()["owner"] == owner_of_subject("proxy", "alice")
    # What a proxy passes on of its own, such as the provider's token, is no key of ours.
    other = {**ALICE, "Authorization": "Bearer eyJhbGciOiJSUzI1NiJ9.e30.x"}
    assert asks(server, other, "/v1/session").json()["role"] == "user"


def test_a_key_of_the_settings_counts_before_the_headers(server: Running) -> None:
    assert asks(server, ALICE | {"Authorization": "Bearer key"}, "/v1/session").json()["owner"].startswith("key-")


def test_whoever_the_rules_let_in_no_more_loses_their_keys(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    dora = {"X-Forwarded-User": "dora", "X-Forwarded-Groups": "staff"}
    with client(server, None) as http:
        key = http.post("/v1/keys", headers=dora, json={"name": "x"}).json()["secret"]
    with client(server, key) as http:
        assert http.get("/v1/models").status_code == 200
        assert asks(server, dora | {"X-Forwarded-Groups": "none"}).status_code == 403
        assert http.get("/v1/models").status_code == 401
    # The refusal is remembered: the next request costs no write.
    monkeypatch.setattr(People, "shut_out", None)
    assert asks(server, dora | {"X-Forwarded-Groups": "none"}).status_code == 403


CREATE = {"type": "response.create", "input": "x"}
CANCEL = {"type": "response.cancel", "response_id": "resp_x"}
STEER = {"type": "response.steer", "previous_response_id": "resp_x", "input": "x"}


def closing(socket: ClientConnection, event: dict[str, str]) -> int:
    """The code with which the server closes the socket after this event."""
    socket.send(json.dumps(event))
    with pytest.raises(ConnectionClosed) as closed:
        socket.recv(timeout=60)
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code


@pytest.mark.parametrize("event", [CREATE, CANCEL, STEER])
def test_an_open_socket_ends_with_the_account(server: Running, event: dict[str, str]) -> None:
    name = event["type"].partition(".")[2]
    headers = {"X-Forwarded-User": name, "X-Forwarded-Groups": "staff"}
    boss = {"X-Forwarded-User": "boss", "X-Forwarded-Groups": "boss"}
    with connect(server.ws_url, additional_headers=headers) as socket, client(server, None) as http:
        path = f"/v1/people/{owner_of_subject('proxy', name)}"
        assert http.patch(path, headers=boss, json={"disabled": True}).status_code == 200
        assert closing(socket, event) == 4401


def test_an_open_socket_ends_as_a_session_would(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LoginSettings, "login_lasts", timedelta(0))
    with connect(server.ws_url, additional_headers=ALICE) as socket, pytest.raises(ConnectionClosed) as closed:
        socket.recv(timeout=60)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4401


def test_an_open_socket_does_not_bring_former_groups_back(server: Running) -> None:
    owner = owner_of_subject("proxy", "olga")
    headers = {"X-Forwarded-User": "olga", "X-Forwarded-Groups": "ops"}
    with connect(server.ws_url, additional_headers=headers) as socket:
        assert asks(server, headers | {"X-Forwarded-Groups": "staff"}, "/v1/session").json()["role"] == "user"
        server.state.header_login.forget()  # type: ignore[union-attr]
        assert closing(socket, CANCEL) == 4401
    boss = {"X-Forwarded-User": "boss", "X-Forwarded-Groups": "boss"}
    people = asks(server, boss, "/v1/people?limit=1000").json()["data"]
    assert next(one["role"] for one in people if one["owner"] == owner) == "user"


def test_a_page_of_another_origin_gains_nothing_by_the_proxys_headers(server: Running) -> None:
    with client(server, None) as http:
        foreign = ALICE | {"Origin": "https://evil.example"}
        assert http.post("/v1/keys", headers=foreign, json={"name": "x"}).status_code == 403


def test_a_disabled_person_is_refused(server: Running) -> None:
    carol = {"X-Forwarded-User": "carol", "X-Forwarded-Groups": "staff"}
    boss = {"X-Forwarded-User": "boss", "X-Forwarded-Groups": "boss"}
    assert asks(server, carol).status_code == 200
    with client(server, None) as http:
        path = f"/v1/people/{owner_of_subject('proxy', 'carol')}"
        assert http.patch(path, headers=carol, json={"disabled": False}).status_code == 404
        assert http.patch(path, headers=boss, json={"disabled": True}).status_code == 200
    assert asks(server, carol).status_code == 403
