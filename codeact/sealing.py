"""Encrypts data that a client stores for the server: only the server can read it, and only for the same owner.

AES-256-GCM (NIST SP 800-38D). The kind and the owner are authenticated but not stored; the model's name is part of the
encrypted data.
"""

import base64
import binascii
import hmac
import json
import secrets
from dataclasses import dataclass

__all__ = ["KEY_BYTES", "MOST_CHARS", "PREFIX", "Sealed", "Sealer", "Unsealable"]

KEY_BYTES = 32
NONCE_BYTES = 12
MOST_CHARS = 8_000_000
"""The limit for a sealed text. A longer one is refused before it is decoded."""
PREFIX = "cs1."


class Unsealable(ValueError):
    """The text was not sealed with this key, was changed, or is of another kind or owner.

    These cannot be told apart.
    """


@dataclass(frozen=True, slots=True)
class Sealed:
    """The sealed content, and the name of the model that it belongs to; empty if none."""

    content: bytes
    model: str


class Sealer:
    """Encrypts and decrypts with one key. Safe for concurrent calls."""

    def __init__(self, key: bytes) -> None:
        # Imported here, because an agent without a server does not need it.
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._cipher = AESGCM(key)
        self._mac_key = hmac.digest(key, b"fingerprints", "sha256")

    def fingerprint(self, kind: str, *texts: str, owner: str) -> str:
        """Returns 32 hexadecimal digits: always the same for the same texts, and not to be guessed without the key."""
        message = json.dumps([kind, owner, *texts]).encode()
        return hmac.digest(self._mac_key, message, "sha256").hex()[:32]

    def seal(self, kind: str, content: bytes, *, owner: str, model: str = "") -> str:
        """Encrypts the content; returns text that reveals nothing except the content's length."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        name = model.encode()
        plain = len(name).to_bytes(4) + name + content
        return (
            PREFIX + base64.urlsafe_b64encode(nonce + self._cipher.encrypt(nonce, plain, _bound(kind, owner))).decode()
        )

    def open(self, kind: str, sealed: str, *, owner: str) -> Sealed:
        """Decrypts a text that `seal` made for this kind and owner. Raises `Unsealable`."""
        from cryptography.exceptions import InvalidTag

        if not sealed.startswith(PREFIX) or len(sealed) > MOST_CHARS:
            raise Unsealable("The text was not encrypted here.")
        try:
            text = sealed[len(PREFIX) :].encode()
            data = base64.b64decode(text, altchars=b"-_", validate=True)
            # Refuse other encodings of the same bytes: some bits of the last letter are not used.
            if base64.urlsafe_b64encode(data) != text:
                raise InvalidTag
            plain = self._cipher.decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], _bound(kind, owner))
        except (InvalidTag, binascii.Error, ValueError):
            raise Unsealable("The text was not encrypted here for this owner, or it was changed.") from None
        size = int.from_bytes(plain[:4])
        return Sealed(plain[4 + size :], plain[4 : 4 + size].decode())


def _bound(kind: str, owner: str) -> bytes:
    return json.dumps([kind, owner]).encode()
