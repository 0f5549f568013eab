"""Signs the requests that servers of one database send each other, and checks them. Pure.

A signature covers the sender, the receiver, the method, the path with its query, the SHA-256 of the body, the time, and
for whom the request is made. So a stranger who has recorded one can neither change it, nor send it to another server,
nor send it a second time.
"""

import base64
import hashlib
import hmac
import secrets
from collections import OrderedDict

import msgspec

from codeact.server.auth.caller import Caller

__all__ = ["HEADER", "Claims", "Verifier", "sha256_of", "sign"]

HEADER = "codeact-peer"
"""The header of a request that is passed on: its signed `Claims`.

The answer has it, too, if the receiver has accepted the request: there it is the nonce of the claims.
"""
FRESH_S = 10.0
"""How far a request's time may be from the receiver's; both use the database's clock."""
MOST_CHARS = 16_000
MOST_NONCES = 100_000
PURPOSE = b"codeact peer 1\n"


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """What a server says about a request that it passes on. `at` is a time of the database's clock, in Unix seconds.

    `path_sha256` is the hash of the path with its query, as the receiver gets it: a path may be long, and a header must
    not be. `address` and `base_url` are the client's address, and the address that the client has used for the service.
    """

    sender: str
    receiver: str
    method: str
    path_sha256: str
    body_sha256: str
    at: float
    caller: Caller
    address: str = ""
    base_url: str = ""
    nonce: str = msgspec.field(default_factory=lambda: secrets.token_hex(16))


def sha256_of(data: bytes) -> str:
    """The hash in hexadecimal, as claims have it."""
    return hashlib.sha256(data).hexdigest()


def sign(claims: Claims, secret: bytes) -> str:
    """The value of the header."""
    encoded = base64.urlsafe_b64encode(msgspec.json.encode(claims))
    return f"{encoded.decode()}.{_mac(encoded, secret)}"


class Verifier:
    """Checks the headers of incoming requests. Each is accepted once. `receiver` is this server's name."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._seen: OrderedDict[str, float] = OrderedDict()

    def check(self, header: str, *, receiver: str, method: str, path: bytes, now: float) -> Claims | None:
        """The claims of a request of another server; None if it is not one. `path` is encoded, with its query.

        The caller must compare `body_sha256` before it uses the body. Compares in constant time. If very many requests
        arrive within the time in which one is fresh, further ones are refused.
        """
        encoded, _, mac = header.partition(".")
        if len(header) > MOST_CHARS or not hmac.compare_digest(
            _mac(encoded.encode(), self._secret).encode(), mac.encode()
        ):
            return None
        try:
            claims = msgspec.json.decode(base64.urlsafe_b64decode(encoded), type=Claims)
        except ValueError:  # Another version of this server has signed it.
            return None
        if (claims.receiver, claims.method, claims.path_sha256) != (receiver, method, sha256_of(path)):
            return None
        return claims if abs(now - claims.at) <= FRESH_S and self._is_new(claims.nonce, now) else None

    def _is_new(self, nonce: str, now: float) -> bool:
        while self._seen and next(iter(self._seen.values())) < now - 2 * FRESH_S:
            self._seen.popitem(last=False)
        if nonce in self._seen or len(self._seen) >= MOST_NONCES:
            return False
        self._seen[nonce] = now
        return True


def _mac(encoded: bytes, secret: bytes) -> str:
    return hmac.new(secret, PURPOSE + encoded, hashlib.sha256).hexdigest()
