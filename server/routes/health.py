"""What operators and pages ask first: does the process live, is it ready, what does it run on."""

from importlib.metadata import version
from typing import Any, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from codeact.models.demo import EXAMPLES
from sandbox_pool import PoolStats
from server.auth import caller_of
from server.errors import json_response
from server.guard import Forbidden
from server.openapi import operation
from server.parts import Part
from server.state import State

__all__ = ["routes"]


DATABASE = "a database"
"""All that strangers are told of it: the summary may name a path or a host."""


class SandboxStatus(msgspec.Struct):
    """`missing` names what this machine cannot enforce."""

    backend: str
    isolated: bool
    summary: str
    missing: list[str]


class PoolLoad(msgspec.Struct):
    warm: int
    starting: int
    leased: int
    waiting: int


class Status(msgspec.Struct):
    """What is null is still starting, and `starting` says what it is at; the pool, for an embed's user, always is."""

    version: str
    model: str | None
    models: list[str]
    sandbox: SandboxStatus | None
    pool: PoolLoad | None
    store: str | None
    starting: dict[str, str]
    examples: list[str]


class PoolObject(msgspec.Struct, kw_only=True):
    """While it starts, or where it failed, `pool` is null and `summary` says what it is at."""

    object: Literal["codeact:pool"] = "codeact:pool"
    summary: str
    max_size: int | None = None
    pool: PoolStats | None = None
    leaked: int | None = None


def _part(part: Part[Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {"state": part.state}
    if part.opened is not None:
        return shown | {
            "summary": part.opened.summary,
            "why": part.opened.why,
            "hints": list(part.opened.hints),
        }
    return shown | {"detail": str(part.error) if part.error is not None else part.progress}


async def healthz(request: Request) -> Response:
    """`GET /healthz`: 200 as long as the process lives."""
    return json_response({"status": "ok"})


async def readyz(request: Request) -> Response:
    """`GET /readyz`: 200 once store, model and the pool's minimum are up; else 503 with what is missing."""
    state: State = request.app.state.codeact
    parts = {part.name: _part(part) for part in (state.store, state.models, state.pool)}
    pool = state.pool.opened
    stats = pool.value.stats() if pool is not None else None
    missing = [name for name, part in parts.items() if part["state"] != "ready"]
    if stats is not None and stats.warm + stats.leased < state.settings.pool_min:
        missing.append("warm sandboxes")
    body = {"ready": not missing, "missing": missing, **parts}
    return json_response(body, 200 if not missing else 503)


@operation(Status)
async def status(request: Request) -> Response:
    """`GET /v1/status`: what a page shows above a conversation; less to an embed's user."""
    stranger = caller_of(request).grant is not None
    state: State = request.app.state.codeact
    models, pool, store = state.models.opened, state.pool.opened, state.store.opened
    names = models.value.names if models is not None else []
    shown = Status(
        version=version("codeact"),
        model=names[0] if names else None,
        models=names,
        sandbox=None,
        pool=None,
        store=None if store is None else DATABASE if stranger else store.summary,
        starting={
            part.name: part.state if stranger else str(_part(part)["detail"])
            for part in (state.models, state.pool, state.store)
            if part.opened is None
        },
        examples=list(EXAMPLES) if names[:1] == ["demo"] else [],
    )
    if pool is not None:
        isolation, stats = pool.value.backend.isolation, pool.value.stats()
        missing = [] if stranger else list(isolation.missing)
        shown.sandbox = SandboxStatus(pool.value.backend.name, isolation.isolated, pool.summary, missing)
        shown.pool = None if stranger else PoolLoad(stats.warm, stats.starting, stats.leased, stats.waiting)
    return json_response(shown)


@operation(PoolObject)
async def pool(request: Request) -> Response:
    """`GET /v1/pool`, for operators: the pool's counters, and how many sandboxes dead servers have left behind."""
    if not caller_of(request).operator:
        raise Forbidden("The pool is shown to operators; this key is not one.", code="operators_only")
    state: State = request.app.state.codeact
    opened = state.pool.opened
    if opened is None:
        return json_response(PoolObject(summary=str(_part(state.pool)["detail"])))
    return json_response(
        PoolObject(
            summary=opened.summary,
            max_size=opened.value.max_size,
            pool=opened.value.stats(),
            leaked=len(await opened.value.backend.list()),
        )
    )


routes = [
    Route("/healthz", healthz, methods=["GET"]),
    Route("/readyz", readyz, methods=["GET"]),
    Route("/v1/status", status, methods=["GET"]),
    Route("/v1/pool", pool, methods=["GET"]),
]
