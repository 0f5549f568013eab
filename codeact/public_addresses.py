"""Keeps connections that strangers or settings ask for away from private networks, also when a name resolves to one."""

import ipaddress
import socket
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

__all__ = ["PrivateAddress", "PublicResolver", "check_url", "is_public", "public_session"]


WITH_IPV4 = tuple(map(ipaddress.IPv6Network, ("64:ff9b:1::/48", "::/96", "::ffff:0:0:0/96")))
"""IPv6 addresses that a network may translate to IPv4 ones (RFC 8215, RFC 4291, RFC 2765), also to private ones."""


class PrivateAddress(OSError):
    """The host is not on the public internet. The message names it."""


def is_public(address: str) -> bool:
    """Whether the address is one of the public internet.

    IPv4 addresses inside IPv6 ones count as themselves, or are refused where no public service has such an address.
    """
    try:
        known = ipaddress.ip_address(address.partition("%")[0].strip("[]"))
    except ValueError:
        return False
    if isinstance(known, ipaddress.IPv6Address):
        inner = known.ipv4_mapped or known.sixtofour or (known.teredo or (None, None))[1]
        if inner is not None:
            return is_public(str(inner))
        if known in ipaddress.ip_network("64:ff9b::/96"):
            return is_public(str(ipaddress.IPv4Address(int(known) & 0xFFFFFFFF)))
        if known.is_site_local or any(known in network for network in WITH_IPV4):
            return False
    return known.is_global and not known.is_multicast


def check_url(url: str, *, allow_private: bool) -> str:
    """Returns the URL. Raises `ValueError` unless it is `https://`, or `http://` with `allow_private`, with a host.

    A host that is a private address is refused here, a name that resolves to one when `PublicResolver` resolves it.
    """
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


class PublicResolver(AbstractResolver):
    """Resolves host names for aiohttp, and raises `PrivateAddress` if none of the addresses is public.

    The connection is made to an address that was checked, so that a name cannot change its meaning in between.
    """

    def __init__(self) -> None:
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = [each for each in await self._resolver.resolve(host, port, family) if is_public(each["host"])]
        if not found:
            raise PrivateAddress(f"{host} has no public address")
        return found

    async def close(self) -> None:
        await self._resolver.close()


def public_session(*, timeout_s: float, allow_private: bool) -> aiohttp.ClientSession:
    """A session whose connections end after `timeout_s` and, without `allow_private`, reach only public addresses.

    Check each URL with `check_url` and do not follow redirects: aiohttp resolves names only.
    """
    connector = aiohttp.TCPConnector(resolver=None if allow_private else PublicResolver(), use_dns_cache=False)
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    return aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False)
