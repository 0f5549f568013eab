"""The OpenID provider: finds its addresses and keys, and exchanges the code of a sign-in for who somebody is.

Authorization Code flow with PKCE (RFC 6749, 7636; OpenID Connect Core and Discovery 1.0; RFC 9207).
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import anyio
import msgspec
import structlog

from codeact.loopback import is_loopback
from codeact.server.login.errors import LoginBusy, LoginFailed, LoginRefused, ProviderFailed
from codeact.server.login.id_tokens import UnknownKey, claims_of
from codeact.settings import Settings
from codeact.thread_imports import import_in_thread
from sandbox_pool import json_size

if TYPE_CHECKING:
    from joserfc.jwk import KeySet

__all__ = ["Identity", "Provider"]

log = structlog.get_logger(__name__)

CACHED_S = 3600.0
FAILURE_CACHED_S = 5.0
"""Strangers can begin sign-ins without end: a provider that does not answer is asked once in this time."""
NEW_KEYS_EVERY_S = 60.0
MOST_VALUES, DEEPEST = 20_000, 20
MOST_GROUPS, MOST_CHARS = 1_000, 200
MOST_AT_ONCE, MOST_WAITING = 16, 64
UNUSABLE = "The provider describes itself in a way that this server does not accept; the server's log has the reason."
LIBRARIES = (
    "authlib.integrations.httpx_client",
    "authlib.oauth2.rfc7636",
    "joserfc.jwk",
    "joserfc.jwt",
    "codeact.server.login.provider_http",
)
"""What a sign-in imports: half a second's work, which a server without sign-ins never does."""
NONSENSE = (ValueError, TypeError, KeyError, AttributeError, RecursionError)
"""What the libraries raise for values of the provider that are not of the expected form."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom the provider has named. `email` is empty unless the provider has verified it."""

    issuer: str
    subject: str
    name: str
    email: str
    groups: frozenset[str]


class Provider:
    """One provider, named by the settings. Safe for concurrent calls; cancelling is safe.

    What it publishes is cached for an hour; a token that is signed with an unknown key has the keys read anew, at most
    once a minute. Every method raises `ProviderFailed` if the provider does not answer or lies, and `LoginBusy` if more
    than `MOST_WAITING` calls wait for it already.
    """

    def __init__(self, settings: Settings) -> None:
        assert settings.oidc_issuer is not None
        assert settings.oidc_client_id is not None
        self.issuer = settings.oidc_issuer
        self._client_id = settings.oidc_client_id
        secret = settings.oidc_client_secret
        self._secret = secret.get_secret_value() if secret is not None else None
        self._scopes = settings.oidc_scopes
        self._groups_claim = settings.oidc_groups_claim
        self._needs_email = any("@" in one for _, rule in settings.login_rules for one in rule)
        self._lock = anyio.Lock()
        self._at_once = anyio.CapacityLimiter(MOST_AT_ONCE)
        self._metadata: dict[str, Any] | None = None
        self._keys: KeySet | None = None
        self._read_at = self._failed_at = self._keys_at = float("-inf")
        self._failure = ""

    async def authorization_url(self, *, state: str, nonce: str, verifier: str, redirect_uri: str) -> str:
        """Where the browser goes to sign in."""
        await import_in_thread(*LIBRARIES)
        from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
        from authlib.oauth2.rfc7636 import create_s256_code_challenge

        metadata = await self._published()
        url = prepare_grant_uri(
            metadata["authorization_endpoint"],
            self._client_id,
            "code",
            redirect_uri=redirect_uri,
            scope=self._scopes,
            state=state,
            nonce=nonce,
            code_challenge=create_s256_code_challenge(verifier),
            code_challenge_method="S256",
        )
        return str(url)

    async def identity(
        self, code: str, *, nonce: str, verifier: str, redirect_uri: str, issuer: str | None
    ) -> Identity:
        """Who has signed in. `issuer` is the one that the browser came back with, if any (RFC 9207).

        Raises `LoginRefused` if the provider does not accept the code, `LoginFailed` if its token is not valid.
        """
        await import_in_thread(*LIBRARIES)
        metadata = await self._published()
        if issuer is not None and issuer != self.issuer:
            raise LoginFailed("Another provider than the one of this server answered.")
        if issuer is None and metadata.get("authorization_response_iss_parameter_supported") is True:
            raise LoginFailed("The provider's answer does not say which provider it is from.")
        _check_queue(self._at_once.statistics().tasks_waiting)
        async with self._at_once, self._client(redirect_uri) as client:
            token = await self._exchange(client, metadata["token_endpoint"], code, verifier)
            claims = await self._claims(token.get("id_token"), nonce)
            lacks = self._path(claims) is None or (self._needs_email and "email" not in claims)
            if lacks and isinstance(metadata.get("userinfo_endpoint"), str):
                more = await self._get(client, metadata["userinfo_endpoint"], token=True)
                if more.get("sub") != claims["sub"]:
                    raise ProviderFailed("The provider described another person than the one who signed in.")
                claims = _joined(claims, more)
        return self._identity(claims)

    async def _exchange(self, client: Any, endpoint: str, code: str, verifier: str) -> Mapping[str, Any]:
        import httpx2
        from authlib.common.errors import AuthlibBaseError

        from codeact.server.login.provider_http import DEADLINE_S

        try:
            with anyio.fail_after(DEADLINE_S):
                token = await client.fetch_token(endpoint, code=code, code_verifier=verifier)
        except AuthlibBaseError as error:
            # The provider's own word, such as `invalid_grant`; the log has it, and the page a fixed sentence.
            log.warning("the provider did not accept a sign-in", reason=str(error)[:MOST_CHARS])
            raise LoginRefused("The provider did not accept this sign-in. Begin again.") from None
        except (httpx2.HTTPError, TimeoutError, *NONSENSE) as error:
            raise self._unanswered(error, "did not confirm this sign-in") from None
        if not isinstance(token, dict):
            raise ProviderFailed("The provider's answer to this sign-in makes no sense.")
        return token

    async def _claims(self, id_token: object, nonce: str) -> dict[str, Any]:
        async def read() -> dict[str, Any]:
            keys = await self._published_keys()
            return claims_of(
                id_token, keys, issuer=self.issuer, client_id=self._client_id, nonce=nonce, now=time.time()
            )

        try:
            return await read()
        except UnknownKey:
            if time.monotonic() - self._keys_at < NEW_KEYS_EVERY_S:
                raise
            self._keys = None
            return await read()

    # ---- what the provider publishes -----------------------------------------------------------------

    async def _published(self) -> dict[str, Any]:
        _check_queue(self._lock.statistics().tasks_waiting)
        async with self._lock:
            now = time.monotonic()
            if self._metadata is not None and now - self._read_at < CACHED_S:
                return self._metadata
            if now - self._failed_at < FAILURE_CACHED_S:
                raise ProviderFailed(self._failure)
            try:
                async with self._client("") as client:
                    found = await self._get(client, f"{self.issuer.rstrip('/')}/.well-known/openid-configuration")
                if (problem := self._problem(found)) is not None:
                    log.warning("the OpenID provider is not usable", issuer=self.issuer, reason=problem)
                    raise ProviderFailed(UNUSABLE)
            except ProviderFailed as error:
                # The time now, not that before the wait: those who waited for the lock must find it fresh.
                self._failed_at, self._failure = time.monotonic(), error.message
                raise
            self._metadata, self._read_at, self._keys = found, now, None
            return found

    async def _published_keys(self) -> "KeySet":
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        metadata = await self._published()
        async with self._lock:
            if self._keys is None:
                async with self._client("") as client:
                    found = await self._get(client, metadata["jwks_uri"])
                self._keys_at = time.monotonic()
                try:
                    usable = [key for key in found["keys"] if key.get("kty") in ("RSA", "EC", "OKP")]
                    self._keys = KeySet.import_key_set({"keys": usable})
                except (JoseError, *NONSENSE):
                    raise ProviderFailed("The keys that the provider publishes cannot be read.") from None
            return self._keys

    def _problem(self, metadata: dict[str, Any]) -> str | None:
        """Why the server does not use a provider that describes itself so; for the log, not for strangers."""
        if metadata.get("issuer") != self.issuer:
            return (
                f"The provider calls itself {str(metadata.get('issuer'))[:MOST_CHARS]!r}, and CODEACT_OIDC_ISSUER is"
                f" {self.issuer!r}. Both must be the same, to the letter."
            )
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"):
            url = metadata.get(name)
            if url is None and name == "userinfo_endpoint":
                continue
            if not isinstance(url, str) or not _is_safe(url, self.issuer):
                return f"The provider's {name!r} is no https:// address."
        methods = metadata.get("code_challenge_methods_supported")
        if methods is not None and not (isinstance(methods, list) and "S256" in methods):
            return "The provider says that it does not support PKCE with S256."
        return None

    async def _get(self, client: Any, url: str, *, token: bool = False) -> dict[str, Any]:
        import httpx2
        from authlib.common.errors import AuthlibBaseError

        from codeact.server.login.provider_http import DEADLINE_S

        try:
            with anyio.fail_after(DEADLINE_S):
                answer = await client.request("GET", url, withhold_token=not token)
            if answer.status_code != 200:
                raise ValueError(f"the status is {answer.status_code}")
            json_size.check(answer.content, most=MOST_VALUES, depth=DEEPEST)
            found = msgspec.json.decode(answer.content)
        except (httpx2.HTTPError, httpx2.InvalidURL, AuthlibBaseError, TimeoutError, *NONSENSE) as error:
            raise self._unanswered(error, "does not answer as an OpenID provider does") from None
        if not isinstance(found, dict):
            raise ProviderFailed("The provider's answer is not a JSON object.")
        return found

    def _unanswered(self, error: Exception, what: str) -> ProviderFailed:
        log.warning("the OpenID provider failed", issuer=self.issuer, reason=f"{type(error).__name__}: {error}"[:300])
        return ProviderFailed(f"The provider {what}. Try again in a moment; the server's log has the reason.")

    def _client(self, redirect_uri: str) -> Any:
        from authlib.integrations.httpx_client import AsyncOAuth2Client

        from codeact.server.login.provider_http import DEADLINE_S, bounded_transport

        return AsyncOAuth2Client(
            client_id=self._client_id,
            client_secret=self._secret,
            scope=self._scopes,
            redirect_uri=redirect_uri,
            token_endpoint_auth_method="client_secret_basic" if self._secret is not None else "none",
            code_challenge_method="S256",
            transport=bounded_transport(),
            timeout=DEADLINE_S,
            follow_redirects=False,
            trust_env=False,
        )

    # ---- who it is -----------------------------------------------------------------------------------

    def _path(self, claims: Mapping[str, Any]) -> Any:
        """The value of the groups' claim; None if it is missing."""
        if self._groups_claim in claims:
            return claims[self._groups_claim]
        value: Any = claims
        for name in self._groups_claim.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        return value

    def _identity(self, claims: Mapping[str, Any]) -> Identity:
        groups = self._path(claims)
        if groups is None and "_claim_names" in claims:
            log.warning("the provider left the groups out, as somebody is in too many; give it app roles instead")
        named = [groups] if isinstance(groups, str) else groups if isinstance(groups, list) else []
        names = frozenset(one for one in named[:MOST_GROUPS] if isinstance(one, str) and len(one) <= MOST_CHARS)
        # Rules match the address that the provider has verified, to the letter: a shortened one may be another's.
        email = claims.get("email") if claims.get("email_verified") is True else ""
        email = email if isinstance(email, str) and _short(email) == email else ""
        shown = next(filter(None, (_short(claims.get(name)) for name in ("name", "preferred_username", "email"))), "")
        return Identity(self.issuer, claims["sub"], shown, email, names)


def _joined(claims: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """The token's claims, and what else the provider says about the person.

    An address and whether it is verified are taken from the same of both.
    """
    source = more if "email" in more else claims
    return {**more, **claims, **{name: source.get(name) for name in ("email", "email_verified")}}


def _check_queue(waiting: int) -> None:
    if waiting >= MOST_WAITING:
        raise LoginBusy("Too many people sign in at this moment. Try again in a minute.")


def _short(value: object) -> str:
    """A text of one printable line, without what would turn the direction of the text around it."""
    text = value[:MOST_CHARS] if isinstance(value, str) else ""
    return "".join(each for each in text if each.isprintable()).strip()


def _is_safe(url: str, issuer: str) -> bool:
    """Whether this is https, or http on this machine if the issuer is there too."""
    try:
        parts, own = urlsplit(url), urlsplit(issuer)
    except ValueError:
        return False
    if not url.isascii() or not url.isprintable() or parts.hostname is None or "@" in parts.netloc:
        return False
    return parts.scheme == "https" or (
        parts.scheme == own.scheme == "http" and is_loopback(parts.hostname) and is_loopback(own.hostname)
    )
