"""Embed tokens: who gets one, for what and how long; with a real server and a real database."""

import json
import logging
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog
from starlette.routing import Route
from websockets import Subprotocol
from websockets.sync.client import connect

from codeact.login_settings import SESSION_COOKIE
from codeact.server.auth.embed import ROUTES
from codeact.store import OwnerLimits, Store
from tests.asking import frame
from tests.server.conftest import Running
from tests.server.embed.tokens import (
    FIBONACCI,
    OTHER,
    SESSIONS,
    SHOP,
    Ask,
    answered,
    client,
    closed_with,
    events,
    make,
    socket,
    token_of,
)

# ---- making one ----------------------------------------------------------------------------------------


def test_a_key_makes_a_token_for_a_user_of_its_owner_on_one_origin(server: Running) -> None:
    before = datetime.now(UTC).timestamp()
    made = make(server, "key-a", expires_in_s=120).json()
    assert made["object"] == "codeact:embed.session"
    assert made["id"].startswith("emb_")
    assert made["token"].startswith("codeact_embed_")
    assert before + 119 <= made["expires_at"] <= before + 180
    assert made["owner"].endswith("/alice")
    assert (made["origin"], made["anonymous"]) == (SHOP, False)
    with client(server, made["token"]) as panel:
        told = panel.get("/v1/embed/session").json()
    assert 60 < told.pop("expires_in_s") <= made.pop("expires_in_s")
    assert told == {name: value for name, value in made.items() if name != "token"}


@pytest.mark.parametrize(
    ("body", "param", "said"),
    [
        ({"origin": "https://evil.example"}, "origin", "CODEACT_EMBED_ORIGINS"),
        ({"origin": f"{SHOP}/"}, "origin", "CODEACT_EMBED_ORIGINS"),
        ({"origin": 5}, "origin", "origin"),
        ({"user": None}, "user", "'user' is missing"),
        ({"user": ""}, "user", ">= 1"),
        ({"user": " "}, "user", "printable"),
        ({"user": "a\nb"}, "user", "printable"),
        ({"user": "x" * 129}, "user", "128"),
        ({"expires_in_s": 59}, "expires_in_s", ">= 60"),
        ({"expires_in_s": 3601}, "expires_in_s", "<= 3600"),
        ({"limits": {"tokens_per_day": 0}}, "limits.tokens_per_day", ">= 1"),
        ({"limits": {"tokens": 5}}, "limits.tokens", "tokens"),
        ({"metadata": {}}, "metadata", "Unknown parameter"),
        ({"operator": True}, "operator", "Unknown parameter"),
    ],
)
def test_what_cannot_be_is_refused_by_name(server: Running, body: dict[str, Any], param: str, said: str) -> None:
    refused = make(server, "key-a", **body)
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == param
    assert said in refused.json()["error"]["message"]


def test_limits_above_the_keys_own_are_refused_and_lower_ones_hold(
    server: Running, key_for: Callable[..., tuple[str, str]]
) -> None:
    _, key = key_for("limited", tokens_per_day=1000, responses_per_minute=50)
    refused = make(server, key, limits={"tokens_per_day": 1001})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "limits.tokens_per_day")
    assert "the key's own limit is 1000" in refused.json()["error"]["message"]
    with client(server, token_of(server, key, limits={"tokens_per_day": 1000, "concurrent_responses": 3})) as panel:
        assert panel.get("/v1/embed/session").status_code == 200
    with client(server, token_of(server, key, user="bob", limits={"tokens_per_day": 10})) as panel:
        assert panel.post("/v1/responses", json={"input": FIBONACCI}).status_code == 200
        assert panel.post("/v1/responses", json={"input": FIBONACCI}).json()["error"]["code"] == "insufficient_quota"


@pytest.mark.parametrize(
    ("limit", "code"),
    [("responses_per_minute", "rate_limit_exceeded"), ("concurrent_responses", "concurrent_responses_exceeded")],
)
def test_each_limit_of_a_session_is_enforced(server: Running, limit: str, code: str) -> None:
    with socket(server, token_of(server, user=f"limited by {limit}", limits={limit: 1})) as opened:
        for _ in range(3):  # the clock may begin another minute between them
            opened.send(frame({"type": "response.create", "input": FIBONACCI}))
        refused = next(event for event in events(opened) if event["type"] == "error")
    assert (refused["status"], refused["error"]["code"]) == (429, code)


def test_concurrent_responses_of_users_count_for_the_keys_owner_too(
    server: Running, key_for: Callable[..., tuple[str, str]]
) -> None:
    _, key = key_for("busy", concurrent_responses=1)
    with socket(server, token_of(server, key, user="one")) as one, client(server, key) as backend:
        one.send(frame({"type": "response.create", "input": "Count to 10, live"}))
        assert next(events(one))["type"] == "response.created"
        refused = backend.post("/v1/responses", json={"input": FIBONACCI})
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "concurrent_responses_exceeded")


def test_an_operator_finds_the_conversations_of_a_user_by_the_longest_name(
    server: Running, key_for: Callable[..., tuple[str, str]]
) -> None:
    _, key = key_for("k" * 128)
    _, operator = key_for("root", operator=True)
    made = make(server, key, user="u" * 128).json()
    with client(server, made["token"]) as panel, client(server, operator) as http:
        conversation = panel.post("/v1/conversations", json={}).json()["id"]
        found = http.get("/v1/conversations", params={"owner": made["owner"]}).json()
    assert [each["id"] for each in found["data"]] == [conversation]


def test_what_users_use_counts_for_the_keys_owner_too(server: Running, key_for: Callable[..., tuple[str, str]]) -> None:
    _, key = key_for("together", tokens_per_day=10)
    with client(server, token_of(server, key, user="one")) as one:
        assert one.post("/v1/responses", json={"input": FIBONACCI}).status_code == 200
    for secret in (token_of(server, key, user="two"), key):
        with client(server, secret) as other:
            refused = other.post("/v1/responses", json={"input": FIBONACCI})
            assert (refused.status_code, refused.json()["error"]["code"]) == (429, "insufficient_quota")


def test_no_two_pairs_of_key_and_user_share_what_is_theirs(
    server: Running, key_for: Callable[..., tuple[str, str]]
) -> None:
    _, operator = key_for("root", operator=True)
    owner = make(server, "key-a", user="alice").json()["owner"]
    with client(server, operator, **{"Codeact-Owner": owner}) as acting:
        refused = acting.post(SESSIONS, json={"origin": SHOP, "user": "bob"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "embed_forbidden")
    assert make(server, "key-b", user="alice").json()["owner"] != owner


@pytest.mark.parametrize("name", ["anonymous", "a/b", ""])
def test_no_key_is_made_for_an_owner_whose_users_could_be_others(
    key_for: Callable[..., tuple[str, str]], name: str
) -> None:
    with pytest.raises(Exception, match="owner"):
        key_for(name)


def test_neither_a_stranger_nor_a_cookie_nor_an_embed_token_makes_tokens(server: Running) -> None:
    assert make(server, None).status_code == 401
    assert make(server, "key-c").status_code == 401
    refused = make(server, token_of(server))
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "embed_forbidden")
    with client(server) as browser:
        assert browser.post("/v1/session", json={"api_key": "key-a"}).status_code == 200
        refused = browser.post(SESSIONS, json={"origin": SHOP, "user": "alice"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "key_needed")
        refused = browser.post("/v1/session", json={"api_key": token_of(server)})
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "embed_forbidden")


def test_without_keys_a_backend_on_loopback_needs_none(make_server: Callable[..., Running]) -> None:
    local = make_server(embed_origins=SHOP)
    assert make(local, None).json()["owner"] == "local/alice"


# ---- what it is for ------------------------------------------------------------------------------------


def route_names(server: Running) -> set[str]:
    return {
        f"{method} {route.path}"
        for route in server.app.routes
        if isinstance(route, Route) and route.path.startswith("/v1/")
        for method in route.methods or ()
        if method != "HEAD"
    }


def test_a_token_reaches_the_routes_of_its_list_and_no_other(server: Running) -> None:
    known = route_names(server)
    assert ROUTES - {"WEBSOCKET /v1/responses"} <= known
    public = {name for name in known if "/v1/shares/" in name or "/v1/session" in name}
    with client(server, token_of(server)) as panel:
        for name in sorted(known - public):
            method, _, path = name.partition(" ")
            body = {"json": {}} if method in ("POST", "PATCH") else {}
            got = panel.request(method, path.replace("{", "").replace("}", ""), **body)
            refused = got.status_code == 403 and got.json()["error"]["code"] == "embed_forbidden"
            assert refused == (name not in ROUTES), (name, got.text)


def test_a_route_that_is_shadowed_by_another_is_judged_by_the_one_that_answers(server: Running) -> None:
    with client(server, token_of(server)) as panel:
        assert "POST /v1/conversations/{conversation_id}" in ROUTES
        assert panel.post("/v1/conversations/import", json={}).status_code == 403


def test_an_embeds_user_is_told_nothing_of_the_server_behind(server: Running) -> None:
    with client(server, token_of(server)) as panel, client(server, "key-a") as owner:
        told, whole = panel.get("/v1/status").json(), owner.get("/v1/status").json()
    assert (told["store"], told["pool"], told["sandbox"]["missing"]) == ("a database", None, [])
    assert str(server.settings.data_dir) in whole["store"]
    assert told["model"] == whole["model"]


def test_a_user_sees_neither_another_users_things_nor_the_backends(server: Running) -> None:
    tokens = {name: token_of(server, user=name) for name in ("ann", "ben")}
    tokens["backend"] = "key-a"
    made = {}
    for name, token in tokens.items():
        with client(server, token) as http:
            response = http.post("/v1/responses", json={"input": "Plot a sine wave"}).json()
            block = next(item for item in response["output"] if item["type"] == "code_interpreter_call")
            image = next(output["url"] for output in block["outputs"] if output["type"] == "image")
            conversation = response["conversation"]["id"]
            made[name] = [
                f"/v1/responses/{response['id']}",
                f"/v1/conversations/{conversation}",
                f"/v1/conversations/{conversation}/items",
                f"/v1/conversations/{conversation}/export?format=json",
                f"/v1/containers/{block['container_id']}",
                f"/v1/containers/{block['container_id']}/files",
            ]
            # The same picture is every owner's who made it.
            assert http.get(image).status_code == 200
    for name, token in tokens.items():
        with client(server, token) as http:
            for owner, paths in made.items():
                assert {http.get(path).status_code for path in paths} == {200 if owner == name else 404}, (name, owner)
            listed = http.get("/v1/conversations?limit=100").json()["data"]
            assert made[name][1].rpartition("/")[2] in {each["id"] for each in listed}
            for foreign in made.keys() - {name}:
                assert made[foreign][1].rpartition("/")[2] not in {each["id"] for each in listed}
    with client(server, tokens["ann"]) as http:
        acting = http.get("/v1/conversations", headers={"Codeact-Owner": "local"})
        assert (acting.status_code, acting.json()["error"]["code"]) == (403, "operators_only")


def test_another_session_of_the_same_user_goes_on_with_their_conversation(server: Running) -> None:
    with client(server, token_of(server, user="cid")) as first, client(server, token_of(server, user="cid")) as second:
        made = first.post("/v1/responses", json={"input": FIBONACCI}).json()
        further = second.post("/v1/responses", json={"input": FIBONACCI, "previous_response_id": made["id"]})
    assert further.json()["conversation"] == made["conversation"]


# ---- from where ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", [SHOP, "https://friend.example", "https://evil.example", "null"])
def test_a_token_works_from_no_page_but_ours(server: Running, origin: str) -> None:
    token = token_of(server)
    with client(server, token, Origin=origin) as http:
        assert http.get("/v1/models").status_code == 403
        assert http.post("/v1/responses", json={"input": "x"}).status_code == 403
    with connect(
        server.ws_url,
        origin=origin,  # type: ignore[arg-type]
        subprotocols=[Subprotocol("codeact"), Subprotocol(f"codeact-key.{token}")],
    ) as opened:
        assert closed_with(opened) == 4403


def test_a_token_works_in_our_own_frame(server: Running) -> None:
    token = token_of(server)
    with client(server, token, Origin=server.url) as http:
        assert http.post("/v1/responses", json={"input": FIBONACCI}).status_code == 200
    with socket(server, token, origin=server.url) as opened:
        assert answered(opened)["type"] == "response.completed"


def test_a_page_without_an_origin_is_no_page_of_ours(demo: Running) -> None:
    with client(demo, None, Origin="null") as http:
        assert http.get("/v1/models").status_code == 403
    with connect(demo.ws_url, origin="null") as opened:  # type: ignore[arg-type]
        assert closed_with(opened) == 4403


def test_behind_a_proxy_its_scheme_counts_too(make_server: Callable[..., Running]) -> None:
    proxied = make_server(api_keys="key-a", embed_origins=SHOP, public_url="https://chat.example")
    token = token_of(proxied)
    for origin, status in (("https://chat.example", 200), ("http://chat.example", 403)):
        with client(proxied, token, Origin=origin, Host="chat.example") as http:
            assert http.get("/v1/models").status_code == status


# ---- for how long --------------------------------------------------------------------------------------


def short(in_store: Ask, *, owner: str = "key/alice", origin: str = SHOP, lasts_s: float = 1.0) -> str:
    """A token that expires sooner than HTTP allows to request."""
    ends = datetime.now(UTC) + timedelta(seconds=lasts_s)
    return str(
        in_store(
            lambda store: store.access.create_embed_session(
                parent_id=None,
                owner=owner,
                origin=origin,
                expires_at=ends,
                limits=OwnerLimits(),
                account_limits=OwnerLimits(),
            )
        )[1]
    )


def test_an_expired_token_is_refused_and_no_cookie_stands_in_for_it(server: Running, in_store: Ask) -> None:
    with client(server) as browser:
        assert browser.post("/v1/session", json={"api_key": "key-a"}).status_code == 200
        assert browser.get("/v1/models").status_code == 200
        ended = short(in_store, lasts_s=-1)
        assert browser.get("/v1/models", headers={"Authorization": f"Bearer {ended}"}).status_code == 401


def test_a_socket_is_closed_when_its_token_expires(server: Running, in_store: Ask) -> None:
    with socket(server, short(in_store)) as opened:
        assert closed_with(opened) == 4401


def test_a_fresh_token_keeps_the_socket(server: Running, in_store: Ask) -> None:
    token = short(in_store, lasts_s=6)
    with socket(server, token) as opened, socket(server, token) as left_alone:
        opened.send(json.dumps({"type": "codeact:session.refresh", "token": short(in_store, lasts_s=300)}))
        frame = next(events(opened))
        assert frame["type"] == "codeact:session.refreshed"
        assert frame["expires_at"] > datetime.now(UTC).timestamp() + 60
        assert closed_with(left_alone) == 4401
        assert answered(opened)["type"] == "response.completed"
        opened.send(json.dumps({"type": "codeact:session.refresh", "token": short(in_store, lasts_s=1)}))
        assert next(events(opened))["type"] == "codeact:session.refreshed"
        assert closed_with(opened) == 4401


def test_a_token_of_another_user_or_page_or_none_at_all_refreshes_nothing(server: Running, in_store: Ask) -> None:
    with socket(server, short(in_store, lasts_s=60)) as opened:
        for token, status in (
            (short(in_store, owner="key/mallory", lasts_s=60), 403),
            (short(in_store, origin=OTHER, lasts_s=60), 403),
            ("key-a", 403),
            ("codeact_embed_guess", 401),
            (short(in_store, lasts_s=-1), 401),
            (5, 400),
        ):
            opened.send(json.dumps({"type": "codeact:session.refresh", "token": token, "stream_id": "s"}))
            frame = next(events(opened))
            assert (frame["type"], frame.get("status"), frame["stream_id"]) == ("error", status, "s")
            assert str(token) not in json.dumps(frame) or token == 5
        assert answered(opened)["type"] == "response.completed"
    with connect(server.ws_url, additional_headers={"Authorization": "Bearer key-a"}) as opened:
        opened.send(json.dumps({"type": "codeact:session.refresh", "token": short(in_store, lasts_s=60)}))
        assert next(events(opened))["status"] == 403


def test_a_token_is_no_cookie(server: Running) -> None:
    with client(server, None, Cookie=f"{SESSION_COOKIE}={token_of(server)}") as browser:
        assert browser.get("/v1/models").status_code == 401


def test_a_token_ends_with_its_key(
    server: Running,
    in_store: Ask,
    key_for: Callable[..., tuple[str, str]],
    complaints: list[logging.LogRecord],
) -> None:
    key_id, key = key_for("revoked")
    token = token_of(server, key)
    with client(server, token) as panel, socket(server, token) as opened:
        assert panel.get("/v1/models").status_code == 200
        in_store(lambda store: store.access.revoke_key(key_id))
        assert panel.get("/v1/models").status_code == 401
        opened.send(frame({"type": "codeact:response.resume", "response_id": "resp_1"}))
        assert closed_with(opened) == 4401
    assert not complaints


def test_a_token_does_not_outlive_its_key(server: Running, key_for: Callable[..., tuple[str, str]]) -> None:
    ends = datetime.now(UTC) + timedelta(seconds=90)
    _, key = key_for("ending", expires_at=ends)
    assert make(server, key, expires_in_s=3600).json()["expires_at"] == int(ends.timestamp())


def test_the_key_that_made_it_and_operators_end_a_session(
    server: Running, key_for: Callable[..., tuple[str, str]]
) -> None:
    _, operator = key_for("root", operator=True)
    for key, status in (("key-b", 404), ("key-a", 200), (operator, 200)):
        made = make(server, "key-a").json()
        with client(server, key) as http, client(server, made["token"]) as panel:
            ended = http.delete(f"{SESSIONS}/{made['id']}")
            assert ended.status_code == status, ended.text
            assert panel.get("/v1/models").status_code == (200 if status == 404 else 401)
            assert http.delete(f"{SESSIONS}/{made['id']}").status_code == 404


# ---- the secret ----------------------------------------------------------------------------------------


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """Everything that is logged, at any level, whatever other tests have configured."""
    said: list[str] = []

    def note(_: object, __: str, event: structlog.typing.EventDict) -> str:
        said.append(str(event))
        raise structlog.DropEvent

    before = structlog.get_config() if structlog.is_configured() else None
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, note],
        wrapper_class=structlog.make_filtering_bound_logger("debug"),
    )
    yield said
    if before is None:
        structlog.reset_defaults()
    else:
        structlog.configure(**before)


def test_a_token_is_in_no_log_no_export_no_event_and_nothing_that_is_kept(
    server: Running, in_store: Ask, logged: list[str], complaints: list[logging.LogRecord]
) -> None:
    tokens = [token_of(server, user="eve") for _ in range(2)]
    with client(server, tokens[0]) as panel:
        made = panel.post("/v1/responses", json={"input": FIBONACCI, "stream": True})
        response_id = re.findall(r"resp_[0-9a-f]+", made.text)[0]
        conversation = panel.get(f"/v1/responses/{response_id}").json()["conversation"]["id"]
        given_out = [
            made.text,
            *(panel.get(f"/v1/conversations/{conversation}/export?format={kind}").text for kind in ("json", "md")),
        ]
        given_out.append(panel.get("/v1/embed/session").text)
        panel.get("/v1/pool", headers={"Origin": SHOP})
        panel.get(f"/embed.html?origin={SHOP}")
    with socket(server, tokens[0]) as opened:
        opened.send(json.dumps({"type": "codeact:session.refresh", "token": tokens[1]}))
        given_out.append(str(opened.recv(timeout=30)))
        opened.send(json.dumps({"type": "codeact:session.refresh", "token": f"{tokens[1]}x"}))
        given_out.append(str(opened.recv(timeout=30)))
        given_out += [json.dumps(answered(opened))]

    async def kept(store: Store) -> list[str]:
        database = store._client.get_default_database("codeact")
        names = await database.list_collection_names()
        return [str(document) for name in names async for document in database[name].find()]

    assert response_id in str(logged)
    for token in tokens:
        assert token not in str(logged) + str([record.getMessage() for record in complaints])
        assert not [text for text in given_out if token in text]
        assert not [document for document in in_store(kept) if token in document]


def test_who_made_a_token_and_what_was_done_with_it_is_in_the_audit_log(
    server: Running, key_for: Callable[..., tuple[str, str]]
) -> None:
    _, operator = key_for("root", operator=True)
    made = make(server, "key-a", user="frida").json()
    with client(server, made["token"]) as panel:
        response_id = panel.post("/v1/responses", json={"input": FIBONACCI}).json()["id"]
    with client(server, operator) as http:
        deadline = time.monotonic() + 60
        while len(entries := http.get("/v1/audit", params={"subject": response_id}).json()["data"]) == 0:
            assert time.monotonic() < deadline
        assert (entries[0]["owner"], entries[0]["credential_id"]) == (made["owner"], made["id"])
        creation = http.get("/v1/audit", params={"subject": made["id"]}).json()["data"][0]
    assert (creation["action"], creation["owner"]) == ("embed.session", made["owner"].partition("/")[0])
