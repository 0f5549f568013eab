"""Profiles: saved, asked with, bounded, and copied by another person who has the link."""

from collections.abc import Iterator
from typing import Any, get_args, get_type_hints

import anyio
import httpx
import pytest

from codeact.client import connect
from codeact.errors import RequestRefused
from codeact.events import ReasoningConfig, TerminalEvent
from codeact.http_client import find_profile
from codeact.server.documents import WHOLE_BYTES
from codeact.server.requests.profiles import Effort
from codeact.store.repositories import profiles
from tests.model_server import ModelServer
from tests.server.conftest import Running, in_thread, running, settings_of
from tests.server.test_audit_log import entries
from tests.server.test_chat_command import KEY, command
from tests.server.test_storage_quota import client, in_store, key_for

SERVER = {"type": "mcp", "server_label": "wiki", "server_url": "https://wiki.example/mcp", "require_approval": "never"}
ANALYST = {
    "name": " Sales   analyst ",
    "description": "Reads our sales.",
    "instructions": "Answer in rhymes.",
    "model": "openai/other",
    "effort": "high",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, model_server: ModelServer) -> Iterator[Running]:
    settings = settings_of(
        tmp_path_factory.mktemp("profiles"),
        models="openai/scripted,openai/other",
        model=None,
        model_api_base=model_server.base_url,
        model_api_key="test",
        api_keys=(KEY,),
    )
    with running(settings) as server:
        yield server


@pytest.fixture
def mine(server: Running) -> Iterator[httpx.Client]:
    with client(server, KEY) as http:
        yield http
        for one in http.get("/v1/profiles").json()["data"]:
            http.delete(f"/v1/profiles/{one['id']}").raise_for_status()


@pytest.fixture
def theirs(server: Running, request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    """Another person of the server, new for each test."""
    with client(server, key_for(server, request.node.name, 10)) as http:
        yield http


def upload(http: httpx.Client, name: str, content: bytes) -> str:
    given = {"file": (name, content)}
    fields = {"purpose": "user_data", "expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}
    return str(http.post("/v1/files", files=given, data=fields).raise_for_status().json()["id"])


def saved(http: httpx.Client, **fields: Any) -> dict[str, Any]:
    return dict(http.post("/v1/profiles", json=ANALYST | fields).raise_for_status().json())


def content(http: httpx.Client, file: dict[str, Any]) -> bytes:
    return http.get(f"/v1/files/{file['id']}/content").raise_for_status().content


def test_a_profile_may_have_each_effort_that_a_request_may_have() -> None:
    asked = get_args(get_type_hints(ReasoningConfig)["effort"])[0]
    assert set(get_args(asked)) == set(get_args(Effort)) - {""}


def test_a_profile_is_saved_changed_and_deleted_with_files_of_its_own(mine: httpx.Client) -> None:
    sent = upload(mine, "sales.csv", b"1,2")
    made = saved(mine, file_ids=[sent, sent], tools=[SERVER])
    assert (made["name"], made["effort"], made["share"]) == ("Sales analyst", "high", None)
    assert [(file["filename"], file["bytes"]) for file in made["files"]] == [("sales.csv", 3)]
    kept = made["files"][0]["id"]
    assert made["request"] == {
        "model": "openai/other",
        "instructions": "Answer in rhymes.",
        "reasoning": {"effort": "high"},
        "tools": [{"type": "code_interpreter", "container": {"type": "auto", "file_ids": [kept]}}, SERVER],
    }
    mine.delete(f"/v1/files/{sent}").raise_for_status()
    place = f"/v1/profiles/{made['id']}"
    assert content(mine, mine.get(place).json()["files"][0]) == b"1,2"
    assert mine.get(f"/v1/files/{kept}").json()["expires_at"] is None
    again = mine.post("/v1/profiles", json={"name": "Sales analyst"})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "profile_exists")
    more = upload(mine, "more.csv", b"3")
    changed = mine.patch(place, json={"description": "New.", "file_ids": [more, kept]}).raise_for_status().json()
    assert (changed["description"], changed["instructions"]) == ("New.", "Answer in rhymes.")
    assert [file["filename"] for file in changed["files"]] == ["more.csv", "sales.csv"]
    assert mine.patch(place, json={"file_ids": []}).json()["files"] == []
    assert mine.get(f"/v1/files/{kept}").status_code == 404
    assert [one["id"] for one in mine.get("/v1/profiles").json()["data"]] == [made["id"]]
    mine.delete(place).raise_for_status()
    assert mine.get(place).status_code == 404


def test_another_person_reads_and_copies_a_shared_profile_and_nothing_else(
    mine: httpx.Client, theirs: httpx.Client, server: Running
) -> None:
    made = saved(mine, file_ids=[upload(mine, "sales.csv", b"1,2")], tools=[SERVER])
    place = f"/v1/profiles/{made['id']}"
    assert theirs.get(place).status_code == 404
    token = mine.post(f"{place}/share", json={}).raise_for_status().json()["share"]["token"]
    shown = theirs.get(f"/v1/shared-profiles/{token}").raise_for_status().json()
    assert shown == {
        "object": "codeact:shared_profile",
        "name": "Sales analyst",
        "description": "Reads our sales.",
        "instructions": "Answer in rhymes.",
        "model": "openai/other",
        "effort": "high",
        "tools": [{"server_label": "wiki", "server_url": "https://wiki.example/mcp", "server_description": ""}],
        "files": [{"filename": "sales.csv", "bytes": 3}],
        "gives_files": False,
    }
    assert httpx.get(f"{server.url}/v1/shared-profiles/{token}", trust_env=False).status_code == 401
    bare = theirs.post(f"/v1/shared-profiles/{token}/copy").raise_for_status().json()
    assert (bare["name"], bare["files"], bare["share"]) == ("Sales analyst", [], None)
    shared = mine.post(f"{place}/share", json={"files": True}).json()["share"]
    assert shared == {"token": token, "files": True}
    full = theirs.post(f"/v1/shared-profiles/{token}/copy").raise_for_status().json()
    asking = {name: value for name, value in SERVER.items() if name != "require_approval"}
    assert (full["name"], full["tools"], full["request"]["tools"][1:]) == ("Sales analyst (2)", [asking], [asking])
    mine.delete(f"{place}/share").raise_for_status()
    for answer in (theirs.get(f"/v1/shared-profiles/{token}"), theirs.post(f"/v1/shared-profiles/{token}/copy")):
        assert (answer.status_code, answer.json()["error"]["param"]) == (404, "token")
    mine.delete(place).raise_for_status()
    assert content(theirs, full["files"][0]) == b"1,2"
    copies = entries(server, theirs.headers["Authorization"].split()[1], 2, action="profile.copy")
    assert {(entry["subject"], entry["status"]) for entry in copies} == {(made["id"], 200)}
    [reading] = entries(server, KEY, action="profile.read", subject=made["id"])
    assert token not in str([reading, *copies])


def test_the_model_is_asked_with_the_profile_and_its_files(
    mine: httpx.Client, server: Running, model_server: ModelServer
) -> None:
    model_server.reset()
    saved(mine, file_ids=[upload(mine, "sales.csv", b"1,2")])

    async def ask() -> Any:
        fields = await find_profile(server.url, KEY, "Sales analyst")
        async with connect(server.url, KEY) as connection:
            return [event async for event in connection.create("How many?", **fields)][-1]

    model_server.reply("<execute>\nprint(open('sales.csv').read())\n</execute>")
    model_server.reply("Two.")
    ended = in_thread(anyio.run, ask)
    assert isinstance(ended, TerminalEvent)
    assert ended.response.output[0].outputs[0].logs == "1,2\n"
    asked = model_server.requests[0].body
    assert (asked["model"], asked["reasoning_effort"]) == ("other", "high")
    assert "Answer in rhymes." in str(asked["messages"])
    model_server.reply("Three.")
    command(server, "chat", "--profile", "Sales analyst", "--instructions", "In prose.", stdin="Again?\n")
    asked = model_server.requests[-1].body
    assert (asked["model"], "In prose." in str(asked["messages"])) == ("other", True)
    assert "rhymes" not in str(asked["messages"])
    with pytest.raises(RequestRefused, match="no profile named 'None of these'"):
        in_thread(anyio.run, find_profile, server.url, KEY, "None of these")


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"name": " \t "}, "name", "letters"),
        ({"name": "a\x00b"}, "name", "control"),
        ({"name": "x" * 101}, "name", "100"),
        ({"colour": "red"}, "colour", "colour"),
        ({"instructions": "x" * 20_001}, "instructions", "20000"),
        ({"tools": [SERVER | {"authorization": "Bearer sk"}]}, "tools[0].authorization", "no keys"),
        ({"tools": [SERVER | {"headers": {"X-Key": "sk"}}]}, "tools[0].headers", "no keys"),
        ({"tools": [SERVER | {"server_url": "https://wiki.example/mcp?key=sk"}]}, "tools[0].server_url", "no keys"),
        ({"tools": [SERVER | {"server_url": "https://a:b@wiki.example/"}]}, "tools[0].server_url", "password"),
        ({"tools": [SERVER | {"server_url": "https://127.0.0.1/"}]}, "tools[0].server_url", "private"),
        ({"tools": [{"type": "code_interpreter"}]}, "tools[0].type", "code_interpreter"),
        ({"tools": [SERVER] * 2}, "tools[1].server_label", "wiki"),
        (
            {"tools": [SERVER | {"allowed_tools": ["x" * 100] * 256, "server_label": f"w{n}"} for n in range(8)]},
            "tools",
            "50,000",
        ),
        ({"file_ids": ["file-none"]}, "file_id", "file-none"),
        ({"file_ids": ["x"] * 21}, "file_ids", "20"),
    ],
)
def test_what_a_profile_cannot_hold_is_refused_by_name(
    mine: httpx.Client, fields: dict[str, Any], param: str, words: str
) -> None:
    answer = mine.post("/v1/profiles", json=ANALYST | fields)
    error = answer.json()["error"]
    assert (answer.status_code in (400, 404), error["param"]) == (True, param), error
    assert words in error["message"]
    assert mine.get("/v1/profiles").json()["data"] == []


def test_a_long_list_is_sent_in_pieces(mine: httpx.Client) -> None:
    servers = [SERVER | {"server_label": f"w{n}", "allowed_tools": ["x" * 100] * 50} for n in range(8)]
    names = {saved(mine, name=f"Large {number}", tools=servers)["name"] for number in range(WHOLE_BYTES // 80_000 + 1)}
    answer = mine.get("/v1/profiles")
    assert {one["name"] for one in answer.json()["data"]} == names
    assert "content-length" not in answer.headers


def test_profiles_are_bounded_in_number_and_by_the_owner_s_bytes(
    theirs: httpx.Client, server: Running, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def used() -> int:
        return int(in_store(server, lambda store: store.stored.used(request.node.name)))

    made = [saved(theirs, name=f"Profile {number}") for number in range(3)]
    assert len(theirs.get("/v1/profiles", params={"limit": 2}).json()["data"]) == 2
    assert used() > 3 * len(ANALYST["instructions"])
    in_store(server, lambda store: store.stored.measure())
    assert used() > 3 * len(ANALYST["instructions"])
    monkeypatch.setattr(profiles, "MOST_PROFILES", 3)
    refused = theirs.post("/v1/profiles", json=ANALYST)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "too_many_profiles")
    full = in_store(server, lambda store: store.stored.add(request.node.name, 11_000_000))
    assert full
    refused = theirs.patch(f"/v1/profiles/{made[0]['id']}", json={"name": "More"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (413, "storage_quota_exceeded")
    for one in made:
        theirs.delete(f"/v1/profiles/{one['id']}").raise_for_status()
