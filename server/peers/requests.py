"""Passes a whole HTTP request on to the server that holds a container's sandbox, and its answer back."""

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from codeact.errors import CodeActError
from codeact.server.auth.caller import caller_of
from codeact.server.auth.scope_keys import PASSED_ON
from codeact.server.peers.client import Peers, PeerUnreachable
from codeact.server.peers.inbound import most_body_bytes, path_of
from codeact.server.peers.spool import Spool
from codeact.settings import Settings

__all__ = ["HolderUnreachable", "pass_on"]

ASKED = (b"accept", b"content-type", b"content-encoding", b"range", b"if-range", b"idempotency-key")
"""The headers of the request that the other server gets."""
ANSWERED = (
    b"accept-ranges",
    b"content-disposition",
    b"content-length",
    b"content-range",
    b"content-security-policy",
    b"content-type",
    b"retry-after",
    b"x-content-type-options",
)
"""The headers of its answer that the client gets."""


class HolderUnreachable(CodeActError):
    """The server that has the container's sandbox does not answer."""

    code = "server_unreachable"
    status = 503
    retryable = True
    retry_after_s = 2.0


async def pass_on(peers: Peers | None, process: str | None, request: Request, settings: Settings) -> Response | None:
    """The answer of the server `process`; None if there is nobody to ask, so that this server must answer itself.

    Call it before the request's body is read; the body of a POST is kept in a temporary file meanwhile. A request that
    was passed on already is not passed on again. Raises `HolderUnreachable`, and `BodyTooLarge`.
    """
    if peers is None or process is None or PASSED_ON in request.scope:
        return None
    headers = [(name, value) for name, value in request.headers.raw if name in ASKED]
    with Spool.open() as body:
        if request.method == "POST":
            await body.fill(request.stream(), most_bytes=most_body_bytes(settings, request.method))
        try:
            answer = await peers.send(
                process, request.method, path_of(request.scope), caller=caller_of(request), body=body, headers=headers
            )
        except PeerUnreachable as error:
            raise HolderUnreachable(
                f"The server '{process}', which has the container's sandbox, does not answer. Try again in a moment."
            ) from error
    response = StreamingResponse(answer.aiter_raw(), answer.status_code, background=BackgroundTask(answer.aclose))
    given = [(name.lower(), value) for name, value in answer.headers.raw]
    response.raw_headers = [(name, value) for name, value in given if name in ANSWERED]
    return response
