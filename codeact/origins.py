"""Origins of web pages (RFC 6454): text enters; it leaves if it is as browsers write it, else what is wrong does."""

from urllib.parse import urlsplit

__all__ = ["exact_origin"]

PORTS = {"http": 80, "https": 443, "chrome-extension": None, "moz-extension": None}


def exact_origin(text: str) -> str:
    """The same text. Raises `ValueError` unless it is `scheme://host[:port]` just as a browser's `Origin` has it."""
    example = f"'{text}' is no exact origin such as https://shop.example or http://localhost:3000"
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
    if not text.isascii() or any(character in " ;,'\"\\<>%" or not character.isprintable() for character in text):
        raise ValueError(f"{example}: a host is written in ASCII (punycode)")
    if text != written:
        raise ValueError(f"{example}: write {written}")
    return text
