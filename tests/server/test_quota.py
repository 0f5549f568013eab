"""How much an owner may request, and what is recorded about requests."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from codeact.store import OwnerLimits, open_store
from tests.asking import frame
from tests.server.conftest import Running, in_thread, settings_of

FIBONACCI = "What is the 100th Fibonacci number?"


@pytest.fixture(scope="module")
def keyed(make_server: Callable[..., Running]) -> Running:
    return make_server(require_keys=True)


@pytest.fixture(scope="module")
def key_for(data_dir: Path) -> Callable[..., str]:
    """Makes a key of an owner with its own limits."""

    def make(owner: str, *, operator: bool = False, **limits: int) -> str:
        async def create() -> str:
            async with open_store(settings_of(data_dir)) as store:
                given = OwnerLimits(**limits)
                return (await store.access.create_key(owner=owner, name="", operator=operator, limits=given))[1]

        return in_thread(anyio.run, create)

    return make


def client(server: Running, key: str) -> httpx.Client:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.Client(base_url=server.url, headers=headers, trust_env=False, timeout=60)


def ask(http: httpx.Client) -> httpx.Response:
    return http.post("/v1/responses", json={"input": FIBONACCI})


def test_responses_per_minute_are_counted_over_all_keys_of_an_owner(
    keyed: Running, key_for: Callable[..., str]
) -> None:
    with (
        client(keyed, key_for("minute", responses_per_minute=1)) as one,
        client(keyed, key_for("minute", responses_per_minute=1)) as other,
    ):
        answers = [ask(http) for http in (one, other, one)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert 1 <= len(refused) <= 2  # the clock may begin another minute between them
    error = refused[0].json()["error"]
    assert (error["type"], error["code"]) == ("too_many_requests", "rate_limit_exceeded")
    assert "1 responses in a minute" in error["message"]
    assert 1 <= int(refused[0].headers["retry-after"]) <= 61


def test_the_tokens_of_a_day_are_counted_at_the_end_of_each_response(
    keyed: Running, key_for: Callable[..., str]
) -> None:
    with client(keyed, key_for("day", tokens_per_day=10)) as http:
        assert ask(http).json()["usage"]["total_tokens"] > 10
        refused = ask(http)
    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "insufficient_quota"
    assert 1 <= int(refused.headers["retry-after"]) <= 86_401


def test_concurrent_responses_of_one_owner_leave_others_alone(keyed: Running, key_for: Callable[..., str]) -> None:
    sleep = "Count to 10, live"
    mine, theirs = key_for("many", concurrent_responses=1), key_for("few", concurrent_responses=1)
    with connect(keyed.ws_url, additional_headers={"Authorization": f"Bearer {mine}"}) as socket:
        socket.send(frame({"type": "response.create", "input": sleep}))
        assert json.loads(socket.recv(timeout=60))["type"] == "response.created"
        socket.send(frame({"type": "response.create", "input": sleep}))
        frames = (json.loads(socket.recv(timeout=30)) for _ in range(10_000))
        error = next(frame for frame in frames if frame["type"] == "error")
        assert (error["status"], error["error"]["code"]) == (429, "concurrent_responses_exceeded")
        with client(keyed, theirs) as http:
            assert ask(http).status_code == 200


def entries(http: httpx.Client, **query: Any) -> list[dict[str, Any]]:
    answer = http.get("/v1/audit", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


@pytest.fixture
def told(keyed: Running, key_for: Callable[..., str]) -> Iterator[tuple[httpx.Client, httpx.Client, str]]:
    """An owner's client and an operator's, after the owner has created and read a picture; and that response's id."""
    with client(keyed, key_for("carol")) as owner, client(keyed, key_for("root", operator=True)) as operator:
        made = owner.post("/v1/responses", json={"input": "Plot a sine wave"}).json()
        images = [o["url"] for item in made["output"] for o in item.get("outputs") or () if o["type"] == "image"]
        assert owner.get(images[0]).status_code == 200
        deadline = time.monotonic() + 60
        while len(entries(owner, action="GET /v1/blobs/{sha256}", limit=1)) == 0:
            assert time.monotonic() < deadline
        yield owner, operator, made["id"]


def test_runs_and_files_are_in_the_audit_log(told: tuple[httpx.Client, httpx.Client, str]) -> None:
    owner, operator, response_id = told
    run, read = entries(owner, action="response.create")[0], entries(owner, action="GET /v1/blobs/{sha256}")[0]
    assert (run["subject"], run["owner"], run["status"]) == (response_id, "carol", 200)
    assert (read["owner"], read["status"], read["address"]) == ("carol", 200, "127.0.0.1")
    assert read["credential_id"].startswith("key_")
    assert run in entries(operator, owner="carol", subject=response_id)
    first = entries(owner, limit=1)
    assert entries(owner, after=first[0]["id"])[0]["id"] < first[0]["id"]


def test_owners_read_their_own_entries_only(
    keyed: Running, told: tuple[httpx.Client, httpx.Client, str], key_for: Callable[..., str]
) -> None:
    _, operator, _ = told
    with client(keyed, key_for("dave")) as other:
        assert all(entry["owner"] == "dave" for entry in entries(other))
        assert other.get("/v1/audit?owner=carol").status_code == 404
    assert {entry["owner"] for entry in entries(operator, limit=1000)} >= {"carol"}


@pytest.mark.parametrize(
    ("query", "param"),
    [("limit=0", "limit"), ("limit=x", "limit"), ("since=soon", "since"), ("after=x", "after"), ("by=me", "by")],
)
def test_a_query_that_makes_no_sense_is_refused_by_name(demo: Running, query: str, param: str) -> None:
    answer = httpx.get(f"{demo.url}/v1/audit?{query}", trust_env=False)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_secrets_are_in_nothing_that_is_kept(keyed: Running, data_dir: Path, key_for: Callable[..., str]) -> None:
    secret = key_for("eve")
    with client(keyed, secret) as http:
        assert ask(http).status_code == 200

    async def kept() -> list[str]:
        async with open_store(settings_of(data_dir)) as store:
            database = store._client.get_default_database("codeact")
            names = await database.list_collection_names()
            return [str(document) for name in names async for document in database[name].find()]

    assert not [document for document in in_thread(anyio.run, kept) if secret in document]


def test_an_owner_with_too_many_sockets_and_streams_is_refused_by_name_and_no_other(
    keyed: Running, key_for: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyed.state.open_requests, "_most", 3)
    key, other_key = key_for("crowd"), key_for("single")
    headers = {"Authorization": f"Bearer {key}"}
    with ExitStack() as stack, client(keyed, key) as http, client(keyed, other_key) as other:
        sockets = [stack.enter_context(connect(keyed.ws_url, additional_headers=headers)) for _ in range(2)]
        asked = {"input": "Count to 10, live", "stream": True}
        stream = stack.enter_context(http.stream("POST", "/v1/responses", json=asked))
        assert stream.status_code == 200
        refused = http.get("/v1/models")
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "too_many_open_requests")
        assert refused.headers["retry-after"] == "1"
        with pytest.raises(ConnectionClosed) as closed:
            stack.enter_context(connect(keyed.ws_url, additional_headers=headers)).recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1013
        assert other.get("/v1/models").status_code == 200
        sockets[0].close()
        deadline = time.monotonic() + 60
        while http.get("/v1/models").status_code == 429:
            assert time.monotonic() < deadline
