"""What servers of one database ask each other. No client can reach these paths; see `codeact.server.peers.inbound`."""

import math

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from codeact.disclosure import read_by
from codeact.errors import CodeActError, InvalidRequest
from codeact.server.auth.caller import caller_of
from codeact.server.errors import envelope, json_response, status_of
from codeact.server.peers.idle import IDLE
from codeact.server.peers.questions import QUESTIONS, PassedQuestion, stream
from codeact.server.requests.parameters import read_body
from codeact.server.routes.metrics import METRICS, own_metrics
from codeact.server.routes.pools import POOL, own_pool
from codeact.server.services import Services
from sandbox_pool.errors import SandboxError

__all__ = ["INTERNAL"]


async def questions(scope: Scope, receive: Receive, send: Send) -> None:
    """Begins the answer to a question that another server has passed on, and streams it there.

    If that server waits no longer, because this one stood still, it has answered the question itself.
    """
    request = Request(scope, receive)
    services: Services = request.app.state.codeact
    read_by(services.settings.disclosure.to_operators)  # The server that asks decides what its client may see.
    response: Response
    try:
        body = await read_body(request, 2 * services.settings.max_message_bytes, "CODEACT_MAX_MESSAGE_BYTES")
        try:
            question = msgspec.json.decode(body, type=PassedQuestion)
        except msgspec.DecodeError as error:
            raise InvalidRequest(f"Servers of one database must have the same version: {error}.") from error
        if await request.is_disconnected():
            return
        run = await services.service.answer(question, caller=caller_of(request))
        response = StreamingResponse(stream(run, follows=question.follows), media_type="application/octet-stream")
    except (CodeActError, SandboxError) as error:
        wait_s = getattr(error, "retry_after_s", None)
        headers = {"Retry-After": str(math.ceil(wait_s))} if wait_s is not None else None
        response = json_response(envelope(error), status_of(error), headers)
    await response(scope, receive, send)


async def release_idle(scope: Scope, receive: Receive, send: Send) -> None:
    """Releases an idle sandbox of the owner for whom another server asks; answers with the number of released ones."""
    request = Request(scope, receive)
    services: Services = request.app.state.codeact
    reason = "its sandbox was idle and another conversation of yours, at another server, needed one"
    released = await services.workspaces.release_idle_of(caller_of(request).owner, 1, reason)
    await json_response(released)(scope, receive, send)


INTERNAL = {QUESTIONS: questions, IDLE: release_idle, POOL: own_pool, METRICS: own_metrics}
"""The applications that answer other servers, by path."""
