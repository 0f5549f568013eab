"""What operators and pages ask first: does the process live, is it ready, what does it run on."""

from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from codeact.models.demo import EXAMPLES
from server.auth import caller_of
from server.errors import json_response
from server.guard import Forbidden
from server.parts import Part
from server.state import State

__all__ = ["routes"]


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


async def status(request: Request) -> Response:
    """`GET /v1/status`: what a page shows above a conversation; less to an embed's user."""
    stranger = caller_of(request).grant is not None
    state: State = request.app.state.codeact
    models, pool, store = state.models.opened, state.pool.opened, state.store.opened
    names = models.value.names if models is not None else []
    stats = pool.value.stats() if pool is not None else None
    return json_response(
        {
            "version": version("codeact"),
            "model": names[0] if names else None,
            "models": names,
            "sandbox": None
            if pool is None
            else {
                "backend": pool.value.backend.name,
                "isolated": pool.value.backend.isolation.isolated,
                "summary": pool.summary,
                "missing": list(pool.value.backend.isolation.missing),
            },
            "pool": None
            if stats is None or stranger
            else {"warm": stats.warm, "starting": stats.starting, "leased": stats.leased, "waiting": stats.waiting},
            "store": None if store is None or stranger else store.summary,
            "starting": {
                part.name: part.state if stranger else _part(part)["detail"]
                for part in (state.models, state.pool, state.store)
                if part.opened is None
            },
            "examples": list(EXAMPLES) if names[:1] == ["demo"] else [],
        }
    )


async def pool(request: Request) -> Response:
    """`GET /v1/pool`, for operators: the pool's counters, and how many sandboxes dead servers have left behind."""
    if not caller_of(request).operator:
        raise Forbidden("The pool is shown to operators; this key is not one.", code="operators_only")
    state: State = request.app.state.codeact
    opened = state.pool.opened
    if opened is None:
        return json_response({"object": "codeact:pool", "pool": None, **_part(state.pool)})
    return json_response(
        {
            "object": "codeact:pool",
            "summary": opened.summary,
            "max_size": opened.value.max_size,
            "pool": asdict(opened.value.stats()),
            "leaked": len(await opened.value.backend.list()),
        }
    )


routes = [
    Route("/healthz", healthz, methods=["GET"]),
    Route("/readyz", readyz, methods=["GET"]),
    Route("/v1/status", status, methods=["GET"]),
    Route("/v1/pool", pool, methods=["GET"]),
]
