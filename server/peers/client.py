"""Sends signed requests to other servers of the database."""

import string
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from urllib.parse import quote

import httpx
import structlog

from codeact.errors import InvalidRequest
from codeact.server.auth.caller import Caller
from codeact.server.auth.current_caller import current_request
from codeact.server.base_url import base_url
from codeact.server.peers.directory import Directory
from codeact.server.peers.signing import HEADER, Claims, sha256_of, sign
from codeact.server.peers.spool import Spool
from codeact.store import Store

__all__ = ["GetStore", "PeerUnreachable", "Peers"]

GetStore = Callable[[], Awaitable[Store]]

log = structlog.get_logger(__name__)

CONNECT_TIMEOUT_S = 2.0
MOST_CONNECTIONS, MOST_IDLE = 1_000, 20


class PeerUnreachable(Exception):
    """The other server did not answer, or did not recognise the request as one that was passed on.

    `was_sent`: it may have received the request nevertheless.
    """

    def __init__(self, name: str, *, was_sent: bool) -> None:
        super().__init__(name)
        self.was_sent = was_sent


class Peers:
    """The other servers. A request that one of them has passed on must not be passed on again."""

    def __init__(self, directory: Directory, secret: bytes, client: httpx.AsyncClient, get_store: GetStore) -> None:
        self.directory = directory
        self._get_store = get_store
        self._secret = secret
        self._client = client

    @classmethod
    @asynccontextmanager
    async def open(
        cls, directory: Directory, secret: bytes, get_store: GetStore, *, answer_s: float
    ) -> AsyncIterator["Peers"]:
        """Keeps connections until the end of the block. A server that sends nothing for `answer_s` is given up."""
        timeout = httpx.Timeout(answer_s, connect=CONNECT_TIMEOUT_S)
        limits = httpx.Limits(max_connections=MOST_CONNECTIONS, max_keepalive_connections=MOST_IDLE)
        async with httpx.AsyncClient(timeout=timeout, limits=limits, trust_env=False) as client:
            yield cls(directory, secret, client, get_store)

    async def send(
        self,
        name: str,
        method: str,
        path: bytes,
        *,
        caller: Caller,
        body: Spool,
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> httpx.Response:
        """The answer, of which nothing but the head has been read; close it. `path` is encoded, with its query.

        Raises `PeerUnreachable`, `InvalidRequest` if no URL can have this path, and `StoreError` if the server's
        address has to be looked for.
        """
        url = await self._url_of(name)
        if url is None:
            raise PeerUnreachable(name, was_sent=False)
        target = _target(url, path)
        claims = Claims(
            sender=self.directory.name,
            receiver=name,
            method=method,
            path_sha256=sha256_of(target.raw_path),
            body_sha256=body.sha256,
            at=self.directory.now(),
            caller=caller,
            address=current_request().address,
            base_url=base_url(),
        )
        own = [(HEADER.encode(), sign(claims, self._secret).encode()), (b"content-length", b"%d" % body.size_bytes)]
        request = self._client.build_request(method, target, headers=[*headers, *own], content=body.pieces())
        try:
            answer = await self._client.send(request, stream=True)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            log.warning("another server cannot be reached", server=name, url=url, reason=str(error))
            self.directory.lost(name)
            raise PeerUnreachable(name, was_sent=False) from error
        except httpx.HTTPError as error:
            log.warning("another server does not answer", server=name, url=url, reason=repr(error))
            raise PeerUnreachable(name, was_sent=True) from error
        if answer.headers.get(HEADER) != claims.nonce:
            log.warning("another server did not accept a request", server=name, url=url, status=answer.status_code)
            await answer.aclose()
            raise PeerUnreachable(name, was_sent=True)
        return answer

    async def _url_of(self, name: str) -> str | None:
        """The server's address; looks for it in the database if it is not known, since it may have just begun."""
        url = self.directory.url_of(name)
        if url is None:
            await self.directory.look(await self._get_store())
            url = self.directory.url_of(name)
        return url


def _target(url: str, path: bytes) -> httpx.URL:
    """The URL as it is sent: httpx writes some paths differently. Raises `InvalidRequest`."""
    try:
        return httpx.URL(url).copy_with(raw_path=quote(path.decode("latin-1"), safe=string.punctuation).encode())
    except httpx.InvalidURL as error:
        raise InvalidRequest(f"The request's path cannot be passed on to another server: {error}.") from None
