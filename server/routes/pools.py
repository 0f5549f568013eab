"""`GET /v1/pool`: the sandboxes of this server and of every other one of the database."""

from typing import Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from codeact.server.auth.caller import Caller, caller_of
from codeact.server.auth.origin_check import Forbidden
from codeact.server.errors import json_response
from codeact.server.openapi import operation
from codeact.server.peers.client import Peers
from codeact.server.peers.everywhere import ask_each
from codeact.server.routes.health import shown
from codeact.server.services import Services
from sandbox_pool import PoolStats

__all__ = ["POOL", "own_pool", "routes"]

POOL = "/internal/v1/pool"


class ServerPool(msgspec.Struct, kw_only=True):
    """The pool of one server. While it is starting, or after it failed, `pool` is null and `summary` says why."""

    server: str = ""
    backend: str | None = None
    summary: str
    max_size: int | None = None
    pool: PoolStats | None = None
    leaked: int | None = None


class PoolObject(ServerPool, kw_only=True):
    """The pool of the server that answers. `others` are the other servers of the database, at most 100.

    Of a server that does not answer within 2 s, `summary` says that, and the rest is null.
    """

    object: Literal["codeact:pool"] = "codeact:pool"
    others: list[ServerPool] = msgspec.field(default_factory=list)


@operation(PoolObject)
async def pool(request: Request) -> Response:
    """`GET /v1/pool`, for operators: the pool's counters, how many sandboxes dead servers have left, all servers."""
    caller = caller_of(request)
    if not caller.operator:
        raise Forbidden("The pool is shown to operators; this key is not one.", code="operators_only")
    services: Services = request.app.state.codeact
    own = await _own(services)
    fields = {name: getattr(own, name) for name in ServerPool.__struct_fields__}
    others = await _others(services.peers, caller) if services.peers is not None else []
    return json_response(PoolObject(**fields, others=others))


async def own_pool(scope: Scope, receive: Receive, send: Send) -> None:
    """This server's pool, for another server."""
    services: Services = scope["app"].state.codeact
    await json_response(await _own(services))(scope, receive, send)


async def _own(services: Services) -> ServerPool:
    opened = services.pool.started
    name = services.peers.directory.name if services.peers is not None else ""
    if opened is None:
        return ServerPool(server=name, summary=str(shown(services.pool)["detail"]))
    return ServerPool(
        server=name,
        backend=opened.value.backend.name,
        summary=opened.summary,
        max_size=opened.value.max_size,
        pool=opened.value.stats(),
        leaked=len(await opened.value.backend.list()),
    )


async def _others(peers: Peers, caller: Caller) -> list[ServerPool]:
    found = await ask_each(peers, list(peers.directory.others), POOL, ServerPool, caller=caller)
    silent = "This server does not answer."
    return [pool or ServerPool(server=name, summary=silent) for name, pool in found.items()]


routes = [Route("/v1/pool", pool, methods=["GET"])]
