"""What the audit log contains for each kind of access: operations on every transport, strangers,
operators, addresses.
"""

import ipaddress
import json
import time
from collections.abc import Callable
from typing import Any

import anyio
import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from codeact.server.auth.audit_tally import MOST_KINDS, REPEATED_S, Tally
from codeact.server.auth.proxies import client_address
from codeact.store import open_store
from tests.asking import frame
from tests.server.conftest import Running, in_thread
from tests.server.test_audit import entry

FIBONACCI = "What is the 100th Fibonacci number?"


@pytest.fixture(scope="module")
def server(make_server: Callable[..., Running], tmp_path_factory: pytest.TempPathFactory) -> Running:
    return make_server(api_keys="one,two", data_dir=tmp_path_factory.mktemp("audit"))


@pytest.fixture(scope="module")
def operator(server: Running) -> str:
    async def make() -> str:
        async with open_store(server.settings) as store:
            return (await store.access.create_key(owner="root", name="", operator=True))[1]

    return in_thread(anyio.run, make)


def client(server: Running, key: str | None, **headers: str) -> httpx.Client:
    given = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx.Client(base_url=server.url, timeout=60, trust_env=False, headers=given | headers)


def entries(server: Running, operator: str, least: int = 1, **query: Any) -> list[dict[str, Any]]:
    """The entries, as soon as there are this many; they are written within a second."""
    deadline = time.monotonic() + 60
    with client(server, operator) as http:
        while True:
            found: list[dict[str, Any]] = http.get("/v1/audit", params=query).raise_for_status().json()["data"]
            if len(found) >= least:
                return found
            assert time.monotonic() < deadline, f"no entry for {query}"


def owner_of(server: Running, key: str) -> str:
    with client(server, key) as http:
        return str(http.post("/v1/session", json={"api_key": key}).json()["owner"])


def test_cancel_and_steer_are_recorded_on_the_socket_as_on_http(server: Running, operator: str) -> None:
    with client(server, "one") as http:
        made = http.post("/v1/responses", json={"input": FIBONACCI}).json()
        assert http.post(f"/v1/responses/{made['id']}/cancel").status_code == 200
    with connect(server.ws_url, additional_headers={"Authorization": "Bearer one"}) as socket:
        socket.send(json.dumps({"type": "response.cancel", "response_id": made["id"]}))
        socket.send(json.dumps({"type": "response.cancel", "response_id": "resp_nobodys"}))
        assert json.loads(socket.recv(timeout=60))["error"]["code"] == "not_found"
        steer = {"type": "response.steer", "previous_response_id": made["id"], "input": "and now?"}
        socket.send(json.dumps(steer))
        assert json.loads(socket.recv(timeout=60))["type"] == "response.steer.failed"
    cancelled = entries(server, operator, 2, action="response.cancel", subject=made["id"])
    assert [(one["status"], one["owner"]) for one in cancelled] == [(200, owner_of(server, "one"))] * 2
    assert entries(server, operator, action="response.cancel", subject="resp_nobodys")[0]["status"] == 404
    steered = entries(server, operator, action="response.steer", subject=made["id"])
    assert [(one["status"], one["address"]) for one in steered] == [(400, "127.0.0.1")]


def test_compactions_are_recorded_under_their_ids(server: Running, operator: str) -> None:
    with client(server, "one") as http:
        asked = {"model": "codeact", "input": FIBONACCI}
        made = http.post("/v1/responses/compact", json=asked).raise_for_status().json()
    [compacted] = entries(server, operator, action="response.compact", subject=made["id"])
    assert (compacted["status"], compacted["owner"]) == (200, owner_of(server, "one"))


def test_messages_are_recorded_as_the_responses_that_they_are(server: Running, operator: str) -> None:
    with client(server, None, **{"x-api-key": "one"}) as http:
        asked = {"model": "codeact", "max_tokens": 100, "messages": [{"role": "user", "content": FIBONACCI}]}
        made = http.post("/v1/messages", json=asked).raise_for_status().json()
        subject = made["id"].replace("msg_", "resp_")
    [created] = entries(server, operator, action="response.create", subject=subject)
    assert (created["status"], created["owner"]) == (200, owner_of(server, "one"))
    with client(server, None, **{"x-api-key": "wrong"}) as http:
        refused = http.post("/v1/messages", json=asked)
    error = refused.json()["error"]
    assert (refused.status_code, error["type"]) == (401, "authentication_error")
    assert refused.headers["request-id"] == refused.json()["request_id"]


def test_sessions_are_recorded_when_they_begin_and_end(server: Running, operator: str) -> None:
    with client(server, None) as browser:
        browser.post("/v1/session", json={"api_key": "two"}).raise_for_status()
        owner = owner_of(server, "two")
        begun = entries(server, operator, action="session.create", owner=owner)[0]
        assert begun["subject"].startswith("env-")
        browser.delete("/v1/session").raise_for_status()
    ended = entries(server, operator, action="session.end", owner=owner)[0]
    assert ended["subject"].startswith("sess_")


def test_reads_of_a_share_are_in_its_owner_s_log(server: Running, operator: str) -> None:
    with client(server, "one") as http, client(server, None) as stranger:
        made = http.post("/v1/responses", json={"input": FIBONACCI}).json()
        conversation_id = made["conversation"]["id"]
        share = http.post(f"/v1/conversations/{conversation_id}/share", json={}).json()
        assert stranger.get(share["url"]).status_code == 200
        assert stranger.get("/v1/shares/guessed").status_code == 404
        own = entries(server, "one", action="share.read", subject=conversation_id)
    assert [(one["status"], one["credential_id"], one["address"]) for one in own] == [(200, None, "127.0.0.1")]
    assert entries(server, operator, action="share.read", subject="no such share")[0]["status"] == 404


def test_wrong_keys_are_recorded_and_a_flood_of_them_is_one_entry(server: Running, operator: str) -> None:
    for number in range(30):
        with client(server, f"guess-{number}") as http:
            assert http.get("/v1/models").status_code == 401
    headers = {"Authorization": "Bearer guess"}
    with connect(server.ws_url, additional_headers=headers) as socket, pytest.raises(ConnectionClosed):
        socket.recv(timeout=60)
    with client(server, None) as http:
        assert http.post("/v1/session", json={"api_key": "guess"}).status_code == 401
    found = entries(server, operator, action="auth.refused")
    assert 1 <= len(found) <= 3
    assert {(one["subject"], one["status"], one["owner"]) for one in found} == {("key", 401, "")}
    assert "guess" not in json.dumps(found)


def test_what_an_operator_reads_of_others_is_recorded(server: Running, operator: str) -> None:
    owner = owner_of(server, "one")
    with client(server, "one") as http:
        made = http.post("/v1/responses", json={"input": FIBONACCI}).json()
        assert http.get(f"/v1/responses/{made['id']}").status_code == 200
    conversation_id = made["conversation"]["id"]
    with client(server, operator) as ops:
        acting = {"Codeact-Owner": owner}
        assert ops.get(f"/v1/conversations/{conversation_id}/responses", headers=acting).status_code == 200
        assert ops.get("/v1/conversations", params={"owner": "*"}).status_code == 200
        for _ in range(3):  # As a page does that stays open.
            assert ops.get("/v1/pool").status_code == 200
    with connect(
        server.ws_url, additional_headers={"Authorization": f"Bearer {operator}", "Codeact-Owner": owner}
    ) as socket:
        socket.send(frame({"type": "codeact:response.resume", "response_id": made["id"]}))
        assert json.loads(socket.recv(timeout=60))["type"] == "response.created"
    read = entries(server, operator, action="GET /v1/conversations/{conversation_id}/responses")
    assert (read[0]["owner"], read[0]["subject"]) == (owner, conversation_id)
    assert read[0]["credential_id"].startswith("key_")
    assert entries(server, operator, action="conversations.list")[0]["subject"] == "*"
    assert len(entries(server, operator, action="GET /v1/pool")) == 1
    assert len(entries(server, operator, action="response.read", subject=made["id"])) == 1


def test_who_may_not_act_for_another_is_recorded(server: Running, operator: str) -> None:
    with client(server, "one", **{"Codeact-Owner": "root"}) as http:
        assert http.get("/v1/models").status_code == 403
    found = entries(server, operator, action="auth.forbidden")[0]
    assert (found["owner"], found["subject"]) == (owner_of(server, "one"), "operators_only")


@pytest.mark.parametrize(("trusted", "address"), [(None, "127.0.0.1"), ("127.0.0.0/8", "203.0.113.9")])
def test_an_address_is_what_a_trusted_proxy_says_and_nobody_else(
    make_server: Callable[..., Running],
    tmp_path_factory: pytest.TempPathFactory,
    trusted: str | None,
    address: str,
) -> None:
    data_dir = tmp_path_factory.mktemp("proxied")
    server = make_server(data_dir=data_dir, trusted_proxies=trusted, pool_min=0)
    with client(server, None, **{"X-Forwarded-For": "198.51.100.1, 203.0.113.9", "X-Real-IP": "198.51.100.2"}) as http:
        made = http.post("/v1/conversations", json={}).json()["id"]
        http.delete(f"/v1/conversations/{made}").raise_for_status()
    with client(server, None) as http:
        deadline = time.monotonic() + 60
        while not (found := http.get("/v1/audit", params={"subject": made}).json()["data"]):
            assert time.monotonic() < deadline
    assert found[0]["address"] == address


NETWORKS = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8")]


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("192.0.2.1", ["198.51.100.1"], "192.0.2.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6", "198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("::ffff:10.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("fd00::1", ["[2001:db8::1]:443"], "2001:db8::1"),
        ("10.0.0.1", ["198.51.100.1, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["<script>"], "10.0.0.1"),
        ("10.0.0.1", [",".join(["10.0.0.3"] * 5000)], "10.0.0.3"),
    ],
)
def test_the_nearest_address_that_is_no_proxy_of_ours_counts(peer: str, forwarded: list[str], address: str) -> None:
    assert client_address(peer, forwarded, NETWORKS) == address


def test_a_flood_of_events_becomes_a_bounded_number_of_entries_and_none_is_uncounted() -> None:
    tally = Tally()
    written = []
    for second in range(240):
        for number in range(1000):
            tally.add(entry(f"{second}-{number}"), now=second)
        assert len(tally) <= MOST_KINDS + 1
        written += tally.due(now=second)
    written += tally.rest()
    assert sum(one.times for one in written) == 240_000
    assert len(written) <= (240 / REPEATED_S + 1) * (MOST_KINDS + 1)


def test_the_first_of_a_kind_is_written_at_once_and_its_repetitions_a_minute_later() -> None:
    tally = Tally()
    tally.add(entry("a"), now=0)
    assert [one.times for one in tally.due(now=0)] == [1]
    for second in range(1, 50):
        tally.add(entry("a"), now=second)
    assert not list(tally.due(now=50))
    assert [one.times for one in tally.due(now=61)] == [49]
    assert not list(tally.due(now=200))
    assert not len(tally)
