"""Validates the origin of a web page (RFC 6454), in the form that browsers send."""

from urllib.parse import urlsplit

__all__ = ["exact_origin"]

PORTS = {"http": 80, "https": 443, "chrome-extension": None, "moz-extension": None}
MOST_CHARS, SHOWN_CHARS = 300, 100
"""A host name has at most 253 characters."""


def exact_origin(text: str) -> str:
    """Returns the text. Raises `ValueError` unless it is `scheme://host[:port]` exactly as in a browser's `Origin`
    header.
    """
    example = f"'{text[:SHOWN_CHARS]}' is no exact origin such as https://shop.example or http://localhost:3000"
    if len(text) > MOST_CHARS:
        raise ValueError(f"{example}: it has more than {MOST_CHARS} characters")
    if not text.isascii():  # Checked before `urlsplit`, which normalises the host in quadratic time.
        raise ValueError(f"{example}: a host is written in ASCII (punycode)")
    if "*" in text:
        raise ValueError(f"{example}: wildcards are not taken, list each origin")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{example}: {error}") from None
    if parts.scheme not in PORTS or not parts.hostname:
        raise ValueError(f"{example}: it must begin with https:// or http:// and a host")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    written = f"{parts.scheme}://{host}" + ("" if port in (None, PORTS[parts.scheme]) else f":{port}")
    if any(character in " ;,'\"\\<>%" or not character.isprintable() for character in text):
        raise ValueError(f"{example}: it may hold letters, digits, dots and hyphens of ASCII")
    if text != written:
        raise ValueError(f"{example}: write {written}")
    return text
