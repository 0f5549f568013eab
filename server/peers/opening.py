"""Puts together what a server needs of the others, if the settings say that there are any."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

import anyio
from starlette.middleware import Middleware
from starlette.types import ASGIApp

from codeact.errors import CodeActError
from codeact.server.peers.client import GetStore, Peers
from codeact.server.peers.directory import Directory
from codeact.server.peers.inbound import FromPeers
from codeact.settings import Settings

__all__ = ["directory_of", "from_peers", "open_peers"]

LEAVE_S = 2.0


def directory_of(settings: Settings) -> Directory | None:
    """The directory of the other servers; None if the settings name none."""
    return Directory(settings.peer_url, lease_s=settings.lease_s) if settings.peer_url is not None else None


@asynccontextmanager
async def open_peers(
    settings: Settings, directory: Directory | None, get_store: GetStore
) -> AsyncIterator[Peers | None]:
    """Keeps connections to the other servers inside the `with` block; yields None if there are none.

    At the end, this server leaves the directory, so that nothing more is passed to it.
    """
    if directory is None:
        yield None
        return
    async with Peers.open(directory, _secret(settings), get_store, answer_s=settings.lease_s) as peers:
        try:
            yield peers
        finally:
            with anyio.move_on_after(LEAVE_S, shield=True), suppress(CodeActError):
                await (await get_store()).servers.leave()


def from_peers(settings: Settings, directory: Directory | None, internal: Mapping[str, ASGIApp]) -> list[Middleware]:
    """The middleware that recognises the other servers' requests, if there are others."""
    if directory is None:
        return []
    secret = _secret(settings)
    return [Middleware(FromPeers, settings=settings, directory=directory, secret=secret, internal=internal)]


def _secret(settings: Settings) -> bytes:
    assert settings.peer_secret is not None  # Checked by the settings.
    return settings.peer_secret.get_secret_value().encode()
