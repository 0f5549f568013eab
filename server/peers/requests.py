"""Passes a whole HTTP request on to the server that holds a container's sandbox, and its answer back."""

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from codeact.server.auth.caller import caller_of
from codeact.server.auth.scope_keys import PASSED_ON
from codeact.server.peers.client import Peers, PeerUnreachable
from codeact.server.peers.inbound import most_body_bytes
from codeact.server.peers.spool import Spool
from codeact.settings import Settings

__all__ = ["pass_on"]

ASKED = ("accept", "content-type", "content-encoding", "range", "if-range")
"""The headers of the request that the other server gets."""
ANSWERED = (
    "accept-ranges",
    "content-disposition",
    "content-length",
    "content-range",
    "content-security-policy",
    "content-type",
    "retry-after",
    "x-content-type-options",
)
"""The headers of its answer that the client gets."""


async def pass_on(peers: Peers | None, process: str | None, request: Request, settings: Settings) -> Response | None:
    """The answer of the server `process`; None if there is nobody to ask, so that this server must answer itself.

    Call it before the request's body is read. A request that was passed on already is not passed on again.
    """
    if peers is None or process is None or PASSED_ON in request.scope:
        return None
    query = request.scope["query_string"].decode("latin-1")
    path = request.scope["raw_path"].decode("latin-1") + (f"?{query}" if query else "")
    headers = {name: request.headers[name] for name in ASKED if name in request.headers}
    with Spool.open() as body:
        await body.fill(request.stream(), most_bytes=most_body_bytes(settings))
        try:
            answer = await peers.send(
                process, request.method, path, caller=caller_of(request), body=body, headers=headers
            )
        except PeerUnreachable:
            return None
    given = {name: answer.headers[name] for name in ANSWERED if name in answer.headers}
    return StreamingResponse(answer.aiter_raw(), answer.status_code, given, background=BackgroundTask(answer.aclose))
