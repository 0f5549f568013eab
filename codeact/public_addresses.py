"""Keeps connections that strangers or settings ask for away from private networks, also when a name resolves to one."""

from urllib.parse import urlsplit

from sandbox_pool.egress.addresses import is_public

__all__ = ["PrivateAddress", "check_url"]


class PrivateAddress(OSError):
    """The host is not on the public internet. The message names it."""


def check_url(url: str, *, allow_private: bool) -> str:
    """Returns the URL. Raises `ValueError` unless it is `https://`, or `http://` with `allow_private`, with a host.

    A host that is a private address is refused here, a name that resolves to one by `PublicResolver`.
    """
    from yarl import URL  # Imported at the first use, so that a server listens earlier.

    parts = urlsplit(url)
    if parts.scheme not in (("https", "http") if allow_private else ("https",)) or not parts.hostname:
        raise ValueError("it must begin with https://" + (" or http://" if allow_private else ""))
    if parts.username is not None or parts.password is not None:
        raise ValueError("it must not contain a user name or a password")
    _ = parts.port  # Raises `ValueError` if it is no number.
    for host in (parts.hostname, URL(url).host or ""):  # aiohttp connects to yarl's, which has normalised digits.
        is_address = ":" in host or host.replace(".", "").isdigit()
        if not allow_private and is_address and not is_public(host):
            raise ValueError(f"{host} is a private address")
    return url
