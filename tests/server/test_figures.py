"""What the dashboard counts, of a server that was really used: warm-ups are no runs, and runs have an address."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
from websockets.sync.client import connect

from codeact.store import HistoryQuery, open_store
from codeact.store.repositories.periods import Period
from tests.server.conftest import Running, in_thread
from tests.server.test_auth import client

KEY = "figures"


def ended(socket: Any) -> dict[str, Any]:
    while (event := json.loads(socket.recv(timeout=60)))["type"] != "response.completed":
        assert event["type"] != "error", event
    response: dict[str, Any] = event["response"]
    return response


def test_a_warm_up_is_no_run_and_a_run_has_the_address_of_its_client(make_server: Callable[..., Running]) -> None:
    server = make_server(api_keys=(KEY,))
    with connect(server.ws_url, additional_headers={"Authorization": f"Bearer {KEY}"}) as socket:
        for _ in range(2):  # One of the two is only opened.
            socket.send(json.dumps({"type": "response.create", "generate": False}))
            warm = ended(socket)
        asked = {"type": "response.create", "input": "What is the 100th Fibonacci number?"}
        socket.send(json.dumps(asked | {"previous_response_id": warm["id"]}))
        answer = ended(socket)
    assert answer["conversation"]["id"] == warm["conversation"]["id"]
    owner = in_thread(anyio.run, owner_of, server, answer["conversation"]["id"])

    async def figures() -> tuple[int, int, list[int]]:
        now = datetime.now(UTC)
        period = Period(now - timedelta(hours=1), now + timedelta(hours=1), owner)
        async with open_store(server.settings) as store:
            runs = sum(one.runs for one in await store.statistics.runs(period))
            timed = (await store.statistics.times(period)).runs
            page = await store.history.find(HistoryQuery(), owner=owner, asked=True)
            largest = await store.history.largest(HistoryQuery(), "tokens", owner=owner, asked=True)
            assert [one.id for one in page.conversations] == [one.id for one in largest]
            return runs, timed, [one.facets.responses for one in page.conversations]

    assert in_thread(anyio.run, figures) == (1, 1, [1])
    with client(server, KEY) as http:
        for _ in range(1000):  # Entries are stored within a second.
            found = http.get("/v1/audit", params={"action": "response.create"}).json()["data"]
            if len(found) == 3:
                break
    assert {(entry["address"], entry["owner"]) for entry in found} == {("127.0.0.1", owner)}


async def owner_of(server: Running, conversation_id: str) -> str:
    async with open_store(server.settings) as store:
        return (await store.history.get(conversation_id)).owner
