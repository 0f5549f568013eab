"""`Idempotency-Key`: a request that is repeated with its key is not executed again, but answered as before."""

import functools
import hashlib
from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio
from starlette.requests import Request
from starlette.responses import Response

from codeact.errors import CodeActError, InvalidRequest, NotFound, StoreError
from codeact.server.auth.caller import owner_of
from codeact.server.idempotency import HEADER, Entry, Key, reused, short_body
from codeact.server.requests.parameters import read_body
from codeact.server.services import Services
from codeact.store.repositories.repeatable import Repeatable, RepeatableRequests

__all__ = ["began_response", "idempotent", "once", "wanted_id"]

MOST_CHARS = 255
FORGET_S = 5.0

Handler = Callable[[Request], Awaitable[Response]]
Again = Callable[[Request, str], Awaitable[Response]]


class Conflict(CodeActError):
    """The answer to the first request with this key is not available."""

    code = "idempotency_conflict"
    status = 409

    def __init__(self, is_done: bool) -> None:
        state = "is answered already, and its answer is not kept" if is_done else "is still under way"
        super().__init__(f"The first request with this '{HEADER}' {state}.")


def idempotent(again: Again | None = None) -> Callable[[Handler], Handler]:
    """Decorator: makes a handler honour the header. Failed requests are not remembered.

    `again` makes the answer for the response that the first request began (`began_response`), even while it runs.
    Handlers that read large bodies call `once` themselves.
    """

    def mark(handler: Handler) -> Handler:
        @functools.wraps(handler)
        async def marked(request: Request) -> Response:
            if HEADER not in request.headers:
                return await handler(request)
            _check_key(request)
            services: Services = request.app.state.codeact
            # From now on, Starlette takes the body from here.
            body = request._body = await read_body(
                request, services.settings.max_message_bytes, "CODEACT_MAX_MESSAGE_BYTES"
            )
            return await _once(request, hashlib.sha256(body).digest(), functools.partial(handler, request), again)

        return marked

    return mark


async def once(
    request: Request, body_hash: Callable[[], Awaitable[bytes]], execute: Callable[[], Awaitable[Response]]
) -> Response:
    """Answers a request by `execute`, or if it is repeated with its key, as before.

    `body_hash` computes a hash of what the request says. It is called only if there is a key.
    """
    if HEADER not in request.headers:
        return await execute()
    _check_key(request)
    return await _once(request, await body_hash(), execute)


def _check_key(request: Request) -> None:
    if not 1 <= len(request.headers[HEADER]) <= MOST_CHARS:
        raise InvalidRequest(f"'{HEADER}' must have 1 to {MOST_CHARS} characters.", param=HEADER)


async def _once(
    request: Request, body_hash: bytes, execute: Callable[[], Awaitable[Response]], again: Again | None = None
) -> Response:
    """Executes a request with a valid key, unless it is repeated."""
    services: Services = request.app.state.codeact
    keys, key = services.idempotency, (owner_of(request), request.url.path, request.headers[HEADER])
    entry = keys.find(key, body_hash)
    if entry is None:
        entry = request.state.idempotency = keys.begin(key, body_hash)
        shared = await _Shared.of(services, key, body_hash, entry)
        try:
            response = await shared.earlier(request, again) if shared is not None else None
            if response is None:
                response = await execute()
        except BaseException:
            if entry.response_id is None:
                keys.forget(key, entry)
                if shared is not None:
                    await shared.forget()
            raise
        keys.end(key, entry, response)
        if shared is not None:
            await shared.end(response)
        return response
    if entry.response_id is not None and again is not None:
        return await again(request, entry.response_id)
    if entry.answer is not None:
        status, content, media_type = entry.answer
        return Response(content, status, media_type=media_type)
    raise Conflict(entry.is_done)


def began_response(request: Request, response_id: str) -> None:
    """Remembers which response the request began, if the request has a key."""
    entry: Entry | None = getattr(request.state, "idempotency", None)
    if entry is not None:
        entry.response_id = response_id


def wanted_id(request: Request) -> str | None:
    """The id for the response that the request begins, if it has a key: no other server begins that one then."""
    entry: Entry | None = getattr(request.state, "idempotency", None)
    return entry.wanted_id if entry is not None else None


class _Shared:
    """A request's key in the database, for all servers that share it."""

    def __init__(self, requests: RepeatableRequests, key: str, found: Repeatable | None) -> None:
        self._requests = requests
        self._key = key
        self._found = found

    @classmethod
    async def of(cls, services: Services, key: Key, body_hash: bytes, entry: Entry) -> "_Shared | None":
        """Remembers the key; None if no other server shares the database. Raises `InvalidRequest` and `StoreError`."""
        if not services.settings.shares_database:
            return None
        name = hashlib.sha256("\0".join(key).encode()).hexdigest()
        try:
            requests = (await services.store.get()).repeatable
            found = await requests.begin(name, owner=key[0], body_hash=body_hash.hex(), response_id=entry.wanted_id)
            if found is not None and found.body_hash != body_hash.hex():
                raise reused()
        except BaseException:
            services.idempotency.forget(key, entry)
            raise
        if found is not None and found.response_id is not None:
            entry.wanted_id = found.response_id
        return cls(requests, name, found)

    async def earlier(self, request: Request, again: Again | None) -> Response | None:
        """The answer to the request that came first, at another server; None if this one is to be executed.

        If that one died before it began a response, this one begins it, by its id. Raises `Conflict`.
        """
        if self._found is None:
            return None
        if self._found.content is not None:
            return Response(self._found.content, self._found.status, media_type=self._found.media_type)
        if again is None or self._found.response_id is None:
            raise Conflict(self._found.is_done)
        with suppress(NotFound):
            response = await again(request, self._found.response_id)
            began_response(request, self._found.response_id)
            return response
        return None

    async def end(self, response: Response) -> None:
        """Remembers that the request was answered, if this server has answered it."""
        if self._found is None:
            content = short_body(response)
            with suppress(StoreError):
                await self._requests.end(
                    self._key, status=response.status_code, content=content, media_type=response.media_type
                )

    async def forget(self) -> None:
        """Forgets a request that has failed, unless another server answers it."""
        if self._found is None:
            with anyio.move_on_after(FORGET_S, shield=True), suppress(StoreError):
                await self._requests.forget(self._key)
