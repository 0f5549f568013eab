"""Health over HTTP: whether the process lives, whether it is ready, and which components it uses."""

from importlib.metadata import version
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from codeact.component import Component
from codeact.models.demo.model import EXAMPLES
from codeact.server.auth.caller import caller_of
from codeact.server.errors import json_response
from codeact.server.openapi import operation
from codeact.server.readiness import sees_details
from codeact.server.services import Services

__all__ = ["routes", "shown"]


DATABASE = "a database"
"""All that strangers see of the database: its summary may contain a path or a host."""


class SandboxStatus(msgspec.Struct):
    """`missing` names the guarantees that this machine cannot enforce."""

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
    """The state of the server. Components that are still starting are null, and `starting` says what they wait for.

    For an embed's user, the pool is always null.
    """

    version: str
    model: str | None
    models: list[str]
    sandbox: SandboxStatus | None
    pool: PoolLoad | None
    store: str | None
    starting: dict[str, str]
    examples: list[str]
    approves: bool
    """Whether the caller may decide about what waits for approval."""
    verifies: bool
    """Whether the caller may have answers verified."""
    upload_bytes: int
    """The largest file that `POST /v1/files` takes."""
    deleted_retention_days: float
    """How long a deleted conversation can be restored."""


def shown(component: Component[Any]) -> dict[str, Any]:
    """What operators see of a component: its state, and why it is so."""
    state: dict[str, Any] = {"state": component.state}
    if component.started is not None:
        return state | {
            "summary": component.started.summary,
            "why": component.started.why,
            "hints": list(component.started.hints),
        }
    return state | {"detail": str(component.error) if component.error is not None else component.progress}


async def healthz(request: Request) -> Response:
    """`GET /healthz`: 200 while the process works; 503 if its event loop is stuck, or was within the last 15 s.

    While it is stuck, nothing is answered at all. So a probe needs a timeout that counts as a failure.
    """
    watchdog = request.app.state.codeact.watchdog
    lag = {"event_loop_lag_s": round(watchdog.lag_s, 3)}
    return (
        json_response({"status": "stuck", **lag}, 503) if watchdog.is_stuck else json_response({"status": "ok", **lag})
    )


async def readyz(request: Request) -> Response:
    """`GET /readyz`: 200 if store, model and the pool's minimum are up and every task works; otherwise 503.

    `missing` names what is not up, `failing` the background tasks that are down. Tasks in `degraded` are down too, but
    requests are answered without them. Strangers see names and states only; requests from this machine and operators
    also see details.
    """
    services: Services = request.app.state.codeact
    components = {component.name: shown(component) for component in (services.store, services.models, services.pool)}
    pool = services.pool.started
    stats = pool.value.stats() if pool is not None else None
    missing = [name for name, component in components.items() if component["state"] != "ready"]
    if stats is not None and stats.warm + stats.leased < services.settings.pool_min:
        missing.append("warm sandboxes")
    if services.store.started is not None and (problem := await services.probe.problem()):
        missing.append("database")
        components["database"] = {"state": "failed", "detail": problem}
    if not await sees_details(request):
        components = {name: {"state": component["state"]} for name, component in components.items()}
    failing = sorted(services.supervisor.failing)
    degraded = sorted({*services.supervisor.degraded, *(("disk",) if services.disk.is_low else ())})
    ready = not missing and not failing
    body = {"ready": ready, "missing": missing, "failing": failing, "degraded": degraded}
    return json_response(body | components, 200 if ready else 503)


@operation(Status)
async def status(request: Request) -> Response:
    """`GET /v1/status`: what a page shows above a conversation. An embed's user sees less."""
    stranger = caller_of(request).grant is not None
    services: Services = request.app.state.codeact
    models, pool, store = services.models.started, services.pool.started, services.store.started
    names = models.value.names if models is not None else []
    answer = Status(
        version=version("codeact"),
        model=names[0] if names else None,
        models=names,
        sandbox=None,
        pool=None,
        store=None if store is None else DATABASE if stranger else store.summary,
        starting={
            component.name: component.state
            if stranger
            else services.settings.disclosure.scrub(str(shown(component)["detail"]))
            for component in (services.models, services.pool, services.store)
            if component.started is None
        },
        examples=list(EXAMPLES) if names[:1] == ["demo"] else [],
        approves=not stranger or services.settings.approval_embed,
        verifies=not stranger,
        upload_bytes=services.settings.max_upload_bytes,
        deleted_retention_days=services.settings.deleted_retention_days,
    )
    if pool is not None:
        isolation, stats = pool.value.backend.isolation, pool.value.stats()
        missing = [] if stranger else list(isolation.missing)
        answer.sandbox = SandboxStatus(pool.value.backend.name, isolation.isolated, pool.summary, missing)
        answer.pool = None if stranger else PoolLoad(stats.warm, stats.starting, stats.leased, stats.waiting)
    return json_response(answer)


routes = [
    Route("/healthz", healthz, methods=["GET"]),
    Route("/readyz", readyz, methods=["GET"]),
    Route("/v1/status", status, methods=["GET"]),
]
