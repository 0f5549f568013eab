"""HTTP to the OpenID provider, with limits: the size of answers, no compression, no redirects, a deadline."""

import ssl
from collections.abc import AsyncIterator
from functools import cache

import httpx2

__all__ = ["DEADLINE_S", "MOST_BYTES", "TooLarge", "bounded_transport"]

MOST_BYTES = 1_000_000
DEADLINE_S = 10.0
"""For one whole request, however slowly the bytes arrive."""


class TooLarge(httpx2.TransportError):
    """The answer has too many bytes, or is compressed."""


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for piece in self._stream:
            size += len(piece)
            if size > MOST_BYTES:
                raise TooLarge(f"the answer is over {MOST_BYTES} bytes")
            yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Transport(httpx2.AsyncHTTPTransport):
    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        request.headers["accept-encoding"] = "identity"
        response = await super().handle_async_request(request)
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            await response.aclose()
            raise TooLarge("the answer is compressed, which was not asked for")
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _Bounded(response.stream)
        return response


def bounded_transport() -> httpx2.AsyncBaseTransport:
    """A transport for one client of httpx2."""
    return _Transport(verify=_trusted())


@cache
def _trusted() -> ssl.SSLContext:
    """The authorities that are trusted. Reading them takes some 20 ms, so that is done once."""
    return httpx2.create_ssl_context()
