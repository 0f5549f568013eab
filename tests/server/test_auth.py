"""Who may connect: keys, owners, origins and names."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from codeact.errors import ConfigurationError
from server.app import create_app
from server.auth import is_loopback
from tests.server.conftest import Running, settings_of

FIBONACCI = "What is the 100th Fibonacci number?"


@pytest.fixture(scope="module")
def keyed(make_server: Callable[..., Running]) -> Running:
    return make_server(api_keys="key-a,key-b", allowed_origins="https://shop.example")


def client(server: Running, key: str | None) -> httpx.Client:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx.Client(base_url=server.url, headers=headers, trust_env=False, timeout=60)


@pytest.mark.parametrize("key", [None, "", "key-c", "key-"])
def test_a_wrong_or_missing_key_is_refused_on_every_transport(keyed: Running, key: str | None) -> None:
    with client(keyed, key) as http:
        assert http.post("/v1/responses", json={"input": "x"}).status_code == 401
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with connect(keyed.ws_url, additional_headers=headers) as socket, pytest.raises(ConnectionClosed) as closed:
        socket.recv(timeout=10)
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


def test_an_open_address_needs_keys_or_a_flag(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="CODEACT_API_KEYS"):
        create_app(settings_of(tmp_path, host="0.0.0.0"))
    create_app(settings_of(tmp_path, host="0.0.0.0", api_keys="k"))
    create_app(settings_of(tmp_path, host="0.0.0.0", allow_unauthenticated=True))


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("example.org", False)],
)
def test_only_this_machine_reaches_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
