"""An OpenID provider that lies: for the tests of what the server checks."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from joserfc import jws
from joserfc.jwk import RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.ports import free_port
from tests.web.hosts import serving

__all__ = ["LyingProvider", "lying_provider"]

CLIENT = "codeact"


@dataclass
class LyingProvider:
    """Answers truthfully, unless one of these says otherwise. `asked` counts the requests for each path."""

    issuer: str
    metadata: dict[str, Any] = field(default_factory=dict)
    claims: dict[str, Any] = field(default_factory=dict)
    header: dict[str, Any] = field(default_factory=dict)
    token: dict[str, Any] = field(default_factory=dict)
    answers: dict[str, Callable[[], Response]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    nonce: str = ""
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "one", "use": "sig"}))

    def app(self) -> Starlette:
        paths = {
            "/.well-known/openid-configuration": self._metadata,
            "/keys": lambda: {"keys": [self.key.as_dict(private=False)]},
            "/token": self._token,
            "/userinfo": lambda: {"sub": "somebody else", "groups": ["admins"]},
        }

        def route(path: str, value: Callable[[], Any]) -> Route:
            async def answer(request: Request) -> Response:
                self.asked.append(path)
                return self.answers[path]() if path in self.answers else JSONResponse(value())

            return Route(path, answer, methods=["GET", "POST"])

        return Starlette(routes=[route(path, value) for path, value in paths.items()])

    def _metadata(self) -> dict[str, Any]:
        addresses = {"authorization_endpoint": "auth", "token_endpoint": "token", "jwks_uri": "keys"}
        truth = {name: f"{self.issuer}/{path}" for name, path in addresses.items()}
        return {"issuer": self.issuer} | truth | self.metadata

    def _token(self) -> dict[str, Any]:
        return {"access_token": "x", "token_type": "Bearer", "id_token": self.id_token()} | self.token

    def id_token(self, key: RSAKey | None = None) -> str:
        now = int(time.time())
        truth = {"iss": self.issuer, "aud": CLIENT, "sub": "eve", "exp": now + 300, "iat": now, "nonce": self.nonce}
        claims = {name: value for name, value in (truth | self.claims).items() if value is not None}
        header = {"alg": "RS256", "kid": "one"} | self.header
        # `json.dumps` writes lone surrogates as escapes, as a provider can.
        return jws.serialize_compact(header, json.dumps(claims), key or self.key, algorithms=[header["alg"]])


def endless(piece: bytes = b" " * 100_000) -> Response:
    async def pieces() -> Any:
        while True:
            await asyncio.sleep(0)  # lets it notice that nobody reads any more
            yield piece

    return StreamingResponse(pieces(), media_type="application/json")


def silent() -> Response:
    async def pieces() -> Any:
        await asyncio.Event().wait()
        yield b""

    return StreamingResponse(pieces())


def deep() -> Response:
    return Response(b"[" * 100_000 + b"]" * 100_000)


def many() -> Response:
    return Response(json.dumps({"keys": [[]] * 200_000}))


def away() -> Response:
    return RedirectResponse("http://169.254.169.254/latest")


@contextmanager
def lying_provider() -> Iterator[LyingProvider]:
    port = free_port()
    provider = LyingProvider(f"http://localhost:{port}")
    with serving(provider.app(), port):
        yield provider
