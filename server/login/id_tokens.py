"""Checks ID tokens (OpenID Connect Core 1.0, 3.1.3.7). Pure: the keys and the time are passed in."""

import hmac
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from codeact.server.login.errors import LoginFailed

if TYPE_CHECKING:
    from joserfc.jwk import KeySet

__all__ = ["ALGORITHMS", "UnknownKey", "claims_of"]

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA")
"""Signatures with a public key. Never `none`, and never HMAC, whose key a client would share."""
MOST_CHARS = 64_000
LEEWAY_S = 60
"""How much the clocks of the provider and of this server may differ."""
OLDEST_S = 600
"""A token answers a sign-in that has just happened, so it is not older than this."""
MOST_SUBJECT_CHARS = 255


class UnknownKey(LoginFailed):
    """The token is signed with a key that is not in the given set; the provider may have a new one."""


def claims_of(token: object, keys: "KeySet", *, issuer: str, client_id: str, nonce: str, now: float) -> dict[str, Any]:
    """The claims of a valid token for this client and this sign-in. Raises `LoginFailed`, which says what is wrong."""
    from joserfc import jwt
    from joserfc.errors import JoseError

    if not isinstance(token, str) or len(token) > MOST_CHARS:
        raise LoginFailed("The provider gave no ID token, or one that is too long.")
    try:
        claims = jwt.decode(token, lambda guest: _key(keys, guest.headers()), algorithms=ALGORITHMS).claims
    except (JoseError, ValueError, TypeError, KeyError, RecursionError):
        raise LoginFailed("The signature of the provider's ID token is not valid.") from None
    problem = _problem(claims, issuer=issuer, client_id=client_id, nonce=nonce, now=now)
    if problem is not None:
        raise LoginFailed(f"The provider's ID token is not valid: {problem}.")
    return dict(claims)


def _key(keys: "KeySet", header: Mapping[str, Any]) -> Any:
    """The key that the header names; without a name, the only one that fits."""
    kind = {"R": "RSA", "P": "RSA", "E": "EC"}.get(str(header.get("alg"))[:1], "")
    kind = "OKP" if str(header.get("alg")).startswith("Ed") else kind
    fit = [key for key in keys.keys if key.key_type == kind and key.get("use", "sig") == "sig"]
    named = [key for key in fit if "kid" not in header or key.kid == header["kid"]]
    if len(named) != 1:
        raise UnknownKey("The provider's ID token is signed with a key that the provider does not publish.")
    return named[0]


def _problem(claims: Mapping[str, Any], *, issuer: str, client_id: str, nonce: str, now: float) -> str | None:
    audience = claims.get("aud")
    audiences = [audience] if isinstance(audience, str) else audience if isinstance(audience, list) else []
    subject = claims.get("sub")
    if claims.get("iss") != issuer:
        return "another issuer made it"
    if client_id not in audiences:
        return "it is for another client"
    if claims.get("azp", client_id) != client_id or (len(audiences) > 1 and "azp" not in claims):
        return "it was given to another client"
    if not isinstance(subject, str) or not 0 < len(subject) <= MOST_SUBJECT_CHARS or not subject.isprintable():
        return "it does not name anybody"
    given = claims.get("nonce")
    if not isinstance(given, str) or not given.isascii() or not hmac.compare_digest(given, nonce):
        return "it belongs to another sign-in"
    times = {name: claims.get(name) for name in ("exp", "iat")}
    if not all(isinstance(time, int | float) and not isinstance(time, bool) for time in times.values()):
        return "its times are missing"
    if not times["exp"] > now - LEEWAY_S:  # type: ignore[operator]  # checked above; NaN is refused
        return "it has expired; the clock of this server or of the provider may be wrong"
    if not now - OLDEST_S < times["iat"] <= now + LEEWAY_S:  # type: ignore[operator]
        return "it was not made just now; the clock of this server or of the provider may be wrong"
    not_before = claims.get("nbf", 0)
    if not isinstance(not_before, int | float) or not not_before <= now + LEEWAY_S:
        return "it is not valid yet; the clock of this server or of the provider may be wrong"
    return None
