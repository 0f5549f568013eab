"""Feedback and shares over HTTP: what is stored for owners, and exactly what a stranger with a link sees."""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import anyio
import httpx
import pytest

from codeact.cli.commands.eval import draft
from codeact.store import open_store
from tests.server.conftest import Running, in_thread

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


def test_an_answer_with_a_thumb_down_becomes_the_draft_of_a_task(
    mine: httpx.Client, server: Running, plotted: dict[str, Any], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    path = f"/v1/responses/{plotted['id']}/feedback"

    def drafts() -> list[dict[str, Any]]:
        in_thread(partial(draft, server.settings, (), thumbs_down=True))
        return [json.loads(line) for line in capfdbinary.readouterr().out.splitlines() if line.startswith(b'{"')]

    mine.post(path, json={"rating": "up"}).raise_for_status()
    assert drafts() == []
    mine.post(path, json={"rating": "down", "comment": "Too small"}).raise_for_status()
    (drafted,) = drafts()
    assert (drafted["id"], drafted["prompt"], drafted["check"]) == (plotted["id"], [PLOT], None)
    assert drafted["note"].startswith("Comment: Too small")
    mine.post(path, json={"rating": None}).raise_for_status()


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
    assert "blob:" not in answer.text
    assert stranger.get(url.replace(f"/v1/shares/{share['token']}", "/v1")).status_code == 401
    unshown = mine.post("/v1/responses", json={"input": "What is the 100th Fibonacci number?"}).json()
    assert stranger.get(f"/v1/responses/{unshown['id']}").status_code == 401
    assert answer.headers["cache-control"] == "private, no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"


def data_url(content: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


def test_a_link_hands_out_no_uploaded_file_whatever_points_to_it(mine: httpx.Client, stranger: httpx.Client) -> None:
    files = [b"a,b\n1,2\n", b"secret plans"]
    sums = [hashlib.sha256(content).hexdigest() for content in files]
    stored = mine.post("/v1/conversations", json={}).json()["id"]
    attached = [
        {"type": "input_file", "filename": f"{number}.csv", "file_data": data_url(content, "text/csv")}
        for number, content in enumerate(files)
    ]
    picture = {"type": "input_image", "image_url": data_url(PIXEL, "image/png")}
    disguised = {"type": "input_image", "image_url": f"/v1/blobs/{sums[1]}"}
    text = {"type": "input_text", "text": f'{PLOT} /v1/blobs/{sums[0]} "file_id":"{sums[1]}"'}
    observation = {"type": "input_text", "text": "Observation: ok, 0.1 s\nwhat the model was told"}
    mine.post(
        f"/v1/conversations/{stored}/items",
        json={"items": [{"role": "user", "content": [attached[1]]}]},
    ).raise_for_status()
    said = [*attached, picture, disguised, text, observation]
    body = {"input": [{"role": "user", "content": said}], "conversation": stored, "instructions": "secret instructions"}
    mine.post("/v1/responses", json=body).raise_for_status()
    share = mine.post(f"/v1/conversations/{stored}/share", json={}).raise_for_status().json()
    answer = stranger.get(share["url"]).raise_for_status()
    for sha256 in sums:
        assert stranger.get(f"{share['url']}/blobs/{sha256}").status_code == 404
    for private in (".csv", "input_file", "size_bytes", "what the model was told", "secret instructions"):
        assert private not in answer.text, private
    questions = answer.json()["responses"][0]["input"]
    shown = [part for question in questions for part in question["content"]]
    assert [part["type"] for part in shown] == ["input_image", "input_image", "input_text"]
    assert stranger.get(shown[0]["image_url"]).content == PIXEL
    assert stranger.get(shown[1]["image_url"]).status_code == 404


def test_a_link_that_an_older_version_made_hands_out_no_file_either(
    server: Running, mine: httpx.Client, stranger: httpx.Client
) -> None:
    content = b"an older secret"
    sha256 = hashlib.sha256(content).hexdigest()
    part = {"type": "input_file", "filename": "a.txt", "file_data": data_url(content, "text/plain")}
    text = {"type": "input_text", "text": PLOT}
    made = mine.post("/v1/responses", json={"input": [{"role": "user", "content": [part, text]}]}).json()
    share = mine.post(f"/v1/conversations/{made['conversation']['id']}/share", json={}).json()
    images = re.findall(r"/blobs/([0-9a-f]{64})", stranger.get(share["url"]).text)

    async def age() -> None:
        async with open_store(server.settings) as store:
            shares = store.sharing._shares.get_pymongo_collection()
            aged = {"$unset": {"images": ""}, "$set": {"blobs": [sha256, *images]}}
            await shares.update_one({"_id": share["token"]}, aged)

    in_thread(anyio.run, age)
    assert stranger.get(f"{share['url']}/blobs/{sha256}").status_code == 404
    assert stranger.get(f"{share['url']}/blobs/{images[0]}").content.startswith(b"\x89PNG")


# What stands in a share, by the place where it stands; anything new in an item is private until it is listed here.
PUBLIC_FIELDS = {
    "": {"object", "title", "created_at", "shared_at", "responses"},
    "responses": {"id", "created_at", "status", "error", "input", "output", "certificate"},
    "input": {"type", "role", "content"},
    "output": {"type", "id", "status", "role", "content", "code", "outputs"}
    | {"codeact:notebook_outputs", "codeact:result"},
    "content": {"type", "text", "annotations", "image_url"},
    "outputs": {"type", "logs", "url"},
    "codeact:notebook_outputs": {"output_type", "name", "text", "data", "metadata", "ename", "evalue", "traceback"},
    "codeact:result": {"status", "duration_s", "execution_count", "limit", "error"},
    "certificate": {"result", "verified_at", "version", "blocks", "outputs", "calls", "tolerance", "image"}
    | {"packages", "differences"},
    "differences": {"block", "output", "kind"},
}


def test_a_link_shows_the_fields_of_a_list_and_no_other(
    mine: httpx.Client, stranger: httpx.Client, plotted: dict[str, Any]
) -> None:
    share = mine.post(f"/v1/conversations/{plotted['conversation']['id']}/share", json={}).json()
    mine.post(f"/v1/responses/{plotted['id']}/codeact:verify").raise_for_status()

    def walk(value: Any, place: str) -> None:
        if isinstance(value, list):
            for one in value:
                walk(one, place)
        elif isinstance(value, dict) and place in PUBLIC_FIELDS:
            assert value.keys() <= PUBLIC_FIELDS[place], place
            for name, inner in value.items():
                walk(inner, name)

    walk(stranger.get(share["url"]).json(), "")


@pytest.mark.parametrize(
    ("media_type", "content", "served"),
    [
        ("text/html", b"<script>alert(1)</script>", "text/plain; charset=utf-8"),
        ("image/svg+xml", b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", "image/svg+xml"),
        ("application/xhtml+xml", b"<html xmlns='http://www.w3.org/1999/xhtml'/>", "application/octet-stream"),
        ("image/png", b"<script>alert(2)</script>", "application/octet-stream"),
        ("text/xml", b"<a/>", "text/plain; charset=utf-8"),
        ("text/plain", PIXEL, "image/png"),
    ],
)
def test_a_blob_is_saved_and_never_a_page_of_ours(
    mine: httpx.Client, media_type: str, content: bytes, served: str
) -> None:
    part = {"type": "input_file", "filename": "a", "file_data": data_url(content, media_type)}
    mine.post("/v1/conversations", json={"items": [{"role": "user", "content": [part]}]}).raise_for_status()
    answer = mine.get(f"/v1/blobs/{hashlib.sha256(content).hexdigest()}").raise_for_status()
    assert answer.headers["content-type"] == served
    assert answer.headers["content-disposition"] == "attachment"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"].startswith("sandbox; default-src 'none'")


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
