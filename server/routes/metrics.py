"""`GET /metrics`: what a monitoring system asks every few seconds, for operators."""

import time

import anyio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from codeact.errors import CodeActError
from server.auth import authenticate
from server.guard import Forbidden
from server.metrics import CONTENT_TYPE, Moment
from server.state import State

__all__ = ["routes"]

PING_TIMEOUT_S = 2.0


async def metrics(request: Request) -> Response:
    """Without keys everybody is an operator. A database that does not answer is told, not waited for."""
    state: State = request.app.state.codeact
    if not (await authenticate(request)).operator:
        raise Forbidden("Metrics are shown to operators; this key is not one.", code="operators_only")
    moment = Moment(
        responses=state.runs.live,
        subscribers=state.runs.subscribers,
        pool=state.pool.opened.value.stats() if state.pool.opened is not None else None,
        store_ping_s=await _ping_s(state),
    )
    return Response(state.runs.metrics.text(moment), media_type=CONTENT_TYPE)


async def _ping_s(state: State) -> float | None:
    if state.store.opened is None:
        return None
    started = time.monotonic()
    with anyio.move_on_after(PING_TIMEOUT_S):
        try:
            await state.store.opened.value.ping()
            return time.monotonic() - started
        except CodeActError:
            pass
    return None


routes = [Route("/metrics", metrics, methods=["GET"])]
