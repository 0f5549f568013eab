"""Embed tokens: who gets one, for what and how long; with a real server and a real database."""

import gzip
import json
import logging
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import structlog
from starlette.routing import Route
from websockets import Subprotocol
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from codeact.login_settings import SESSION_COOKIE
from codeact.server.auth.embed import ROUTES
from codeact.server.routes import page
from codeact.store import OwnerLimits, Store, open_store
from tests.asking import frame
from tests.server.conftest import Running, in_thread, settings_of

SHOP, OTHER = "https://shop.example", "http://localhost:3000"
FIBONACCI = "What is the 100th Fibonacci number?"
SESSIONS = "/v1/embed/sessions"
Ask = Callable[[Callable[[Store], Any]], Any]


@pytest.fixture(scope="module")
def server(make_server: Callable[..., Running]) -> Running:
    return make_server(
        api_keys="key-a,key-b", embed_origins=f"{SHOP},{OTHER}", allowed_origins="https://friend.example"
    )


@pytest.fixture(scope="module")
def in_store(data_dir: Path) -> Ask:
    """Queries the servers' database from outside."""

    def ask(question: Callable[[Store], Any]) -> Any:
        async def run() -> Any:
            async with open_store(settings_of(data_dir)) as store:
                return await question(store)

        return in_thread(anyio.run, run)

    return ask


@pytest.fixture(scope="module")
def key_for(in_store: Ask) -> Callable[..., tuple[str, str]]:
    """Makes a key in the database; returns its id and its secret."""

    def make(owner: str, *, expires_at: datetime | None = None, operator: bool = False, **limits: int) -> Any:
        made, secret = in_store(
            lambda store: store.access.create_key(
                owner=owner, name="", operator=operator, expires_at=expires_at, limits=OwnerLimits(**limits)
            )
        )
        return made.id, secret

    return make


@pytest.fixture
def complaints(caplog: pytest.LogCaptureFixture) -> Iterator[list[logging.LogRecord]]:
    """What uvicorn logs: errors only."""
    logger = logging.getLogger("uvicorn.error")
    logger.addHandler(caplog.handler)
    yield caplog.records
    logger.removeHandler(caplog.handler)


def client(server: Running, token: str | None = None, **headers: str) -> httpx.Client:
    given = {"Authorization": f"Bearer {token}"} if token is not None else {}
    return httpx.Client(base_url=server.url, headers=given | headers, trust_env=False, timeout=60)


def make(server: Running, key: str | None, **body: Any) -> httpx.Response:
    with client(server, key) as backend:
        return backend.post(SESSIONS, json={"origin": SHOP, "user": "alice"} | body)


def token_of(server: Running, key: str = "key-a", **body: Any) -> str:
    made = make(server, key, **body)
    assert made.status_code == 201, made.text
    return str(made.json()["token"])


@contextmanager
def socket(server: Running, token: str, **options: Any) -> Iterator[ClientConnection]:
    offered = [Subprotocol("codeact"), Subprotocol(f"codeact-key.{token}")]
    with connect(server.ws_url, subprotocols=offered, **options) as opened:
        yield opened


def events(opened: ClientConnection) -> Iterator[dict[str, Any]]:
    while True:
        yield json.loads(opened.recv(timeout=30))


def answered(opened: ClientConnection, **request: Any) -> dict[str, Any]:
    """The last event of the answer, or the error."""
    opened.send(frame({"type": "response.create", "input": FIBONACCI} | request))
    ends = ("response.completed", "response.failed", "response.incomplete", "error")
    return next(event for event in events(opened) if event["type"] in ends)


def closed_with(opened: ClientConnection) -> int:
    with suppress(ConnectionClosed):
        while True:
            opened.recv(timeout=30)
    assert opened.close_code is not None
    return opened.close_code


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
        ({"limits": {"tokens": 5}}, "limits", "tokens"),
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


# ---- the page ------------------------------------------------------------------------------------------


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short files instead of the real ones, whose build needs Node."""
    for name in ("index.html", "embed.html", "embed.js", "frame.html"):
        (tmp_path / name).write_text(f"the {name}")
    (tmp_path / "embed.js.gz").write_bytes(gzip.compress(b"packed"))
    monkeypatch.setattr(page, "STATIC", tmp_path)


def ancestors(answer: httpx.Response) -> list[str]:
    policies = answer.headers.get_list("content-security-policy")
    assert len(policies) == 1
    found = [part.split()[1:] for part in policies[0].split(";") if part.split()[0] == "frame-ancestors"]
    assert len(found) == 1
    return found[0]


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("origin", [SHOP, OTHER])
def test_the_panel_may_be_framed_by_the_one_page_that_asks_for_it(server: Running, origin: str) -> None:
    with client(server) as browser:
        answer = browser.get("/embed.html", params={"origin": origin})
    assert (answer.status_code, answer.text) == (200, "the embed.html")
    assert ancestors(answer) == [origin]
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-cache"


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize(
    "query",
    [
        {},
        {"origin": ""},
        {"origin": "null"},
        {"origin": "*"},
        {"origin": "https://evil.example"},
        {"origin": f"{SHOP}/"},
        {"origin": f"{SHOP}.evil.example"},
        {"origin": "https://SHOP.example"},
        {"origin": f"{SHOP} https://evil.example"},
        {"origin": f"{SHOP}; script-src *"},
        {"origin": f"{SHOP}\r\nContent-Security-Policy: frame-ancestors *"},
        {"origin": [SHOP, "https://evil.example"]},
        {"origin": "<script>alert(1)</script>"},
    ],
)
def test_for_any_other_page_the_panel_may_be_framed_by_none_and_says_so(server: Running, query: dict[str, Any]) -> None:
    with client(server) as browser:
        answer = browser.get("/embed.html", params=query)
    assert answer.status_code == 403
    assert ancestors(answer) == ["'none'"]
    assert "CODEACT_EMBED_ORIGINS" in answer.text
    assert "evil" not in answer.text + str(answer.headers)
    assert "alert" not in answer.text


@pytest.mark.usefixtures("built")
def test_the_chat_is_framed_by_nobody_and_the_frame_of_outputs_by_ours_and_the_embedding_pages(server: Running) -> None:
    with client(server) as browser:
        assert ancestors(browser.get("/")) == ["'none'"]
        assert ancestors(browser.get("/frame.html")) == ["'self'", SHOP, OTHER]


@pytest.mark.usefixtures("built")
def test_the_loader_is_for_pages_of_any_origin(server: Running, demo: Running) -> None:
    with client(server) as browser:
        answer = browser.get("/embed.js")
    assert (answer.text, answer.headers["content-encoding"]) == ("packed", "gzip")
    assert answer.headers["content-type"].startswith("text/javascript")
    assert answer.headers["cache-control"] == "public, max-age=300"
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    assert answer.headers["x-content-type-options"] == "nosniff"
    with client(demo) as browser:
        for path, status in (("/embed.js", 404), ("/embed.html", 403)):
            off = browser.get(path, params={"origin": SHOP})
            assert off.status_code == status
            assert "CODEACT_EMBED_ORIGINS" in off.text


# ---- visitors without a name ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def anonymous(make_server: Callable[..., Running], tmp_path_factory: pytest.TempPathFactory) -> Running:
    """A server with its own database, because visitors are counted together."""
    return make_server(
        data_dir=tmp_path_factory.mktemp("data"),
        api_keys="key-a",
        embed_origins=SHOP,
        embed_anonymous=True,
        embed_anonymous_sessions_per_minute=20,
        embed_anonymous_responses_per_minute=3,
        embed_anonymous_tokens_per_day=10,
        embed_anonymous_tokens_per_day_in_all=1_000_000,
    )


def visit(server: Running, **headers: str) -> httpx.Response:
    own = {"Origin": server.url, "Sec-Fetch-Site": "same-origin"}
    with client(server, None, **own | headers) as browser:
        return browser.post(SESSIONS, json={"origin": SHOP})


def test_anonymous_use_is_off_unless_switched_on(server: Running, demo: Running) -> None:
    assert visit(server).status_code == 401
    assert (visit(demo).status_code, visit(demo).json()["error"]["param"]) == (400, "user")


def test_each_visitor_is_an_owner_whom_nobody_can_guess(anonymous: Running) -> None:
    one, two = visit(anonymous).json(), visit(anonymous).json()
    assert (one["anonymous"], two["anonymous"]) == (True, True)
    assert one["owner"].startswith("anonymous/")
    assert len({one["owner"], two["owner"]}) == 2
    assert len(one["owner"]) >= 30
    with client(anonymous, one["token"]) as first, client(anonymous, two["token"]) as second:
        made = first.post("/v1/responses", json={"input": FIBONACCI}).json()
        assert first.get(f"/v1/responses/{made['id']}").status_code == 200
        assert second.get(f"/v1/responses/{made['id']}").status_code == 404
        assert first.get("/v1/embed/session").json()["anonymous"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": SHOP},
        {"Origin": "null"},
        {"Origin": ""},
    ],
)
def test_a_visitors_token_is_made_from_our_own_frame_only(anonymous: Running, headers: dict[str, str]) -> None:
    refused = visit(anonymous, **headers)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "forbidden_origin")


def test_a_visitor_chooses_neither_name_nor_limits(anonymous: Running) -> None:
    with client(anonymous, None, Origin=anonymous.url) as browser:
        for body, status, param in (
            ({"user": "alice"}, 401, None),
            ({"limits": {}}, 400, "limits"),
            ({"expires_in_s": 3600}, 400, "expires_in_s"),
            ({"origin": OTHER}, 400, "origin"),
        ):
            refused = browser.post(SESSIONS, json={"origin": SHOP} | body)
            assert (refused.status_code, refused.json()["error"]["param"]) == (status, param)


def test_a_key_beside_anonymous_use_still_needs_a_user_and_takes_one(anonymous: Running) -> None:
    assert make(anonymous, "key-a").json()["anonymous"] is False
    assert make(anonymous, "key-a", user=None).json()["error"]["param"] == "user"


def test_a_visitor_has_the_quota_of_the_settings(anonymous: Running) -> None:
    with client(anonymous, visit(anonymous).json()["token"]) as visitor:
        assert visitor.post("/v1/responses", json={"input": FIBONACCI}).status_code == 200
        refused = visitor.post("/v1/responses", json={"input": FIBONACCI})
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "insufficient_quota")


def test_visitors_together_have_a_quota_too(make_server: Callable[..., Running], tmp_path: Path) -> None:
    small = make_server(
        data_dir=tmp_path,
        embed_origins=SHOP,
        embed_anonymous=True,
        embed_anonymous_sessions_per_minute=2,
        embed_anonymous_responses_per_minute=100,
        embed_anonymous_tokens_per_day=1000,
        embed_anonymous_tokens_per_day_in_all=10,
    )
    made = [visit(small) for _ in range(5)]
    tokens = [each.json()["token"] for each in made if each.status_code == 201]
    assert 2 <= len(tokens) <= 4  # the clock may begin another minute between them
    refused = next(each for each in made if each.status_code == 429)
    assert 1 <= int(refused.headers["retry-after"]) <= 61
    assert "CODEACT_EMBED_ANONYMOUS_SESSIONS_PER_MINUTE" in refused.json()["error"]["message"]
    with client(small, tokens[0]) as one, client(small, tokens[1]) as two:
        assert one.post("/v1/responses", json={"input": FIBONACCI}).status_code == 200
        assert two.post("/v1/responses", json={"input": FIBONACCI}).json()["error"]["code"] == "insufficient_quota"


# ---- hovering crowds -----------------------------------------------------------------------------------


def warm_up(server: Running, token: str) -> dict[str, Any]:
    with client(server, token) as panel:
        warmed = panel.post("/v1/responses", json={"generate": False, "input": []})
    assert warmed.status_code == 200, warmed.text
    assert warmed.json()["status"] == "completed"
    return dict(warmed.json())


def test_a_storm_of_warm_ups_leaves_the_pool_to_those_who_ask(make_server: Callable[..., Running]) -> None:
    calm = make_server(api_keys="key-a", embed_origins=SHOP, pool_min=1, pool_max=4)
    tokens = [token_of(calm, user=f"visitor {number}") for number in range(10)]
    with ThreadPoolExecutor(10) as threads:
        warmed = list(threads.map(lambda token: warm_up(calm, token), tokens * 2))
    assert calm.state.pool.started is not None
    assert calm.state.pool.started.value.stats().leased == 1
    with client(calm, "key-a") as owner:
        assert owner.post("/v1/responses", json={"input": FIBONACCI}).json()["status"] == "completed"
    with client(calm, tokens[-1]) as panel:  # a question gets its sandbox, whether it was warmed up for or not
        asked = {"input": FIBONACCI, "conversation": warmed[-1]["conversation"]["id"]}
        assert panel.post("/v1/responses", json=asked).json()["status"] == "completed"


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
        deadline = time.monotonic() + 20
        while len(entries := http.get("/v1/audit", params={"subject": response_id}).json()["data"]) == 0:
            assert time.monotonic() < deadline
        assert (entries[0]["owner"], entries[0]["credential_id"]) == (made["owner"], made["id"])
        creation = http.get("/v1/audit", params={"subject": made["id"]}).json()["data"][0]
    assert (creation["action"], creation["owner"]) == ("embed.session", made["owner"].partition("/")[0])
