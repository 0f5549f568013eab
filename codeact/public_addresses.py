"""Keeps connections that strangers or settings ask for away from private networks, also when a name resolves to one."""

import socket
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from sandbox_pool.egress.addresses import is_public

__all__ = ["PrivateAddress", "PublicResolver", "check_url", "public_session"]


class PrivateAddress(OSError):
    """The host is not on the public internet. The message names it."""


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
