"""Feedback and shares over HTTP: what owners keep, and exactly what a stranger with a link sees."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.server.conftest import Running

PLOT = "Plot a sine wave."


@pytest.fixture(scope="module")
def server(make_server: Callable[..., Running], tmp_path_factory: pytest.TempPathFactory) -> Running:
    return make_server(api_keys="one,two", data_dir=tmp_path_factory.mktemp("sharing"))


def client(server: Running, key: str | None) -> httpx.Client:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx.Client(base_url=server.url, timeout=60, trust_env=False, headers=headers)


@pytest.fixture(scope="module")
def plotted(server: Running) -> dict[str, Any]:
    with client(server, "one") as mine:
        body = {"input": PLOT, "instructions": "secret instructions"}
        return dict(mine.post("/v1/responses", json=body).raise_for_status().json())


@pytest.fixture
def mine(server: Running) -> Iterator[httpx.Client]:
    with client(server, "one") as http:
        yield http


@pytest.fixture
def stranger(server: Running) -> Iterator[httpx.Client]:
    with client(server, None) as http:
        yield http


def test_feedback_is_kept_changed_found_and_taken_back(mine: httpx.Client, plotted: dict[str, Any]) -> None:
    path = f"/v1/responses/{plotted['id']}/feedback"
    conversation_id = plotted["conversation"]["id"]
    for rating, comment in (("down", "Too small"), ("up", None)):
        answer = mine.post(path, json={"rating": rating, "comment": comment}).raise_for_status().json()
        assert (answer["rating"], answer["comment"]) == (rating, comment)
        listed = mine.get(f"/v1/conversations/{conversation_id}/feedback").json()["data"]
        assert [(one["response_id"], one["rating"]) for one in listed] == [(plotted["id"], rating)]
        found = mine.get("/v1/conversations", params={"rating": rating}).json()["data"]
        assert [one["codeact:summary"]["ratings"] for one in found] == [[rating]]
    assert mine.get("/v1/conversations", params={"rating": "down"}).json()["data"] == []
    mine.post(path, json={"rating": None}).raise_for_status()
    assert mine.get("/v1/conversations", params={"rating": "up"}).json()["data"] == []
    for body, param in (
        ({"rating": "5"}, "rating"),
        ({}, "rating"),
        ({"rating": "up", "comment": "x" * 4001}, "comment"),
    ):
        refused = mine.post(path, json=body)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, param)


def test_a_link_shows_a_stranger_the_conversation_and_nothing_of_its_owner(
    mine: httpx.Client, stranger: httpx.Client, plotted: dict[str, Any]
) -> None:
    path = f"/v1/conversations/{plotted['conversation']['id']}/share"
    share = mine.post(path, json={}).raise_for_status().json()
    assert mine.get(path).json() == share
    answer = stranger.get(share["url"]).raise_for_status()
    shown = answer.json()
    assert (shown["title"], shown["responses"][0]["input"][0]["content"][0]["text"]) == (PLOT, PLOT)
    kinds = [item["type"] for item in shown["responses"][0]["output"]]
    assert "code_interpreter_call" in kinds
    for secret in ("secret instructions", "cntr_", "key-", "observation", "cost_usd"):
        assert secret not in answer.text
    [url] = {*re.findall(r"/v1/shares/[^\"]+/blobs/[0-9a-f]{64}", answer.text)}
    assert stranger.get(url).content.startswith(b"\x89PNG")
    assert "/v1/blobs/" not in answer.text
    assert stranger.get(url.replace(f"/v1/shares/{share['token']}", "/v1")).status_code == 401
    unshown = mine.post("/v1/responses", json={"input": "What is the 100th Fibonacci number?"}).json()
    assert stranger.get(f"/v1/responses/{unshown['id']}").status_code == 401
    assert answer.headers["cache-control"] == "private, no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"


def test_what_comes_later_is_shown_only_when_shared_again(mine: httpx.Client, stranger: httpx.Client) -> None:
    first = mine.post("/v1/responses", json={"input": PLOT}).json()
    path = f"/v1/conversations/{first['conversation']['id']}/share"
    share = mine.post(path, json={}).json()
    second = mine.post("/v1/responses", json={"input": PLOT, "previous_response_id": first["id"]}).json()
    assert [one["id"] for one in stranger.get(share["url"]).json()["responses"]] == [first["id"]]
    assert mine.post(path, json={}).json()["token"] == share["token"]
    assert [one["id"] for one in stranger.get(share["url"]).json()["responses"]] == [first["id"], second["id"]]


def test_a_link_ends_when_it_is_revoked_and_while_its_conversation_is_deleted(
    mine: httpx.Client, stranger: httpx.Client, plotted: dict[str, Any]
) -> None:
    conversation = f"/v1/conversations/{plotted['conversation']['id']}"
    share = mine.post(f"{conversation}/share", json={}).json()
    image = re.search(r"/v1/shares/[^\"]+/blobs/[0-9a-f]{64}", stranger.get(share["url"]).text)
    assert image is not None
    mine.delete(conversation).raise_for_status()
    assert stranger.get(share["url"]).status_code == stranger.get(image[0]).status_code == 404
    mine.post(f"{conversation}/restore").raise_for_status()
    assert stranger.get(share["url"]).status_code == 200
    mine.delete(f"{conversation}/share").raise_for_status()
    assert stranger.get(share["url"]).status_code == stranger.get(image[0]).status_code == 404
    assert mine.get(f"{conversation}/share").status_code == 404
    assert mine.post(f"{conversation}/share", json={}).json()["token"] != share["token"]


def test_only_the_owner_rates_and_shares(server: Running, mine: httpx.Client, plotted: dict[str, Any]) -> None:
    conversation = f"/v1/conversations/{plotted['conversation']['id']}"
    mine.post(f"{conversation}/share", json={}).raise_for_status()
    with client(server, "two") as other:
        for answer in (
            other.post(f"/v1/responses/{plotted['id']}/feedback", json={"rating": "up"}),
            other.get(f"{conversation}/feedback"),
            other.post(f"{conversation}/share", json={}),
            other.get(f"{conversation}/share"),
            other.delete(f"{conversation}/share"),
        ):
            assert answer.status_code == 404
    empty = mine.post("/v1/conversations", json={}).json()["id"]
    assert mine.post(f"/v1/conversations/{empty}/share", json={}).status_code == 400
    assert mine.post(f"{conversation}/share", json={"response_id": "resp_no"}).status_code == 404


def test_sharing_can_be_switched_off(
    make_server: Callable[..., Running], tmp_path_factory: pytest.TempPathFactory
) -> None:
    server = make_server(sharing=False, data_dir=tmp_path_factory.mktemp("unshared"), pool_min=0)
    with client(server, None) as http:
        conversation_id = http.post("/v1/conversations", json={}).json()["id"]
        for answer in (http.post(f"/v1/conversations/{conversation_id}/share", json={}), http.get("/v1/shares/x")):
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "sharing_is_off")
