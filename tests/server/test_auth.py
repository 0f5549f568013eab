"""Who may connect: keys, owners, origins and names."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import httpx
import pytest
from websockets import Subprotocol
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from codeact.errors import ConfigurationError
from codeact.login_settings import SESSION_COOKIE
from codeact.loopback import is_loopback
from codeact.server.auth.auth import EMBED_SESSIONS, PUBLIC, check_exposure
from codeact.store import open_store
from tests.asking import frame
from tests.server.conftest import Running, in_thread, running, settings_of

FIBONACCI = "What is the 100th Fibonacci number?"


@pytest.fixture(scope="module")
def keyed(make_server: Callable[..., Running]) -> Running:
    return make_server(api_keys="key-a,key-b", allowed_origins="https://shop.example")


def client(server: Running, key: str | None) -> httpx.Client:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx.Client(base_url=server.url, headers=headers, trust_env=False, timeout=60)


def keys(data_dir: Path, *arguments: str) -> str:
    """The output of `codeact keys …`."""
    command = [sys.executable, "-c", "from codeact.cli.main import main; main()", "keys", *arguments]
    environment = os.environ | {"CODEACT_DATA_DIR": str(data_dir)}
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("key", [None, "", "key-c", "key-"])
def test_a_wrong_or_missing_key_is_refused_on_every_transport(keyed: Running, key: str | None) -> None:
    with client(keyed, key) as http:
        assert http.post("/v1/responses", json={"input": "x"}).status_code == 401
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with connect(keyed.ws_url, additional_headers=headers) as socket, pytest.raises(ConnectionClosed) as closed:
        socket.recv(timeout=60)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4401


def test_what_belongs_to_another_owner_does_not_exist(keyed: Running) -> None:
    with client(keyed, "key-a") as mine, client(keyed, "key-b") as theirs:
        made = mine.post("/v1/responses", json={"input": "Plot a sine wave"}).json()
        image = next(
            output["url"]
            for item in made["output"]
            for output in item.get("outputs") or ()
            if output["type"] == "image"
        )
        paths = [
            f"/v1/responses/{made['id']}",
            f"/v1/responses/{made['id']}?stream=true",
            f"/v1/responses/{made['id']}/input_items",
            f"/v1/conversations/{made['conversation']['id']}",
            image,
        ]
        assert [mine.get(path).status_code for path in paths] == [200] * len(paths)
        assert [theirs.get(path).status_code for path in paths] == [404] * len(paths)
        assert theirs.post(f"/v1/responses/{made['id']}/cancel").status_code == 404
        for link in ({"previous_response_id": made["id"]}, {"conversation": made["conversation"]["id"]}):
            assert theirs.post("/v1/responses", json={"input": "x", **link}).status_code == 404


def test_pages_of_other_origins_are_refused_unless_allowed(keyed: Running) -> None:
    with client(keyed, "key-a") as http:
        for origin, status in (("https://evil.example", 403), ("https://shop.example", 200), (keyed.url, 200)):
            assert http.get("/v1/models", headers={"Origin": origin}).status_code == status
        allowed = http.get("/v1/models", headers={"Origin": "https://shop.example"})
        assert allowed.headers["access-control-allow-origin"] == "https://shop.example"


def test_a_name_that_is_not_ours_is_refused(keyed: Running) -> None:
    with client(keyed, "key-a") as http:
        assert http.get("/v1/models", headers={"Host": "rebound.example"}).status_code == 403


def test_without_keys_the_public_name_alone_is_ours_on_an_open_address_too(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, host="0.0.0.0", allow_unauthenticated=True, public_url="http://public.example")
    with running(settings, ready=False) as server, client(server, "none") as http:
        for name, status in (("rebound.example", 403), ("public.example", 200), ("localhost:8000", 200)):
            assert http.get("/healthz", headers={"Host": name}).status_code == status


def test_what_is_neither_an_origin_nor_a_name_is_refused(keyed: Running) -> None:
    with client(keyed, "key-a") as http:
        for headers in ({"Origin": "http://["}, {"Origin": "http://[::1"}, {"Origin": "é"}, {"Host": "["}):
            encoded = {name: value.encode() for name, value in headers.items()}
            assert http.get("/v1/models", headers=encoded).status_code == 403


def test_an_open_address_needs_keys_or_a_flag(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="codeact keys create"):
        in_thread(check_exposure, settings_of(tmp_path, host="0.0.0.0"))
    in_thread(check_exposure, settings_of(tmp_path, host="0.0.0.0", api_keys="k"))
    in_thread(check_exposure, settings_of(tmp_path, host="0.0.0.0", allow_unauthenticated=True))
    assert keys(tmp_path, "create", "--owner", "alice").startswith("codeact_")
    in_thread(check_exposure, settings_of(tmp_path, host="0.0.0.0"))


def test_a_key_of_the_database_counts_until_it_is_revoked(keyed: Running, data_dir: Path) -> None:
    made = json.loads(keys(data_dir, "create", "--owner", "alice", "--json"))
    secret = made["secret"]
    assert secret not in keys(data_dir, "list", "--json")
    with client(keyed, secret) as alice, client(keyed, "key-a") as other:
        conversation = alice.post("/v1/conversations", json={}).json()["id"]
        assert alice.get(f"/v1/conversations/{conversation}").status_code == 200
        assert other.get(f"/v1/conversations/{conversation}").status_code == 404
        headers = {"Authorization": f"Bearer {secret}"}
        with connect(keyed.ws_url, additional_headers=headers) as socket:
            keys(data_dir, "revoke", made["id"])
            assert alice.get("/v1/models").status_code == 401
            socket.send(frame({"type": "response.create", "input": FIBONACCI}))
            with pytest.raises(ConnectionClosed) as closed:
                socket.recv(timeout=60)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4401


def test_a_key_ends_on_its_day(keyed: Running, data_dir: Path) -> None:
    async def make() -> str:
        async with open_store(settings_of(data_dir)) as store:
            past = datetime.now(UTC) - timedelta(seconds=1)
            return (await store.access.create_key(owner="bob", name="", expires_at=past))[1]

    with client(keyed, in_thread(anyio.run, make)) as http:
        assert http.get("/v1/models").status_code == 401


def test_a_browser_has_a_session_in_place_of_a_key(keyed: Running) -> None:
    with client(keyed, None) as browser:
        assert browser.post("/v1/session", json={"api_key": "key-c"}).status_code == 401
        assert browser.get("/v1/models").status_code == 401
        opened = browser.post("/v1/session", json={"api_key": "key-a"})
        assert opened.status_code == 200
        cookie = opened.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert "key-a" not in cookie
        assert browser.get("/v1/models").status_code == 200
        headers = {"Cookie": f"{SESSION_COOKIE}={browser.cookies[SESSION_COOKIE]}"}
        with connect(keyed.ws_url, additional_headers=headers) as socket:
            socket.send(frame({"type": "response.create", "input": FIBONACCI}))
            assert json.loads(socket.recv(timeout=60))["type"] == "response.created"
        secret = browser.cookies[SESSION_COOKIE]
        with client(keyed, secret) as http:  # a session is no key
            assert http.get("/v1/models").status_code == 401
        assert browser.delete("/v1/session").status_code == 204
        browser.cookies.set(SESSION_COOKIE, secret)
        assert browser.get("/v1/models").status_code == 401


def test_a_browsers_socket_may_carry_the_key_as_a_subprotocol(keyed: Running) -> None:
    with connect(keyed.ws_url, subprotocols=[Subprotocol("codeact"), Subprotocol("codeact-key.key-a")]) as socket:
        assert socket.subprotocol == "codeact"
        socket.send(frame({"type": "response.create", "input": FIBONACCI}))
        assert json.loads(socket.recv(timeout=60))["type"] == "response.created"


def test_without_needed_keys_a_placeholder_is_passed_over_but_not_a_key_that_ended(demo: Running) -> None:
    for key, status in (("not-needed-on-loopback", 200), ("codeact_gone", 401), (None, 200)):
        with client(demo, key) as http:
            assert http.get("/v1/models").status_code == status


def test_nothing_under_v1_is_reached_without_a_key(keyed: Running) -> None:
    paths = {route.path for route in keyed.app.routes if route.path.startswith("/v1/")}
    public = {path for path in paths if f"{path}/".startswith(PUBLIC)} | {EMBED_SESSIONS}
    assert "/v1/responses/{response_id}" in paths - public
    with client(keyed, None) as http:
        for path in sorted(paths - public):
            for method in ("GET", "POST", "DELETE"):
                assert http.request(method, path.replace("{", "").replace("}", "")).status_code == 401, path


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("example.org", False)],
)
def test_only_this_machine_reaches_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_an_operator_may_act_for_an_owner_and_see_the_pool_and_nobody_else_may(keyed: Running) -> None:
    operator = keys(keyed.settings.data_dir, "create", "--owner", "ops", "--operator").strip()
    with client(keyed, "key-a") as mine, client(keyed, "key-b") as other, client(keyed, operator) as ops:
        made = mine.post("/v1/conversations", json={}).json()
        path, edit = f"/v1/conversations/{made['id']}", {"pinned": True}
        owner = mine.post("/v1/session", json={"api_key": "key-a"}).json()["owner"]
        acting = {"Codeact-Owner": owner}
        assert ops.patch(path, json=edit).status_code == 404
        assert ops.patch(path, json=edit, headers=acting).json()["codeact:summary"]["pinned"] is True
        refused = other.patch(path, json=edit, headers=acting)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "operators_only")
        assert other.get("/v1/pool").status_code == 403
        assert [one.get("/metrics").status_code for one in (other, ops)] == [403, 200]
        assert httpx.get(f"{keyed.url}/metrics", trust_env=False).status_code == 401
        pool = ops.get("/v1/pool").json()
        assert pool["pool"]["warm"] + pool["pool"]["starting"] >= 0
        assert pool["leaked"] == 0
