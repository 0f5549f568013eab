"""An HTTP client for MCP servers that strangers name: it connects only to addresses of the public internet."""

import socket
from collections.abc import Iterable, Mapping
from typing import Any

import anyio
import httpcore2
import httpx2
from mcp.shared._httpx_utils import MCP_DEFAULT_SSE_READ_TIMEOUT, MCP_DEFAULT_TIMEOUT

from codeact.public_addresses import PrivateAddress
from sandbox_pool.egress.addresses import is_public

__all__ = ["public_client"]


class _PublicBackend(httpcore2.AnyIOBackend):
    """Resolves the name itself and connects to an address that it checked, so that the name cannot change meanwhile."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        with anyio.fail_after(timeout):
            found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        address = next((str(each[4][0]) for each in found if is_public(str(each[4][0]))), None)
        if address is None:
            raise PrivateAddress(f"{host} has no public address")
        return await super().connect_tcp(address, port, timeout, local_address, socket_options)


def public_client(headers: Mapping[str, str]) -> httpx2.AsyncClient:
    """A client with the timeouts of the official one. It uses no proxy and follows no redirects to other origins."""
    transport = httpx2.AsyncHTTPTransport(trust_env=False)
    transport._pool._network_backend = _PublicBackend()
    timeout = httpx2.Timeout(MCP_DEFAULT_TIMEOUT, read=MCP_DEFAULT_SSE_READ_TIMEOUT)
    return httpx2.AsyncClient(headers=dict(headers), timeout=timeout, transport=transport, trust_env=False)
