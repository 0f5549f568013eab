"""The history over HTTP: real runs with the demo model are listed, found, changed, deleted and restored."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.server.conftest import Running

FIBONACCI = "What is the 100th Fibonacci number?"


@pytest.fixture
def http(demo: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{demo.url}/v1", timeout=60, trust_env=False) as client:
        yield client


def ask(http: httpx.Client, text: str, **more: Any) -> dict[str, Any]:
    return dict(http.post("/responses", json={"input": text, **more}).raise_for_status().json())


def listed(http: httpx.Client, **asked: Any) -> list[str]:
    return [one["id"] for one in http.get("/conversations", params=asked).raise_for_status().json()["data"]]


def test_an_answered_question_is_the_first_of_the_list_and_found_by_its_words(http: httpx.Client) -> None:
    conversation_id = ask(http, f"{FIBONACCI} Quokka.")["conversation"]["id"]
    page = http.get("/conversations", params={"limit": 1}).json()
    assert (page["object"], page["first_id"], page["last_id"]) == ("list", conversation_id, conversation_id)
    summary = page["data"][0]["codeact:summary"]
    assert (summary["title"], summary["status"]) == (f"{FIBONACCI} Quokka.", "completed")
    assert summary["tokens"] > 0
    assert listed(http, query="fibonacci QUOKKA", has_error="false", model="demo") == [conversation_id]
    assert listed(http, query="quokka -fibonacci") == []


def test_pages_go_on_from_the_last_id_or_the_given_place(http: httpx.Client) -> None:
    ids = [ask(http, f"{FIBONACCI} Numbat.")["conversation"]["id"] for _ in range(3)][::-1]
    page = http.get("/conversations", params={"query": "numbat", "limit": 2}).json()
    assert [one["id"] for one in page["data"]] == ids[:2]
    assert page["has_more"] is True
    for after in (page["last_id"], page["codeact:next"]):
        rest = http.get("/conversations", params={"query": "numbat", "after": after}).json()
        assert [one["id"] for one in rest["data"]] == ids[2:]
        assert (rest["has_more"], rest["codeact:next"]) == (False, None)
    assert listed(http, query="numbat", order="asc") == ids[::-1]


def test_a_conversation_is_renamed_pinned_tagged_deleted_and_restored(http: httpx.Client) -> None:
    path = f"/conversations/{ask(http, FIBONACCI)['conversation']['id']}"
    edited = http.patch(path, json={"title": "Bilby", "pinned": True, "tags": ["maths"]}).json()
    assert {"title": "Bilby", "pinned": True, "tags": ["maths"]}.items() <= edited["codeact:summary"].items()
    assert listed(http, query="bilby", pinned=1, tag="maths") == [edited["id"]]
    assert http.delete(path).json() == {"id": edited["id"], "object": "conversation.deleted", "deleted": True}
    assert http.get(path).status_code == 404
    assert listed(http, query="bilby") == []
    assert http.post(f"{path}/restore").json() == edited
    assert listed(http, query="bilby") == [edited["id"]]


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 101}, "limit"),
        ({"order": "up"}, "order"),
        ({"colour": "red"}, "colour"),
        ({"has_error": "perhaps"}, "has_error"),
        ({"since": "yesterday"}, "since"),
        ({"since": "2026-01-01T00:00:00"}, "since"),
        ({"min_tokens": "many"}, "min_tokens"),
        ({"status": "good"}, "status"),
        ({"rating": "5"}, "rating"),
        ({"query": "?"}, "query"),
        ({"query": "x" * 1001}, "query"),
        ({"after": "nonsense"}, "after"),
        ({"tag": ["a", "b"]}, "tag"),
    ],
)
def test_wrong_parameters_are_refused_by_name(http: httpx.Client, asked: dict[str, Any], param: str) -> None:
    answer = http.get("/conversations", params=asked)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


@pytest.mark.parametrize("since", ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00+02:00", "1767225600"])
def test_times_are_unix_seconds_or_iso_8601_with_a_zone(http: httpx.Client, since: str) -> None:
    assert http.get("/conversations", params={"since": since}).status_code == 200


def test_wrong_edits_are_refused_by_name(http: httpx.Client) -> None:
    path = f"/conversations/{http.post('/conversations', json={}).json()['id']}"
    for body, param in (({"title": 1}, "title"), ({"tags": "x"}, "tags"), ({"colour": 1}, "colour")):
        answer = http.patch(path, json=body)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_another_owner_finds_nothing_and_cannot_ask_for_others(
    make_server: Callable[..., Running], tmp_path_factory: pytest.TempPathFactory
) -> None:
    server = make_server(api_keys="one,two", data_dir=tmp_path_factory.mktemp("owners"))
    with httpx.Client(base_url=f"{server.url}/v1", timeout=60, trust_env=False) as http:
        mine, other = ({"Authorization": f"Bearer {key}"} for key in ("one", "two"))
        path = f"/conversations/{http.post('/conversations', json={}, headers=mine).json()['id']}"
        assert http.get("/conversations").status_code == 401
        assert http.get("/conversations", headers=other).json()["data"] == []
        assert http.get("/conversations", params={"owner": "*"}, headers=other).json()["error"]["param"] == "owner"
        for answer in (
            http.patch(path, json={"title": "x"}, headers=other),
            http.delete(path, headers=other),
            http.post(f"{path}/restore", headers=other),
        ):
            assert answer.status_code == 404
        assert len(http.get("/conversations", headers=mine).json()["data"]) == 1


def test_a_search_from_the_first_letters_shows_where_the_words_stand(http: httpx.Client) -> None:
    question = f"{FIBONACCI} Please use the Wallabylib of Straßburg."
    conversation_id = ask(http, question)["conversation"]["id"]
    for typed in ("wallaby*", "w* STRASS*"):
        [found] = http.get("/conversations", params={"query": typed, "excerpts": True, "limit": 1}).json()["data"]
        assert found["id"] == conversation_id
        assert "Wallabylib" in found["codeact:excerpt"] or "Straßburg" in found["codeact:excerpt"]
    [plain] = http.get("/conversations", params={"query": "wallabylib"}).json()["data"]
    assert "codeact:excerpt" not in plain


def test_a_deleted_conversation_is_in_its_owners_bin_until_it_is_removed_for_good(http: httpx.Client) -> None:
    ids = [ask(http, FIBONACCI)["conversation"]["id"] for _ in range(2)]
    for conversation_id in ids:
        http.delete(f"/conversations/{conversation_id}")
    first = http.get("/bin", params={"limit": 1}).json()
    assert ([one["id"] for one in first["data"]], first["has_more"]) == (ids[:0:-1], True)
    assert first["data"][0]["codeact:deleted_at"] > 0
    second = http.get("/bin", params={"limit": 1, "after": first["codeact:next"]}).json()
    assert [one["id"] for one in second["data"]] == ids[:1]
    assert http.delete(f"/bin/{ids[0]}").json()["deleted"] is True
    assert http.delete(f"/bin/{ids[0]}").status_code == 404
    assert http.post(f"/conversations/{ids[0]}/restore").status_code == 404
    assert http.post(f"/conversations/{ids[1]}/restore").status_code == 200
    assert http.delete(f"/bin/{ids[1]}").status_code == 404, "it is not in the bin"
