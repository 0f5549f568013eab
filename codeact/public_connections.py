"""Connections of aiohttp that reach only public addresses. Import this at its first use, since aiohttp takes time."""

import socket

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from codeact.public_addresses import PrivateAddress
from sandbox_pool.egress.addresses import is_public

__all__ = ["PublicResolver", "public_session"]


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
