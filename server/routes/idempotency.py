"""`Idempotency-Key`: a request that is repeated with its key is not executed again, but answered as before."""

import functools
import hashlib
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from codeact.errors import CodeActError, InvalidRequest
from codeact.server.auth.caller import owner_of
from codeact.server.idempotency import HEADER, Entry
from codeact.server.requests.parameters import read_body
from codeact.server.services import Services

__all__ = ["began_response", "idempotent"]

MOST_CHARS = 255

Handler = Callable[[Request], Awaitable[Response]]
Again = Callable[[Request, str], Awaitable[Response]]


class Conflict(CodeActError):
    """The answer to the first request with this key is not available."""

    code = "idempotency_conflict"
    status = 409


def idempotent(again: Again | None = None) -> Callable[[Handler], Handler]:
    """Decorator: makes a handler honour the header. Failed requests are not remembered.

    `again` makes the answer for the response that the first request began (`began_response`), even while it runs.
    """

    def mark(handler: Handler) -> Handler:
        @functools.wraps(handler)
        async def marked(request: Request) -> Response:
            name = request.headers.get(HEADER)
            if name is None:
                return await handler(request)
            if not 1 <= len(name) <= MOST_CHARS:
                raise InvalidRequest(f"'{HEADER}' must have 1 to {MOST_CHARS} characters.", param=HEADER)
            services: Services = request.app.state.codeact
            # From now on, Starlette takes the body from here.
            body = request._body = await read_body(
                request, services.settings.max_message_bytes, "CODEACT_MAX_MESSAGE_BYTES"
            )
            keys, key = services.idempotency, (owner_of(request), request.url.path, name)
            body_hash = hashlib.sha256(body).digest()
            entry = keys.find(key, body_hash)
            if entry is None:
                begun: Entry = keys.begin(key, body_hash)
                request.state.idempotency = begun
                try:
                    response = await handler(request)
                except BaseException:
                    if begun.response_id is None:
                        keys.forget(key, begun)
                    raise
                keys.end(key, begun, response)
                return response
            if entry.response_id is not None and again is not None:
                return await again(request, entry.response_id)
            if entry.answer is not None:
                status, content, media_type = entry.answer
                return Response(content, status, media_type=media_type)
            state = "is answered already, and its answer is not kept" if entry.is_done else "is still under way"
            raise Conflict(f"The first request with this '{HEADER}' {state}.")

        return marked

    return mark


def began_response(request: Request, response_id: str) -> None:
    """Remembers which response the request began, if the request has a key."""
    entry: Entry | None = getattr(request.state, "idempotency", None)
    if entry is not None:
        entry.response_id = response_id
