"""What the server believes of an OpenID provider: nothing that is not signed, fresh, and for this sign-in."""

import base64
import hmac
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from joserfc.jwk import RSAKey
from starlette.responses import JSONResponse, Response

from codeact.roles import role_of
from codeact.server.login import provider as providers
from codeact.server.login import provider_http
from codeact.server.login.errors import LoginBusy, LoginFailed, ProviderFailed
from codeact.server.login.provider import Identity, Provider
from tests.lying_provider import LyingProvider, away, deep, endless, lying_provider, many, silent
from tests.openid import oidc_settings
from tests.server.conftest import settings_of

pytestmark = pytest.mark.anyio

NONCE = "a nonce"
REDIRECT = "http://127.0.0.1/login/callback"


@pytest.fixture(scope="module")
def running() -> Iterator[LyingProvider]:
    with lying_provider() as provider:
        yield provider


@pytest.fixture
def liar(running: LyingProvider) -> LyingProvider:
    """The provider, which tells the truth until the test has it lie."""
    for lies in (running.metadata, running.claims, running.header, running.token, running.answers):
        lies.clear()
    running.asked.clear()
    running.nonce = NONCE
    return running


@pytest.fixture
def provider(liar: LyingProvider, tmp_path: Path) -> Provider:
    return Provider(settings_of(tmp_path, **oidc_settings(liar.issuer)))


async def identity(provider: Provider) -> Identity:
    return await provider.identity("code", nonce=NONCE, verifier="v" * 43, redirect_uri=REDIRECT, issuer=None)


@dataclass(frozen=True)
class FromNow:
    """A time so many seconds after the test begins; tests are collected long before they run."""

    s: int


async def test_a_true_answer_is_believed(liar: LyingProvider, provider: Provider) -> None:
    liar.claims |= {"groups": ["staff"], "name": "Eve", "email": "eve@example.com", "email_verified": True}
    assert await identity(provider) == Identity(liar.issuer, "eve", "Eve", "eve@example.com", frozenset({"staff"}))


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"iss": "https://evil.example"}, "another issuer"),
        ({"iss": None}, "another issuer"),
        ({"aud": "another"}, "another client"),
        ({"aud": ["codeact", "another"]}, "given to another client"),
        ({"aud": {"codeact": 1}}, "another client"),
        ({"azp": "another"}, "given to another client"),
        ({"sub": None}, "anybody"),
        ({"sub": ""}, "anybody"),
        ({"sub": "a" * 256}, "anybody"),
        ({"sub": 1}, "anybody"),
        ({"sub": "\ud800"}, "anybody"),
        ({"nonce": "\ud800"}, "another sign-in"),
        ({"exp": float("nan")}, "expired"),
        ({"nbf": float("nan")}, "not valid yet"),
        ({"nonce": "another"}, "another sign-in"),
        ({"nonce": None}, "another sign-in"),
        ({"exp": FromNow(-120)}, "expired"),
        ({"exp": None}, "times"),
        ({"exp": True}, "times"),
        ({"exp": "9999999999"}, "times"),
        ({"iat": None}, "times"),
        ({"iat": FromNow(600)}, "just now"),
        ({"iat": FromNow(-6000)}, "just now"),
        ({"nbf": FromNow(600)}, "not valid yet"),
    ],
)
async def test_a_token_that_is_not_for_this_sign_in_is_refused(
    liar: LyingProvider, provider: Provider, claims: dict[str, Any], reason: str
) -> None:
    now = int(time.time())
    liar.claims |= {name: now + one.s if isinstance(one, FromNow) else one for name, one in claims.items()}
    with pytest.raises(LoginFailed, match=reason):
        await identity(provider)


async def test_clocks_may_differ_by_a_minute(liar: LyingProvider, provider: Provider) -> None:
    now = int(time.time())
    liar.claims |= {"exp": now - 5, "iat": now + 5, "nbf": now + 5}
    assert (await identity(provider)).subject == "eve"


def encoded(fields: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode().rstrip("=")


def unsigned(liar: LyingProvider) -> str:
    _, claims, _ = liar.id_token().split(".")
    return f"{encoded({'alg': 'none'})}.{claims}."


def signed_by_public_key(liar: LyingProvider) -> str:
    """HMAC with the public key as the secret, which a careless check would accept."""
    claims = liar.id_token().split(".")[1]
    signed = f"{encoded({'alg': 'HS256', 'kid': 'one'})}.{claims}"
    signature = hmac.digest(liar.key.as_pem(private=False), signed.encode(), "sha256")
    return f"{signed}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


def signed_by_another(liar: LyingProvider) -> str:
    return liar.id_token(RSAKey.generate_key(2048))


def changed(liar: LyingProvider) -> str:
    head, claims, signature = liar.id_token().split(".")
    fields = json.loads(base64.urlsafe_b64decode(f"{claims}==")) | {"sub": "root"}
    return f"{head}.{encoded(fields)}.{signature}"


def with_own_key(liar: LyingProvider) -> str:
    """A token that brings the key with which it is to be checked."""
    own = RSAKey.generate_key(2048)
    liar.header |= {"jwk": own.as_dict(private=False), "kid": "two"}
    return liar.id_token(own)


@pytest.mark.parametrize("forged", [unsigned, signed_by_public_key, signed_by_another, changed, with_own_key])
async def test_a_forged_token_is_refused(
    liar: LyingProvider, provider: Provider, forged: Callable[[LyingProvider], str]
) -> None:
    liar.token["id_token"] = forged(liar)
    with pytest.raises(LoginFailed):
        await identity(provider)


@pytest.mark.parametrize("token", [None, 1, "", "a.b", "a.b.c", "." * 100_000, "é.é.é", {"a": 1}])
async def test_what_is_no_token_is_refused(liar: LyingProvider, provider: Provider, token: object) -> None:
    liar.token["id_token"] = token
    with pytest.raises(LoginFailed):
        await identity(provider)


async def test_new_keys_are_read_once_a_minute_at_most(
    liar: LyingProvider, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    await identity(provider)
    liar.header["kid"] = "unknown"
    for _ in range(5):
        with pytest.raises(LoginFailed):
            await identity(provider)
    assert liar.asked.count("/keys") == 1
    assert liar.asked.count("/.well-known/openid-configuration") == 1
    liar.header.clear()
    monkeypatch.setattr(liar, "key", RSAKey.generate_key(2048, {"kid": "new", "use": "sig"}))
    liar.header["kid"] = "new"
    monkeypatch.setattr(providers, "NEW_KEYS_EVERY_S", 0.0)
    assert (await identity(provider)).subject == "eve"


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://evil.example"},
        {"issuer": None},
        {"authorization_endpoint": "http://evil.example/auth"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"token_endpoint": "http://169.254.169.254/latest"},
        {"token_endpoint": "file:///etc/passwd"},
        {"token_endpoint": "https://user@evil.example/"},
        {"token_endpoint": "http://["},
        {"jwks_uri": None},
        {"jwks_uri": ["https://provider.example"]},
        {"userinfo_endpoint": "http://evil.example"},
        {"code_challenge_methods_supported": ["plain"]},
        {"code_challenge_methods_supported": 5},
        {"code_challenge_methods_supported": "S256 or so"},
    ],
)
async def test_a_provider_that_lies_about_itself_is_not_used(
    liar: LyingProvider, provider: Provider, metadata: dict[str, Any]
) -> None:
    liar.metadata |= metadata
    for _ in range(3):
        with pytest.raises(ProviderFailed) as failed:
            await url_of(provider)
        assert "CODEACT" not in failed.value.message  # Settings are for the log.
    assert len(liar.asked) == 1  # Strangers who try again do not make us ask again.


async def url_of(provider: Provider) -> str:
    return await provider.authorization_url(state="s", nonce="n", verifier="v" * 43, redirect_uri=REDIRECT)


async def test_a_provider_that_does_not_say_how_it_supports_pkce_is_used(
    liar: LyingProvider, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    liar.metadata["code_challenge_methods_supported"] = None
    await url_of(provider)
    monkeypatch.setattr(provider, "_client", None)  # The address needs neither a client nor its TLS context.
    assert "code_challenge_method=S256" in await url_of(provider)


def test_the_trusted_authorities_are_read_once() -> None:
    first, second = (provider_http.bounded_transport() for _ in range(2))
    assert first._pool._ssl_context is second._pool._ssl_context  # type: ignore[attr-defined]


async def test_those_who_waited_for_a_silent_provider_do_not_ask_it_again(
    liar: LyingProvider, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(providers, "time", SimpleNamespace(monotonic=lambda: clock.now, time=time.time))

    def late() -> Response:
        clock.now += 10
        return Response(status_code=500)

    liar.answers["/.well-known/openid-configuration"] = late
    for _ in range(3):
        with pytest.raises(ProviderFailed):
            await url_of(provider)
    assert len(liar.asked) == 1


async def test_only_so_many_sign_ins_wait_for_the_provider(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    await url_of(provider)
    monkeypatch.setattr(providers, "MOST_WAITING", 1)
    provider._at_once.total_tokens = 0
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(identity, provider)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(LoginBusy) as busy:
            await identity(provider)
        assert busy.value.status == 503
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/keys", "/token"])
@pytest.mark.parametrize(
    "answer",
    [
        endless,
        deep,
        many,
        away,
        lambda: Response(b"\x1f\x8b", headers={"content-encoding": "gzip"}),
        lambda: Response(b"no JSON"),
        lambda: JSONResponse([]),
        lambda: JSONResponse({"keys": 1, "access_token": []}),
        lambda: JSONResponse({"keys": [{"kty": "RSA"}, 1], "expires_in": "x"}),
        lambda: Response(status_code=500),
    ],
)
async def test_an_answer_that_makes_no_sense_is_an_error_in_plain_words(
    liar: LyingProvider, provider: Provider, path: str, answer: Callable[[], Response]
) -> None:
    liar.answers[path] = answer
    with pytest.raises(LoginFailed) as failed:
        await identity(provider)
    assert len(failed.value.message) < 300


@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/token"])
async def test_a_provider_that_does_not_answer_is_given_up(
    liar: LyingProvider, provider: Provider, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider_http, "DEADLINE_S", 0.5)
    liar.answers[path] = silent
    with pytest.raises(ProviderFailed):
        await identity(provider)


async def test_a_provider_that_is_down_is_an_error_in_plain_words(tmp_path: Path) -> None:
    provider = Provider(settings_of(tmp_path, **oidc_settings("http://localhost:9")))
    with pytest.raises(ProviderFailed, match="does not answer"):
        await provider.authorization_url(state="s", nonce="n", verifier="v" * 43, redirect_uri=REDIRECT)


async def test_the_description_of_another_person_is_not_taken(liar: LyingProvider, provider: Provider) -> None:
    liar.metadata["userinfo_endpoint"] = f"{liar.issuer}/userinfo"
    with pytest.raises(ProviderFailed, match="another person"):
        await identity(provider)


async def test_the_provider_is_asked_for_an_address_if_a_rule_needs_one(liar: LyingProvider, tmp_path: Path) -> None:
    liar.metadata["userinfo_endpoint"] = f"{liar.issuer}/userinfo"
    described = {"sub": "eve", "email": "eve@example.com", "email_verified": True}
    liar.answers["/userinfo"] = lambda: JSONResponse(described)
    liar.claims |= {"groups": ["staff"], "email_verified": False}
    by_groups, by_address = (
        Provider(settings_of(tmp_path, **oidc_settings(liar.issuer, login_users=rule)))
        for rule in ("staff", "*@example.com")
    )
    assert (await identity(by_groups)).email == ""
    assert "/userinfo" not in liar.asked
    assert (await identity(by_address)).email == "eve@example.com"
    # What the token says of an address counts for no other one.
    described["email_verified"] = False
    liar.claims["email_verified"] = True
    assert (await identity(by_address)).email == ""


@pytest.mark.parametrize(
    ("groups", "read"),
    [
        (["a", 1, None, "b", "x" * 300], {"a", "b"}),
        ("a", {"a"}),
        ({"a": 1}, set()),
        ([["a"]], set()),
        (["a"] * 5000, {"a"}),
    ],
)
async def test_groups_are_read_within_bounds(
    liar: LyingProvider, provider: Provider, groups: object, read: set[str]
) -> None:
    liar.claims["groups"] = groups
    assert (await identity(provider)).groups == read


async def test_groups_are_found_by_a_path(liar: LyingProvider, tmp_path: Path) -> None:
    path = oidc_settings(liar.issuer, oidc_groups_claim="realm_access.roles")
    liar.claims["realm_access"] = {"roles": ["staff"]}
    assert (await identity(Provider(settings_of(tmp_path, **path)))).groups == {"staff"}


async def test_a_name_is_one_line_that_cannot_turn_the_text_around_it(liar: LyingProvider, provider: Provider) -> None:
    liar.claims |= {"name": "Eve\u202e\n\x1b[31m<b>", "email": "root@example.com"}
    found = await identity(provider)
    assert found.name == "Eve[31m<b>"
    assert found.email == ""  # The provider has not verified it.


@pytest.mark.parametrize(
    "email", [f"{'x' * 188}@example.com.evil.net", "ali\u200bce@example.com", " alice@example.com", ["a@example.com"]]
)
async def test_an_address_counts_to_the_letter_or_not_at_all(
    liar: LyingProvider, provider: Provider, email: object
) -> None:
    liar.claims |= {"email": email, "email_verified": True}
    assert (await identity(provider)).email == ""


@pytest.mark.parametrize(
    ("groups", "email", "role"),
    [
        ({"staff"}, "", "user"),
        ({"staff", "ops"}, "", "operator"),
        ({"boss"}, "", "admin"),
        (set(), "Alice@Example.com", "operator"),
        (set(), "bob@example.com", "user"),
        (set(), "KATE@example.com", "operator"),
        (set(), "\u212aate@example.com", "user"),
        (set(), "bob@sub.example.com", None),
        (set(), "bob@example.com.evil.com", None),
        (set(), "@example.com", None),
        (set(), "example.com", None),
        ({"*"}, "", None),
        ({"*@example.com"}, "", None),
        (set(), "", None),
    ],
)
async def test_a_role_is_given_by_groups_and_verified_addresses(groups: set[str], email: str, role: str | None) -> None:
    rules = (
        ("user", {"staff", "*@example.com"}),
        ("operator", {"ops", "alice@example.com", "kate@example.com"}),
        ("admin", {"boss"}),
    )
    assert role_of(rules, groups=groups, email=email) == role  # type: ignore[arg-type]
