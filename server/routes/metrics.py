"""`GET /metrics`: the metrics for monitoring systems, for operators only."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from codeact.metrics import CONTENT_TYPE, Moment
from codeact.server.auth.auth import authenticate
from codeact.server.auth.origin_check import Forbidden
from codeact.server.services import Services

__all__ = ["routes"]


async def metrics(request: Request) -> Response:
    """The metrics, for operators.

    Without keys, everybody is an operator. Reports a silent database without waiting for it.
    """
    services: Services = request.app.state.codeact
    if not (await authenticate(request)).operator:
        raise Forbidden("Metrics are shown to operators; this key is not one.", code="operators_only")
    moment = Moment(
        responses=services.runs.live,
        subscribers=services.runs.subscribers,
        pool=services.pool.started.value.stats() if services.pool.started is not None else None,
        store_ping_s=await services.probe.ping_s(),
        loop_lag_s=services.watchdog.lag_s,
        loop_stalls=services.watchdog.stalls,
        backend=services.pool.started.value.backend.name if services.pool.started is not None else "",
        failing={**services.supervisor.failing, **services.supervisor.degraded},
    )
    return Response(services.metrics.text(moment), media_type=CONTENT_TYPE)


routes = [Route("/metrics", metrics, methods=["GET"])]
