"""A request that is repeated with its `Idempotency-Key` is not executed again."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from starlette.responses import Response

from codeact.errors import InvalidRequest
from codeact.server.idempotency import MOST_BYTES, MOST_KEYS_PER_OWNER, IdempotencyKeys
from tests.model_server import Gate, ModelServer, outcome
from tests.server.conftest import Running


@pytest.fixture
def client(scripted: Running, model_server: ModelServer) -> Iterator[httpx.Client]:
    model_server.reset()
    with httpx.Client(base_url=scripted.url, trust_env=False, timeout=60) as client:
        yield client


def post(client: httpx.Client, key: str, path: str = "/v1/responses", **body: Any) -> httpx.Response:
    return client.post(path, json=body, headers={"Idempotency-Key": key})


def test_a_repeated_question_is_asked_once_and_answered_alike(client: httpx.Client, model_server: ModelServer) -> None:
    model_server.reply("Once.")
    first = post(client, "one", input="hi").raise_for_status()
    assert post(client, "one", input="hi").json() == first.json()
    assert len(model_server.requests) == 1
    model_server.reply("Twice.")
    assert post(client, "two", input="hi").json()["id"] != first.json()["id"]


def test_a_repeated_stream_is_the_same_stream(client: httpx.Client, model_server: ModelServer) -> None:
    model_server.reply("Streamed.")
    first = post(client, "stream", input="hi", stream=True).text
    assert "response.completed" in first
    assert post(client, "stream", input="hi", stream=True).text == first


@pytest.mark.anyio
async def test_a_question_that_is_under_way_is_waited_for(scripted: Running, model_server: ModelServer) -> None:
    model_server.reset()
    gate = Gate()
    model_server.reply("Slow", gate, " and sure.")
    body = {"input": "hi", "background": True}
    headers = {"Idempotency-Key": "under way"}
    async with httpx.AsyncClient(base_url=scripted.url, trust_env=False, timeout=60) as client:
        first = (await client.post("/v1/responses", json=body, headers=headers)).json()
        await outcome(gate.reached, 60)
        again = (await client.post("/v1/responses", json=body, headers=headers)).json()
        gate.open()
    assert (again["id"], again["status"]) == (first["id"], "in_progress")


def test_the_key_with_another_body_is_an_error_by_name(client: httpx.Client, model_server: ModelServer) -> None:
    model_server.reply("Once.")
    post(client, "reused", input="hi").raise_for_status()
    answer = post(client, "reused", input="something else")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, "idempotency_key_reused", "Idempotency-Key")


def test_what_failed_can_be_tried_again(client: httpx.Client, model_server: ModelServer) -> None:
    assert post(client, "failed", input="hi", conversation="conv_no").status_code == 404
    assert post(client, "failed", input="").status_code == 400
    assert post(client, "x" * 300, input="hi").json()["error"]["param"] == "Idempotency-Key"


def test_other_things_are_made_once_too(client: httpx.Client, model_server: ModelServer) -> None:
    first = post(client, "made", "/v1/conversations", metadata={"a": "b"}).raise_for_status().json()
    assert post(client, "made", "/v1/conversations", metadata={"a": "b"}).json() == first
    model_server.reply("Chat.")
    chat = {"messages": [{"role": "user", "content": "hi"}], "stream": True}
    post(client, "chat", "/v1/chat/completions", **chat).raise_for_status()
    again = post(client, "chat", "/v1/chat/completions", **chat)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "idempotency_conflict")


def test_owners_do_not_see_each_others_keys_and_old_ones_make_room() -> None:
    keys = IdempotencyKeys()
    keys.begin(("ann", "/x", "k"), b"1")
    assert keys.find(("bob", "/x", "k"), b"2") is None
    with pytest.raises(InvalidRequest):
        keys.find(("ann", "/x", "k"), b"2")
    for number in range(MOST_KEYS_PER_OWNER):
        keys.begin(("ann", "/x", str(number)), b"1")
    assert keys.find(("ann", "/x", "k"), b"1") is None
    for number in range(40):
        keys.end(("ann", "/x", str(number)), Response(b"x" * (MOST_BYTES // 32)))
    kept = [number for number in range(40) if keys.find(("ann", "/x", str(number)), b"1") is not None]
    assert kept == list(range(8, 40))
