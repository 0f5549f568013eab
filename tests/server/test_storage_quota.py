"""How much owners may store, and how much disk space stays free: who is refused, with which name, and until when."""

from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import httpx
import pytest

from codeact.store import OwnerLimits, Store, open_store
from tests.model_server import ModelServer
from tests.server.conftest import Running, in_thread

MB = 1024 * 1024
USER = {"role": "user", "content": "hello"}


@pytest.fixture(scope="module")
def server(make_server: Callable[..., Running], tmp_path_factory: pytest.TempPathFactory) -> Running:
    data_dir = tmp_path_factory.mktemp("stored")
    return make_server(api_keys="other", embed_origins="https://shop.example", data_dir=data_dir)


def in_store(server: Running, question: Callable[[Store], Any]) -> Any:
    async def run() -> Any:
        async with open_store(server.settings) as store:
            return await question(store)

    return in_thread(anyio.run, run)


def client(server: Running, key: str) -> httpx.Client:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.Client(base_url=server.url, headers=headers, trust_env=False, timeout=60)


def key_for(server: Running, owner: str, stored_mb: int) -> str:
    limits = OwnerLimits(stored_mb=stored_mb)
    return str(in_store(server, lambda store: store.access.create_key(owner=owner, name="", limits=limits))[1])


def given(number: int, size_bytes: int) -> dict[str, Any]:
    """A request with a file of this size, which no model answers."""
    data = b64encode(number.to_bytes(4, "big") * (size_bytes // 4)).decode()
    content = [{"type": "input_file", "filename": "a", "file_data": data}, {"type": "input_text", "text": "hello"}]
    return {"input": [{"role": "user", "content": content}], "max_tool_calls": 0}


def refusals(http: httpx.Client) -> set[tuple[int, str]]:
    """The answers to everything that stores something."""
    answers = [
        http.post("/v1/responses", json={"input": "hello", "max_tool_calls": 0}),
        http.post("/v1/chat/completions", json={"model": "demo", "messages": [USER]}),
        http.post("/v1/messages", json={"model": "demo", "max_tokens": 9, "messages": [USER]}),
        http.post("/v1/conversations", json={}),
        http.post("/v1/conversations/import", json={}),
        http.post("/v1/containers", json={"name": "x"}),
        http.post("/v1/files", files={"file": ("a", b"a")}, data={"purpose": "user_data"}),
        http.post("/v1/skills", files={"files": ("SKILL.md", b"---\nname: a\ndescription: b\n---\n")}),
    ]
    return {(answer.status_code, answer.json()["error"]["code"]) for answer in answers}


def test_an_owner_who_keeps_too_much_is_refused_by_name_until_it_is_deleted(server: Running) -> None:
    with client(server, key_for(server, "alice", 1)) as http, client(server, "other") as other:
        made = http.post("/v1/responses", json=given(1, 2 * MB)).raise_for_status().json()
        assert refusals(http) == {(413, "storage_quota_exceeded")}
        told = http.post("/v1/conversations", json={}).json()["error"]["message"]
        assert "of 1 MB are stored. Delete conversations" in told
        assert other.post("/v1/conversations", json={}).status_code == 200
        assert http.get(f"/v1/responses/{made['id']}").status_code == 200
        http.delete(f"/v1/conversations/{made['conversation']['id']}").raise_for_status()

        async def maintain(store: Store) -> None:
            tomorrow = datetime.now(UTC) + timedelta(days=1)
            for _ in range(2):  # what nothing uses any more goes by the next call
                await store.purging.purge(before=tomorrow, unused_for=timedelta(days=-1))
            await store.stored.measure()

        in_store(server, maintain)
        assert http.post("/v1/conversations", json={}).status_code == 200


def test_users_of_an_embed_count_for_the_account(server: Running) -> None:
    key = key_for(server, "shop", 1)
    with client(server, key) as backend:
        asked = {"origin": "https://shop.example", "user": "bob"}
        token = backend.post("/v1/embed/sessions", json=asked).raise_for_status().json()["token"]
        with client(server, token) as user:
            user.post("/v1/responses", json=given(2, 2 * MB)).raise_for_status()
            assert user.post("/v1/conversations", json={}).json()["error"]["code"] == "storage_quota_exceeded"
        assert backend.post("/v1/conversations", json={}).json()["error"]["code"] == "storage_quota_exceeded"


def test_what_is_measured_is_what_was_counted(server: Running) -> None:
    with client(server, key_for(server, "carol", 100)) as http:
        for number in range(3):
            http.post("/v1/responses", json=given(10 + number, MB)).raise_for_status()
        http.post("/v1/responses", json=given(10, MB)).raise_for_status()  # the same file again, which is kept once

    async def both(store: Store) -> tuple[int, int]:
        counted = await store.stored.used("carol")
        await store.stored.measure()
        return counted, await store.stored.used("carol")

    counted, measured = in_store(server, both)
    assert 3 * MB < measured < 3.2 * MB
    assert abs(counted - measured) < 0.1 * MB


def test_conversations_and_what_waits_in_them_count(server: Running) -> None:
    item = USER | {"content": "x" * 600_000}
    with client(server, key_for(server, "fay", 1)) as http:
        for _ in range(2):
            http.post("/v1/conversations", json={"items": [item]}).raise_for_status()
        assert refusals(http) == {(413, "storage_quota_exceeded")}

    async def measured(store: Store) -> int:
        await store.stored.measure()
        return await store.stored.used("fay")

    assert 1.1 * MB < in_store(server, measured) < 1.3 * MB


def test_the_output_of_a_running_block_is_cut_at_the_quota_and_user_and_model_are_told(
    server: Running, make_server: Callable[..., Running], model_server: ModelServer
) -> None:
    asking = make_server(
        api_keys="other",
        models="openai/scripted",
        model=None,
        model_api_base=model_server.base_url,
        model_api_key="test",
        data_dir=server.settings.data_dir,
    )
    model_server.reply("<execute>\nfor _ in range(1_000): print('x' * 10_000)\n</execute>")
    model_server.reply("It was too much.")
    with client(asking, key_for(asking, "erin", 1)) as http:
        answer = http.post("/v1/responses", json={"input": "go"}).raise_for_status().json()
        again = http.get(f"/v1/responses/{answer['id']}").raise_for_status().json()
        (call,) = [item for item in again["output"] if item["type"] == "code_interpreter_call"]
        shown = sum(len(output["logs"]) for output in call["outputs"])
        assert 0 < shown < 0.6 * MB
    assert answer["status"] == "completed"
    assert any("stored_mb" in notice["message"] for notice in again["codeact:notices"])
    told = str(model_server.requests[-1].body["messages"][-1])
    assert "Limit reached: stored_mb" in told

    async def both(store: Store) -> tuple[int, int]:
        counted = await store.stored.used("erin")
        await store.stored.measure()
        return counted, await store.stored.used("erin")

    counted, measured = in_store(asking, both)
    assert 0.4 * MB < counted < 1.6 * MB  # It is an estimate until it is measured.
    assert 0.4 * MB < measured < 1.2 * MB


def test_below_the_floor_of_free_disk_nothing_new_is_taken_and_readyz_says_so(
    make_server: Callable[..., Running], tmp_path_factory: pytest.TempPathFactory
) -> None:
    data_dir = tmp_path_factory.mktemp("full")
    server = make_server(api_keys="key", min_free_disk_mb=10**12, data_dir=data_dir, pool_min=0)
    with client(server, "key") as http:
        assert refusals(http) == {(507, "disk_full")}
        assert http.get("/v1/conversations").status_code == 200
    ready = httpx.get(f"{server.url}/readyz", trust_env=False)
    assert (ready.status_code, ready.json()["degraded"]) == (200, ["disk"])
    assert str(data_dir) not in ready.text


def test_files_of_containers_are_refused_by_quota_and_by_the_floor_of_free_disk(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    with client(server, key_for(server, "dora", 1)) as http:
        files = (
            f"/v1/containers/{http.post('/v1/containers', json={'name': 'x'}).raise_for_status().json()['id']}/files"
        )

        def uploaded() -> httpx.Response:
            return http.post(files, files={"file": ("notes.txt", b"notes")})

        first = uploaded().raise_for_status().json()["id"]

        def refused() -> set[tuple[int, str]]:
            answers = [uploaded(), http.post(files, json={"file_id": first})]
            return {(answer.status_code, answer.json()["error"]["code"]) for answer in answers}

        with monkeypatch.context() as patch:
            patch.setattr(server.state.disk, "_floor_mb", 10**12)
            assert refused() == {(507, "disk_full")}
        uploaded().raise_for_status()
        http.post("/v1/responses", json=given(20, 2 * MB)).raise_for_status()
        assert refused() == {(413, "storage_quota_exceeded")}
        assert http.get(f"{files}/{first}/content").content == b"notes"
