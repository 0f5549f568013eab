"""`GET /metrics`: the metrics for monitoring systems, for operators only."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from codeact.metrics import CONTENT_TYPE, Family, Moment, as_text
from codeact.server.auth.auth import authenticate
from codeact.server.auth.caller import Caller
from codeact.server.auth.origin_check import Forbidden
from codeact.server.errors import json_response
from codeact.server.peers.client import Peers
from codeact.server.peers.everywhere import ask_each
from codeact.server.services import Services
from codeact.store.database.process import is_here

__all__ = ["METRICS", "own_metrics", "routes"]

METRICS = "/internal/v1/metrics"


class WorkerMetrics(msgspec.Struct):
    """The metrics of one server process. `worker` is its number, 0 if it is the only one of its service."""

    worker: int
    families: list[Family]


async def metrics(request: Request) -> Response:
    """The metrics, for operators: of this process, and of the other workers of `codeact serve --workers`.

    Without keys, everybody is an operator. Reports a silent database without waiting for it. A worker that does not
    answer within 2 s is missing.
    """
    services: Services = request.app.state.codeact
    caller = await authenticate(request)
    if not caller.operator:
        raise Forbidden("Metrics are shown to operators; this key is not one.", code="operators_only")
    own = await _own(services)
    others = await _other_workers(services.peers, caller) if services.worker and services.peers is not None else {}
    found = others | {own.worker: own.families}
    return Response(as_text(dict(sorted(found.items()))), media_type=CONTENT_TYPE)


async def own_metrics(scope: Scope, receive: Receive, send: Send) -> None:
    """This process's metrics, for another worker."""
    services: Services = scope["app"].state.codeact
    await json_response(await _own(services))(scope, receive, send)


async def _own(services: Services) -> WorkerMetrics:
    opened = services.pool.started
    moment = Moment(
        responses=services.runs.live,
        subscribers=services.runs.subscribers,
        pool=opened.value.stats() if opened is not None else None,
        store_ping_s=await services.probe.ping_s(),
        loop_lag_s=services.watchdog.lag_s,
        loop_stalls=services.watchdog.stalls,
        backend=opened.value.backend.name if opened is not None else "",
        failing={**services.supervisor.failing, **services.supervisor.degraded},
    )
    return WorkerMetrics(services.worker, services.metrics.families(moment))


async def _other_workers(peers: Peers, caller: Caller) -> dict[int, list[Family]]:
    """The metrics of the workers of this machine that answer, by their numbers."""
    names = [name for name in peers.directory.others if is_here(name)]
    answers = await ask_each(peers, names, METRICS, WorkerMetrics, caller=caller)
    return {answer.worker: answer.families for answer in answers.values() if answer is not None and answer.worker}


routes = [Route("/metrics", metrics, methods=["GET"])]
