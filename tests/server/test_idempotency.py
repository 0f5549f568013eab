"""A request that is repeated with its `Idempotency-Key` is not executed again."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from starlette.responses import Response

from codeact.errors import InvalidRequest
from codeact.server.idempotency import (
    MOST_ANSWER_BYTES,
    MOST_BYTES_PER_OWNER,
    MOST_KEYS_PER_OWNER,
    IdempotencyKeys,
)
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


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/uploads", {"filename": "a.txt", "bytes": 3, "mime_type": "text/plain", "purpose": "user_data"}),
        ("/v1/profiles", {"name": "twice"}),
        ("/v1/responses/compact", {"model": "codeact", "input": "hi"}),
    ],
)
def test_what_a_retry_would_make_or_cost_again_is_made_once(
    client: httpx.Client, model_server: ModelServer, path: str, body: dict[str, Any]
) -> None:
    model_server.reply("A summary.")
    first = post(client, f"once {path}", path, **body).raise_for_status()
    assert post(client, f"once {path}", path, **body).json() == first.json()


SKILL_MD = b"---\nname: greet\ndescription: How to greet.\n---\n"


@pytest.mark.parametrize(
    ("path", "field", "name", "data"),
    [
        ("/v1/files", "file", "a.txt", {"purpose": "user_data"}),
        ("/v1/uploads/{upload}/parts", "data", "a.txt", {}),
        ("/v1/containers/{container}/files", "file", "a.txt", {}),
        ("/v1/skills", "files", "SKILL.md", {}),
        ("/v1/skills/{skill}/versions", "files", "SKILL.md", {"default": "true"}),
    ],
)
def test_a_form_that_is_sent_again_is_stored_once(
    client: httpx.Client, path: str, field: str, name: str, data: dict[str, str]
) -> None:
    def made(path: str, **more: Any) -> str:
        identifier: str = client.post(path, **more).raise_for_status().json()["id"]
        return identifier

    upload = {"filename": "a.txt", "bytes": 1_000, "mime_type": "text/plain", "purpose": "user_data"}
    if "{upload}" in path:
        path = path.format(upload=made("/v1/uploads", json=upload))
    elif "{container}" in path:
        path = path.format(container=made("/v1/containers", json={"name": "x"}))
    elif "{skill}" in path:
        path = path.format(skill=made("/v1/skills", files={"files": ("SKILL.md", SKILL_MD)}))

    def send(content: bytes, key: str, boundary: str) -> httpx.Response:
        # Clients choose another boundary for each attempt.
        headers = {"Idempotency-Key": key, "Content-Type": f"multipart/form-data; boundary={boundary}"}
        return client.post(path, data=data, files={field: (name, content)}, headers=headers)

    first = send(SKILL_MD + b"Hello.", f"form {path}", "one").raise_for_status().json()
    assert send(SKILL_MD + b"Hello.", f"form {path}", "two").json() == first
    other = send(SKILL_MD + b"Goodbye.", f"form {path}", "three")
    assert (other.status_code, other.json()["error"]["code"]) == (400, "idempotency_key_reused")
    assert send(b"", "x" * 300, "four").json()["error"]["param"] == "Idempotency-Key"
    assert send(SKILL_MD + b"Hello.", f"another {path}", "five").json()["id"] != first["id"]


def test_an_archive_that_is_sent_again_is_imported_once(client: httpx.Client, model_server: ModelServer) -> None:
    conversation_id = client.post("/v1/conversations", json={}).json()["id"]
    archive = client.get(f"/v1/conversations/{conversation_id}/export", params={"format": "json"}).json()
    first = post(client, "import", "/v1/conversations/import", **archive).raise_for_status().json()
    assert post(client, "import", "/v1/conversations/import", **archive).json() == first
    assert post(client, "import again", "/v1/conversations/import", **archive).json()["id"] != first["id"]


def test_owners_do_not_see_each_others_keys_and_old_ones_make_room() -> None:
    keys = IdempotencyKeys()
    keys.begin(("ann", "/x", "k"), b"1")
    assert keys.find(("bob", "/x", "k"), b"2") is None
    with pytest.raises(InvalidRequest):
        keys.find(("ann", "/x", "k"), b"2")
    for number in range(MOST_KEYS_PER_OWNER):
        keys.begin(("ann", "/x", str(number)), b"1")
    assert keys.find(("ann", "/x", "k"), b"1") is None


def test_long_answers_of_one_owner_make_nobody_s_request_execute_again() -> None:
    keys = IdempotencyKeys()
    entries = {name: keys.begin((*name, "k"), b"1") for name in (("bob", "/x"), ("bob", "/under way"))}
    keys.end(("bob", "/x", "k"), entries["bob", "/x"], Response(b"short"))
    for number in range(40):
        key = ("ann", "/x", str(number))
        keys.end(key, keys.begin(key, b"1"), Response(b"x" * MOST_ANSWER_BYTES))
    kept = [keys.find(("ann", "/x", str(number)), b"1") for number in range(40)]
    assert all(entry is not None and entry.is_done for entry in kept)
    assert sum(len(entry.answer[1]) for entry in kept if entry and entry.answer) == MOST_BYTES_PER_OWNER
    short = keys.find(("bob", "/x", "k"), b"1")
    assert short is not None
    assert short.answer is not None
    assert keys.find(("bob", "/under way", "k"), b"1") is not None


def test_a_request_that_is_under_way_is_not_forgotten_for_newer_ones() -> None:
    keys = IdempotencyKeys()
    under_way = keys.begin(("ann", "/x", "under way"), b"1")
    for number in range(MOST_KEYS_PER_OWNER + 10):
        key = ("ann", "/x", str(number))
        keys.end(key, keys.begin(key, b"1"), Response(b""))
    assert keys.find(("ann", "/x", "under way"), b"1") is under_way


def test_what_ends_late_is_not_the_answer_of_a_newer_request_with_its_key() -> None:
    keys, key = IdempotencyKeys(), ("ann", "/x", "k")
    first = keys.begin(key, b"1")
    keys.forget(key, first)
    second = keys.begin(key, b"1")
    keys.end(key, first, Response(b"late"))
    keys.forget(key, first)
    assert keys.find(key, b"1") is second
    assert second.answer is None
