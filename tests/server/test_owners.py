"""Another owner's id is answered exactly like one that does not exist, on every route and on the socket."""

import json
import re
from collections.abc import Callable, Container
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from codeact.server.auth.embed import ROUTES
from tests.server.conftest import Running
from tests.server.test_auth import client

SHOP = "https://shop.example"
OF_PEOPLE = {"browser_session_id": "sess_x", "key_id": "key_x", "owner": "person_x"}
"""What only those who sign in have; `test_login.py` has two of them."""
SKILL = b"---\nname: greeting\ndescription: How to greet.\n---\n"
QUESTION = "What is the 100th Fibonacci number?"
BODIES: dict[str, Any] = {
    "POST /v1/conversations/{conversation_id}": {"metadata": {"a": "b"}},
    "PATCH /v1/conversations/{conversation_id}": {"title": "Mine now"},
    "PATCH /v1/people/{owner}": {"role": "admin"},
    "POST /v1/conversations/{conversation_id}/items": {"items": [{"role": "user", "content": "hi"}]},
    "POST /v1/responses/{response_id}/feedback": {"rating": "up"},
    "POST /v1/uploads/{pending_id}/complete": {"part_ids": ["part_1"]},
    "POST /v1/skills/{skill_id}": {"default_version": "1"},
}
"""The values that a request needs to reach the lookup of its id."""


@pytest.fixture(scope="module")
def keyed(make_server: Callable[..., Running]) -> Running:
    return make_server(api_keys="key-a,key-b", embed_origins=SHOP)


@pytest.fixture(scope="module")
def ids(keyed: Running) -> dict[str, str]:
    """An id of each kind, all of one owner."""
    return (
        made_by(keyed, "key-a", "Plot a sine wave")
        | {"session_id": embed_session(keyed, "key-a", "carol")["id"]}
        | OF_PEOPLE
    )


@pytest.fixture(scope="module")
def tokens(keyed: Running) -> dict[str, str]:
    """Tokens of two users of the first key's embed."""
    return {user: embed_session(keyed, "key-a", user)["token"] for user in ("alice", "bob")}


@pytest.fixture(scope="module")
def ids_of_alice(keyed: Running, tokens: dict[str, str]) -> dict[str, str]:
    """An id of each kind, all of one user of the embed, except for the session, which another key made."""
    session = embed_session(keyed, "key-b", "alice")
    return made_by(keyed, tokens["alice"], "Plot a histogram") | {"session_id": session["id"]} | OF_PEOPLE


def embed_session(server: Running, key: str, user: str) -> dict[str, str]:
    with client(server, key) as http:
        made: dict[str, str] = http.post("/v1/embed/sessions", json={"origin": SHOP, "user": user}).json()
    return made


def made_by(server: Running, key: str, question: str) -> dict[str, str]:
    with client(server, key) as http:
        made = http.post("/v1/responses", json={"input": question}).json()
        block = next(item for item in made["output"] if item["type"] == "code_interpreter_call")
        image = next(output["url"] for output in block["outputs"] if output["type"] == "image")
        files = {"file": ("notes.txt", b"secret notes")}
        uploaded = http.post(f"/v1/containers/{block['container_id']}/files", files=files)
        assert uploaded.status_code == 200, uploaded.text
        upload = http.post("/v1/files", files=files, data={"purpose": "user_data"}).json()
        # Users of an embed have no skills.
        skill = http.post("/v1/skills", files={"files": ("SKILL.md", SKILL)}).json()
        asked = http.post("/v1/responses", json={"input": QUESTION, "codeact:approval": "code"}).json()
        waits = next(item for item in asked["output"] if item["type"] == "codeact:approval_request")
        # Users of an embed have no profiles.
        profile = http.post("/v1/profiles", json={"name": "Analyst", "instructions": "secret"}).json()
        announced = {"filename": "a.txt", "bytes": 3, "mime_type": "text/plain", "purpose": "user_data"}
        pending = http.post("/v1/uploads", json=announced).json()
    return {
        "response_id": made["id"],
        "conversation_id": made["conversation"]["id"],
        "item_id": made["output"][0]["id"],
        "container_id": block["container_id"],
        "file_id": uploaded.json()["id"],
        "upload_id": upload["id"],
        "approval_id": waits["id"],
        "pending_id": pending["id"],
        "sha256": image.rpartition("/")[2],
        "skill_id": skill.get("id", f"skill_{'0' * 44}"),
        "version": "1",
        "profile_id": profile.get("id", f"profile_{'0' * 44}"),
    }


def missing(identifier: str) -> str:
    """An id of the same form that does not exist."""
    return re.sub(r"[0-9a-f]{12}$", "0123456789ab", identifier)


def routes(server: Running) -> list[tuple[str, str]]:
    """Every method and path with an id. Shares and shared profiles are found by secrets of their own."""
    found = {
        (method, route.path)
        for route in server.app.routes
        for method in getattr(route, "methods", None) or ()
        if "{" in route.path and route.path.startswith("/v1/") and method != "HEAD"
    }
    return sorted((m, p) for m, p in found if not p.startswith(("/v1/shares/", "/v1/shared-profiles/", "/v1/models/")))


def answer(http: httpx.Client, method: str, path: str, ids: dict[str, str]) -> tuple[int, str]:
    """Status and body, without the ids."""
    options: dict[str, Any] = {"json": BODIES.get(f"{method} {path}", {})} if method in ("POST", "PATCH") else {}
    if (method, path) == ("POST", "/v1/containers/{container_id}/files"):
        options = {"files": {"file": ("x.txt", b"x")}}
    elif (method, path) == ("POST", "/v1/uploads/{pending_id}/parts"):
        options = {"files": {"data": b"x"}}
    if (method, path) == ("POST", "/v1/skills/{skill_id}/versions"):
        options = {"files": {"files": ("SKILL.md", SKILL)}}
    got = http.request(method, path.format(**ids), **options)
    text = got.text
    for name, identifier in ids.items():
        text = text.replace(identifier, name) if name != "version" else text
    return got.status_code, text


def test_on_every_route_a_foreign_id_is_like_none(keyed: Running, ids: dict[str, str]) -> None:
    walked = routes(keyed)
    assert {name for _, path in walked for name in re.findall(r"{(\w+)}", path)} <= set(ids)
    assert walk(keyed, "key-b", ids) == {404}


def test_what_the_backend_has_is_like_nothing_for_a_user_of_its_embed(
    keyed: Running, ids: dict[str, str], tokens: dict[str, str]
) -> None:
    assert walk(keyed, tokens["alice"], ids, reached=ROUTES) == {404}


def test_what_a_user_of_an_embed_has_is_like_nothing_for_another_and_for_the_backend(
    keyed: Running, ids_of_alice: dict[str, str], tokens: dict[str, str]
) -> None:
    assert walk(keyed, tokens["bob"], ids_of_alice, reached=ROUTES) == {404}
    assert walk(keyed, "key-a", ids_of_alice) == {404}
    with client(keyed, tokens["alice"]) as mine:
        for method, path in routes(keyed):
            if f"{method} {path}" in ROUTES and method == "GET":
                assert answer(mine, method, path, ids_of_alice)[0] == 200, path


def walk(server: Running, key: str, ids: dict[str, str], *, reached: Container[str] | None = None) -> set[int]:
    """The statuses on every route that the key may use. Each must be that of an id that does not exist."""
    gone = {name: missing(identifier) for name, identifier in ids.items()}
    statuses: set[int] = set()
    with client(server, key) as theirs:
        for method, path in routes(server):
            foreign = answer(theirs, method, path, ids)
            assert foreign == answer(theirs, method, path, gone), (method, path)
            if reached is None or f"{method} {path}" in reached:
                statuses.add(foreign[0])
            else:
                assert foreign[0] == 403, (method, path, foreign)
    return statuses


def test_the_owner_still_has_everything_after_that(keyed: Running, ids: dict[str, str]) -> None:
    with client(keyed, "key-a") as mine:
        for method, path in routes(keyed):
            # Nothing is shared or verified here, and no checkpoints are taken: `test_state.py` reads the owner's.
            if method == "GET" and not path.endswith(("/share", "/codeact:verify", "/state")):
                assert answer(mine, method, path, ids)[0] == 200, path


@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.create", "input": "x", "previous_response_id": "{response_id}"},
        {"type": "response.create", "input": "x", "conversation": "{conversation_id}"},
        {"type": "response.create", "input": [{"type": "item_reference", "id": "{item_id}"}]},
        {
            "type": "response.create",
            "input": [{"role": "user", "content": [{"type": "input_image", "file_id": "{sha256}"}]}],
        },
        {"type": "response.cancel", "response_id": "{response_id}"},
        {"type": "codeact:response.resume", "response_id": "{response_id}"},
        {"type": "response.steer", "previous_response_id": "{response_id}", "input": "x"},
    ],
)
def test_on_the_socket_too(keyed: Running, ids: dict[str, str], event: dict[str, Any]) -> None:
    def asked(known: dict[str, str]) -> str:
        text = json.dumps(event)
        for name, identifier in known.items():
            text = text.replace(f"{{{name}}}", identifier)
        socket.send(text)
        reply = str(socket.recv(timeout=60))
        for name, identifier in known.items():
            reply = reply.replace(identifier, name)
        return reply

    with connect(keyed.ws_url, additional_headers={"Authorization": "Bearer key-b"}) as socket:
        foreign = asked(ids)
        assert foreign == asked({name: missing(identifier) for name, identifier in ids.items()})
    refusal = json.loads(foreign)
    assert (refusal["type"], refusal.get("status")) in [("error", 404), ("response.steer.failed", None)]


@pytest.mark.parametrize(
    "body",
    [
        {"input": "x", "previous_response_id": "{response_id}"},
        {"input": "x", "conversation": "{conversation_id}"},
        {"input": [{"type": "item_reference", "id": "{item_id}"}]},
        {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "{sha256}"}]}]},
    ],
)
def test_nothing_of_others_is_counted(keyed: Running, ids: dict[str, str], body: dict[str, Any]) -> None:
    text = json.dumps(body)
    for name, identifier in ids.items():
        text = text.replace(f"{{{name}}}", identifier)
    with client(keyed, "key-b") as theirs:
        answered = theirs.post("/v1/responses/input_tokens", content=text)
    assert answered.status_code == 404, answered.text
    with client(keyed, "key-a") as mine:
        assert mine.post("/v1/responses/input_tokens", content=text).json()["input_tokens"] > 0
