"""People sign in with a real OpenID provider: roles, sessions and keys, and what an attacker tries at that."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import anyio
import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from codeact.component import Component, Started
from codeact.errors import StoreUnavailable
from codeact.login_settings import SESSION_COOKIE
from codeact.server.banner import _setup_link
from codeact.store import Store, open_store
from codeact.store.repositories.people import MOST_KEYS, People, owner_of_subject
from tests.openid import go_through, oidc_settings, openid_provider, sign_in
from tests.server.conftest import Running, Work, in_thread, settings_of
from tests.server.test_auth import client
from tests.server.test_people import somebody

CALLBACK = "/login/callback"


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with openid_provider() as issuer:
        yield issuer


@pytest.fixture(scope="module")
def server(make_server: Callable[..., Running], issuer: str) -> Running:
    return make_server(pool_min=0, **oidc_settings(issuer))


@pytest.fixture(scope="module")
def alice(server: Running) -> Iterator[httpx.Client]:
    with sign_in(server.url, "alice") as http:
        yield http


@pytest.fixture(scope="module")
def anna(server: Running) -> Iterator[httpx.Client]:
    with sign_in(server.url, "anna") as http:
        yield http


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def ended(url: str, **headers: str) -> int:
    """The code with which the server closes a socket with these headers."""
    own = {name.replace("_", "-"): value for name, value in headers.items()}
    with connect(url, additional_headers=own) as socket, pytest.raises(ConnectionClosed) as closed:
        socket.recv(timeout=30)
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code


def test_a_person_has_the_role_that_their_groups_give(server: Running, issuer: str) -> None:
    roles = {}
    for name in ("alice", "olga", "anna"):
        with sign_in(server.url, name) as http:
            info = http.get("/v1/session").json()
            assert info["owner"] == owner_of_subject(issuer, name)
            assert (info["name"], info["email"]) == (name.title(), f"{name}@example.com")
            roles[name] = info["role"]
    assert roles == {"alice": "user", "olga": "operator", "anna": "admin"}


def test_nobody_gets_in_without_a_group_that_may(server: Running) -> None:
    with sign_in(server.url, "mallory") as http:
        assert http.last.status_code == 403
        assert "may not use this server" in http.last.text
        assert http.get("/v1/models").status_code == 401
        assert http.get("/v1/session").json()["login"] == {"name": "Test provider", "url": "login"}


def test_people_have_their_own_conversations_and_operators_see_them(server: Running, alice: httpx.Client) -> None:
    made = alice.post("/v1/conversations", json={}).json()["id"]
    owner = alice.get("/v1/session").json()["owner"]
    acting = {"Codeact-Owner": owner}
    with sign_in(server.url, "bob") as bob, sign_in(server.url, "olga") as olga:
        assert bob.get(f"/v1/conversations/{made}").status_code == 404
        assert bob.get(f"/v1/conversations/{made}", headers=acting).status_code == 403
        assert olga.get(f"/v1/conversations/{made}").status_code == 404
        assert olga.get(f"/v1/conversations/{made}", headers=acting).status_code == 200
        # An operator who acts for somebody neither sees nor makes that person's keys.
        assert olga.get("/v1/keys", headers=acting).status_code == 403
        assert olga.post("/v1/keys", headers=acting, json={"name": "x"}).status_code == 403
        assert bob.get("/v1/people").status_code == 403
        assert olga.get("/v1/people").status_code == 403
        assert olga.patch(f"/v1/people/{owner}", json={"disabled": True}).status_code == 404


def test_a_person_lists_their_sessions_and_ends_one(server: Running, alice: httpx.Client) -> None:
    with sign_in(server.url, "alice") as other, sign_in(server.url, "bob") as bob:
        sessions = alice.get("/v1/sessions").json()["data"]
        assert [one["current"] for one in sessions].count(True) == 1
        assert sessions[0]["address"] == "127.0.0.1"
        assert sessions[0]["browser"].startswith("python-httpx")
        assert other.cookies[SESSION_COOKIE] not in alice.get("/v1/sessions").text
        mine = next(one["id"] for one in other.get("/v1/sessions").json()["data"] if one["current"])
        assert bob.delete(f"/v1/sessions/{mine}").status_code == 404
        assert other.get("/v1/models").status_code == 200
        assert alice.delete(f"/v1/sessions/{mine}").status_code == 200
        assert other.get("/v1/models").status_code == 401
        assert alice.get("/v1/models").status_code == 200


def test_signing_out_ends_the_session_on_the_server(server: Running) -> None:
    with sign_in(server.url, "alice") as http:
        secret = http.cookies[SESSION_COOKIE]
        assert http.delete("/v1/session").status_code == 204
        http.cookies.clear()
        assert http.get("/v1/models", headers={"Cookie": f"{SESSION_COOKIE}={secret}"}).status_code == 401


def test_a_person_makes_keys_which_are_shown_once(server: Running, alice: httpx.Client) -> None:
    answer = alice.post("/v1/keys", json={"name": "laptop", "days": 7})
    assert answer.status_code == 201
    made = answer.json()
    listed = alice.get("/v1/keys")
    assert made["secret"] not in listed.text
    assert made["secret"].startswith(made["shown"].rstrip("…"))
    mine = next(one for one in listed.json()["data"] if one["id"] == made["id"])
    assert mine["used_at"] is None
    with client(server, made["secret"]) as http, sign_in(server.url, "bob") as bob:
        assert http.get("/v1/session").json()["owner"] == alice.get("/v1/session").json()["owner"]
        # A key is no person: a stolen one makes no others, and is never an operator's.
        assert http.post("/v1/keys", json={"name": "more"}).status_code == 403
        assert http.delete(f"/v1/keys/{made['id']}").status_code == 404
        assert http.get("/v1/sessions").status_code == 403
        assert bob.delete(f"/v1/keys/{made['id']}").status_code == 404
        assert alice.delete(f"/v1/keys/{made['id']}").status_code == 200
        assert http.get("/v1/models").status_code == 401
    assert made["id"] not in alice.get("/v1/keys").text


def test_an_operators_own_key_is_no_operators_key(server: Running) -> None:
    with sign_in(server.url, "olga") as olga:
        secret = olga.post("/v1/keys", json={"name": "script", "days": None}).json()["secret"]
    with client(server, secret) as http:
        assert http.get("/v1/models", headers={"Codeact-Owner": "anybody"}).status_code == 403


def test_a_person_has_a_bounded_number_of_keys(server: Running) -> None:
    with sign_in(server.url, "bob") as bob:
        answers = [bob.post("/v1/keys", json={"name": f"{number}"}) for number in range(MOST_KEYS + 1)]
        assert [answer.status_code for answer in answers] == [201] * MOST_KEYS + [400]
        assert answers[-1].json()["error"]["code"] == "too_many_keys"
        assert bob.post("/v1/keys", json={"name": ""}).status_code == 400
        for one in bob.get("/v1/keys").json()["data"]:
            assert bob.delete(f"/v1/keys/{one['id']}").status_code == 200


def test_an_admin_gives_roles_and_disables_accounts(server: Running, anna: httpx.Client, stack: ExitStack) -> None:
    bob = stack.enter_context(sign_in(server.url, "bob"))
    owner = bob.get("/v1/session").json()["owner"]
    key = bob.post("/v1/keys", json={"name": "x"}).json()["secret"]
    people = {one["owner"]: one for one in anna.get("/v1/people").json()["data"]}
    assert (people[owner]["name"], people[owner]["role"]) == ("Bob", "user")
    assert anna.patch(f"/v1/people/{owner}", json={"role": "operator"}).json()["role"] == "operator"
    assert bob.get("/v1/models").status_code == 401  # The session had the old rights.
    with sign_in(server.url, "bob") as again:
        assert again.get("/v1/session").json()["role"] == "operator"
        assert anna.patch(f"/v1/people/{owner}", json={"role": None, "disabled": True}).status_code == 200
        assert again.get("/v1/models").status_code == 401
    with client(server, key) as http:
        assert http.get("/v1/models").status_code == 401
    with sign_in(server.url, "bob") as refused:
        assert "disabled" in refused.last.text
    assert anna.patch(f"/v1/people/{owner}", json={"disabled": False}).json()["role"] == "user"
    own = anna.get("/v1/session").json()["owner"]
    assert anna.patch(f"/v1/people/{own}", json={"disabled": True}).status_code == 400


def test_the_links_of_a_disabled_account_open_nothing(server: Running, anna: httpx.Client, stack: ExitStack) -> None:
    bob = stack.enter_context(sign_in(server.url, "bob"))
    owner = bob.get("/v1/session").json()["owner"]
    profile = bob.post("/v1/profiles", json={"name": "shared"}).json()
    token = bob.post(f"/v1/profiles/{profile['id']}/share", json={}).json()["share"]["token"]
    response = {"id": "resp_1", "created_at": 0, "model": "m", "status": "completed"}
    archive = {"object": "codeact:conversation", "version": 1, "conversation": {"created_at": 0}}
    archive |= {"responses": [{"response": response, "input": []}], "blobs": []}
    archive["conversation"] |= {"last_response_id": "resp_1"}
    imported = bob.post("/v1/conversations/import", json=archive).json()
    share = bob.post(f"/v1/conversations/{imported['id']}/share", json={}).json()["url"]

    def opened() -> set[int]:
        copied = anna.post(f"/v1/shared-profiles/{token}/copy")
        return {copied.status_code, anna.get(f"/v1/shared-profiles/{token}").status_code, anna.get(share).status_code}

    assert opened() == {200}
    assert anna.patch(f"/v1/people/{owner}", json={"disabled": True}).status_code == 200
    assert opened() == {404}
    assert anna.patch(f"/v1/people/{owner}", json={"disabled": False}).status_code == 200
    assert opened() == {200}


def test_whoever_leaves_the_group_loses_sessions_and_keys(
    server: Running, make_server: Callable[..., Running], issuer: str, stack: ExitStack
) -> None:
    bob = stack.enter_context(sign_in(server.url, "bob"))
    key = bob.post("/v1/keys", json={"name": "x"}).json()["secret"]
    stricter = make_server(pool_min=0, **oidc_settings(issuer, login_users="ops"))
    with sign_in(stricter.url, "bob") as http:
        assert http.last.status_code == 403
    assert bob.get("/v1/models").status_code == 401
    with client(server, key) as http:
        assert http.get("/v1/models").status_code == 401


def test_the_first_admin_needs_the_code_which_counts_once(
    make_server: Callable[..., Running], issuer: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    data_dir = tmp_path_factory.mktemp("first")
    settings = oidc_settings(issuer, login_admins="", login_users="*@example.com")
    server = make_server(pool_min=0, data_dir=data_dir, **settings)

    async def code() -> tuple[bool, str]:
        async with open_store(server.settings) as store:
            has_admin = await store.people.has_admin([issuer], by_rules=False)
            return has_admin, await store.people.create_setup_code()

    has_admin, setup = in_thread(anyio.run, code)
    assert not has_admin
    with sign_in(server.url, "bob", path="/login?setup=wrong") as http:
        assert http.get("/v1/models").status_code == 401
    with sign_in(server.url, "alice", path=f"/login?setup={setup}") as http:
        info = http.get("/v1/session").json()
        assert info["role"] == "admin"
        for _ in range(2000):
            if entries := http.get("/v1/audit?action=person.setup").json()["data"]:
                break
        assert [(one["owner"], one["subject"]) for one in entries] == [(info["owner"], info["owner"])]
    with sign_in(server.url, "bob", path=f"/login?setup={setup}") as http:
        assert "used already" in http.last.text
        assert http.get("/v1/models").status_code == 401
    has_admin, unneeded = in_thread(anyio.run, code)
    assert has_admin
    with sign_in(server.url, "bob", path=f"/login?setup={unneeded}") as http:
        assert http.get("/v1/models").status_code == 401


def test_a_public_client_signs_in_with_pkce_alone(make_server: Callable[..., Running], issuer: str) -> None:
    server = make_server(
        pool_min=0, **oidc_settings(issuer, oidc_client_id="public", oidc_client_secret=None, login_users="*")
    )
    with sign_in(server.url, "mallory") as http:
        assert http.get("/v1/session").json()["name"] == "Mallory"
        assert http.get("/v1/session").json()["email"] == ""  # not verified


def test_a_start_without_a_link_ends_the_links_before_it(
    in_store: Callable[[Work], None],
    data_dir: Path,
    server: Running,
) -> None:
    issuer = "https://provider.example"

    async def link(store: Store, **settings: Any) -> tuple[str, str | None]:
        """A code of a start before this one, and the link of this start."""
        before = await store.people.create_setup_code()
        services: Any = SimpleNamespace(settings=settings_of(data_dir, **settings), store=Component("store", open_))
        services.store.started = Started(store, "", "")
        return before, await _setup_link(services, "http://localhost")

    async def work(store: Store) -> None:
        nobody = oidc_settings(issuer, login_admins="")
        before, made = await link(store, **nobody)
        assert made is not None
        assert not await store.people.use_setup_code(before, [issuer])
        assert await store.people.use_setup_code(made.partition("setup=")[2], [issuer])
        for settings in ({}, oidc_settings(issuer)):
            before, made = await link(store, **settings)
            assert made is None
            assert not await store.people.use_setup_code(before, [issuer])
        person = await somebody(store, "root", issuer=issuer)
        await store.people.change(person.owner, {"granted": "admin"})
        before, made = await link(store, **nobody)
        assert made is None
        assert not await store.people.use_setup_code(before, [])
        codes.append(await store.people.create_setup_code())

    def open_(component: Component[Store]) -> Any:
        raise NotImplementedError

    codes: list[str] = []
    in_store(work)
    # The server's setting names admins, so no code of another server of the database makes one.
    with sign_in(server.url, "bob", path=f"/login?setup={codes[0]}") as http:
        assert "if there is no admin" in http.last.text
        assert http.get("/v1/models").status_code == 401


def test_a_session_that_a_key_gives_ends_with_the_key(server: Running, alice: httpx.Client) -> None:
    made = alice.post("/v1/keys", json={"name": "x", "days": 1}).json()
    with client(server, None) as http:
        assert http.post("/v1/session", json={"api_key": made["secret"]}).status_code == 200
        assert http.get("/v1/session").json()["expires_at"] <= made["expires_at"]
        assert alice.delete(f"/v1/keys/{made['id']}").status_code == 200


def test_an_admin_always_remains(server: Running, anna: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    with sign_in(server.url, "bob") as bob:
        path = f"/v1/people/{bob.get('/v1/session').json()['owner']}"
    assert anna.patch(path, json={"role": "admin"}).status_code == 200

    async def has_none(self: object, issuers: object, *, by_rules: bool) -> bool:
        return False  # as if the other had just taken anna's role

    with monkeypatch.context() as moment:
        moment.setattr(People, "has_admin", has_none)
        for change in ({"role": None}, {"disabled": True}):
            refused = anna.patch(path, json=change)
            assert (refused.status_code, refused.json()["error"]["code"]) == (400, "last_admin")
    changed = anna.patch(path, json={"role": None}).json()
    assert (changed["role"], changed["disabled"]) == ("user", False)


def test_the_earlier_session_of_a_browser_ends_though_its_cookie_does_not_come_back(server: Running) -> None:
    with sign_in(server.url, "alice") as http:
        earlier = http.cookies[SESSION_COOKIE]
        begun = http.get("/login")
        http.cookies.delete(SESSION_COOKIE)  # as the browser holds it back on its way from the provider
        go_through(http, begun, "alice")
        assert http.cookies[SESSION_COOKIE] != earlier
        http.cookies.clear()
        assert http.get("/v1/models", headers={"Cookie": f"{SESSION_COOKIE}={earlier}"}).status_code == 401


# ---- attacks -------------------------------------------------------------------------------------------


Begin = Callable[[], tuple[httpx.Client, dict[str, str]]]


@pytest.fixture
def begin(server: Running, stack: ExitStack) -> Begin:
    """Makes a browser that is on its way to the provider, and what it takes there."""

    def begin() -> tuple[httpx.Client, dict[str, str]]:
        browser = stack.enter_context(client(server, None))
        answer = browser.get("/login")
        assert answer.status_code == 303
        asked = parse_qs(urlsplit(answer.headers["location"]).query)
        return browser, {name: value[0] for name, value in asked.items()}

    return begin


def test_a_sign_in_asks_for_a_code_with_pkce_state_and_nonce(server: Running, begin: Begin) -> None:
    browser, asked = begin()
    assert asked["response_type"] == "code"
    assert asked["code_challenge_method"] == "S256"
    assert min(len(asked[name]) for name in ("state", "nonce", "code_challenge")) >= 43
    assert asked["redirect_uri"] == f"{server.url}{CALLBACK}"
    cookie = next(iter(browser.get("/login").headers.get_list("set-cookie"))).lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert asked["state"] not in cookie


def test_the_providers_answer_counts_only_in_the_browser_that_asked(
    server: Running, begin: Begin, stack: ExitStack
) -> None:
    attacker, asked = begin()
    victim = stack.enter_context(client(server, None))
    link = f"{CALLBACK}?code=x&state={asked['state']}"
    for browser in (victim, begin()[0]):
        answer = browser.get(link)
        assert answer.status_code == 400
        assert "did not begin" in answer.text
        assert SESSION_COOKIE not in answer.headers.get("set-cookie", "").replace("codeact_login", "")
    for state in ("", "x", "a" * 5000, f"{asked['state']}&state={asked['state']}"):
        assert attacker.get(f"{CALLBACK}?code=x&state={state}").status_code == 400


def test_a_code_that_the_provider_did_not_give_is_refused(server: Running, begin: Begin) -> None:
    browser, asked = begin()
    answer = browser.get(
        f"{CALLBACK}?code=x&state={asked['state']}&iss={asked.get('iss', server.settings.oidc_issuer)}"
    )
    assert answer.status_code == 403
    assert "did not accept" in answer.text
    # The cookie is gone: the same link does nothing a second time.
    assert browser.get(f"{CALLBACK}?code=x&state={asked['state']}").status_code == 400


@pytest.mark.parametrize("more", ["", "&iss=https://evil.example"])
def test_an_answer_of_another_provider_is_refused(begin: Begin, more: str) -> None:
    browser, asked = begin()
    assert browser.get(f"{CALLBACK}?code=x&state={asked['state']}{more}").status_code == 400


def test_strangers_do_not_see_what_the_database_says(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    async def down() -> Store:
        raise StoreUnavailable("No MongoDB answers at mongodb://db.internal/codeact.")

    monkeypatch.setattr(server.state.store, "get", down)
    with client(server, None) as http:
        answer = http.get("/login")
        assert answer.status_code == 503
        assert "db.internal" not in answer.text
        assert "stored" in answer.text


def test_what_the_provider_says_of_an_error_is_not_shown(begin: Begin) -> None:
    browser, asked = begin()
    hostile = "<script>alert(1)</script>"
    answer = browser.get(CALLBACK, params={"state": asked["state"], "error": hostile, "error_description": hostile})
    assert answer.status_code == 403
    assert "<script" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "/c/../../x",
        "/c/%0d%0aSet-Cookie:x",
        "javascript:x",
    ],
)
def test_a_sign_in_leads_nowhere_else(server: Running, address: str) -> None:
    with sign_in(server.url, "alice", path=f"/login?next={address}") as http:
        assert str(http.last.url) == f"{server.url}/"


def test_a_sign_in_leads_back_to_the_conversation(server: Running) -> None:
    with sign_in(server.url, "alice", path="/login?next=/c/conv_x") as http:
        assert str(http.last.url) == f"{server.url}/c/conv_x"


def test_the_sessions_cookie_is_for_this_site_and_not_for_scripts(server: Running) -> None:
    with sign_in(server.url, "alice") as http:
        cookie = next(one for one in http.cookies.jar if one.name == SESSION_COOKIE)
        assert cookie.has_nonstandard_attr("HttpOnly")
        assert cookie.get_nonstandard_attr("SameSite") == "strict"
        # Pages of others can neither send requests nor open sockets with it.
        foreign = {"Origin": "https://evil.example"}
        assert http.post("/v1/keys", json={"name": "x"}, headers=foreign).status_code == 403
        assert http.delete("/v1/session", headers=foreign).status_code == 403
        own = {"Cookie": f"{SESSION_COOKIE}={cookie.value}"}
        assert ended(server.ws_url, **own, Origin="https://evil.example") == 4403
        assert ended(server.ws_url, **own, Origin="null") == 4403
        with connect(server.ws_url, additional_headers=own | {"Origin": server.url}) as socket:
            assert http.delete("/v1/session").status_code == 204
            socket.send('{"type": "response.create", "input": "x"}')
            with pytest.raises(ConnectionClosed):
                socket.recv(timeout=30)


def test_on_https_no_sibling_domain_can_plant_a_cookie(make_server: Callable[..., Running], issuer: str) -> None:
    server = make_server(pool_min=0, public_url="https://chat.example", **oidc_settings(issuer))
    with client(server, None) as http:
        cookie = http.get("/login").headers["set-cookie"]
        assert re.match(r"__Host-codeact_login=.*; Path=/; SameSite=lax; Secure", cookie)
        assert "domain" not in cookie.lower()
    with sign_in(server.url, "alice") as other:
        assert SESSION_COOKIE not in other.cookies


def test_a_session_is_no_bearer_token_and_a_key_no_cookie(server: Running, alice: httpx.Client) -> None:
    with client(server, alice.cookies[SESSION_COOKIE]) as http:
        assert http.get("/v1/models").status_code == 401
    key = alice.post("/v1/keys", json={"name": "x"}).json()
    with client(server, None) as http:
        assert http.get("/v1/models", headers={"Cookie": f"{SESSION_COOKIE}={key['secret']}"}).status_code == 401
        assert http.get("/v1/keys").status_code == 401
    alice.delete(f"/v1/keys/{key['id']}")


def test_every_sign_in_is_in_the_audit_log(
    server: Running, begin: Begin, anna: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin()[0].get(f"{CALLBACK}?code=x&state=x")
    with monkeypatch.context() as moment, client(server, None) as stranger:
        moment.setattr(server.state.provider, "_metadata", None)
        moment.setattr(server.state.provider, "issuer", "http://localhost:9")
        assert stranger.get("/login").status_code == 502
    with sign_in(server.url, "olga") as http:
        http.delete(f"/v1/keys/{http.post('/v1/keys', json={'name': 'x'}).json()['id']}")
        http.delete("/v1/session")

    failed = {("login.failed", "login_expired"), ("login.failed", "login_provider_failed")}
    wanted = {"login", "logout", "key.create", "key.revoke"}

    def missing() -> set[Any]:
        entries = anna.get("/v1/audit?limit=1000").json()["data"]
        actions = {entry["action"] for entry in entries}
        return (wanted - actions) | (failed - {(entry["action"], entry["subject"]) for entry in entries})

    for _ in range(2000):
        if not missing():
            return
    raise AssertionError(missing())
