"""`/v1/responses/{id}/codeact:verify`: runs an answer's code again, and compares its outputs."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Annotated

import anyio
import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from codeact.errors import first_of
from codeact.events.certificates import TOLERANCE, Certificate
from codeact.server.auth.caller import Caller, caller_of, owner_of
from codeact.server.documents import document_response
from codeact.server.openapi import operation
from codeact.server.requests.parameters import read_parameters
from codeact.server.services import Services
from codeact.server.transports.sse import KEEP_ALIVE_S, event_stream
from codeact.verification.verification import Progress

__all__ = ["routes"]

WAITING_EVENTS = 10_000
"""How many events of the progress may wait for a slow client; later ones are dropped."""
CLOSED = 499
"""The status of an answer whose client has gone; nobody reads it."""


class VerifyQuery(msgspec.Struct, kw_only=True):
    """`tolerance` is that of decimal numbers, relative. With `stream` the progress comes as events over SSE."""

    tolerance: Annotated[float, Meta(ge=0, le=0.1)] = TOLERANCE
    stream: bool = False


class VerificationInProgress(msgspec.Struct, tag="codeact:verification.in_progress"):
    """The block that begins to run, from 1, and how many there are."""

    block: int
    blocks: int


class VerificationCompleted(msgspec.Struct, tag="codeact:verification.completed"):
    certificate: Certificate


@operation(Certificate, query=VerifyQuery, streams=True)
async def verify(request: Request) -> Response:
    """Runs the answer's code again in a fresh sandbox, with the recorded results of calls, and compares its outputs.

    The certificate says whether they are equal, or where they differ first, and is stored. It counts as one response.
    If the client disconnects, the verification ends.
    """
    services: Services = request.app.state.codeact
    query = read_parameters(request, VerifyQuery)
    response_id = request.path_params["response_id"]
    run = partial(_verified, services, caller_of(request), response_id, query.tolerance)
    if query.stream:
        return event_stream(_events(run))
    found: Certificate | None = None
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_cancel_on_disconnect, request, tasks.cancel_scope)
            found = await run(lambda block, blocks: None)
            tasks.cancel_scope.cancel()
    except Exception as failure:
        raise first_of(failure) from None
    return Response(status_code=CLOSED) if found is None else await document_response(found)


@operation(Certificate)
async def certificate(request: Request) -> Response:
    """The certificate of the answer's latest verification."""
    services: Services = request.app.state.codeact
    store = await services.store.get()
    found = await store.certificates.get(request.path_params["response_id"], owner=owner_of(request))
    return await document_response(found)


async def _verified(
    services: Services, caller: Caller, response_id: str, tolerance: float, progress: Progress
) -> Certificate:
    return await services.verifier.verify(response_id, accounts=caller.accounts, tolerance=tolerance, progress=progress)


async def _cancel_on_disconnect(request: Request, scope: anyio.CancelScope) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


async def _events(run: Callable[[Progress], Awaitable[Certificate]]) -> AsyncGenerator[list[str], None]:
    """Yields the frames of the events; an empty list if nothing happens for a while."""
    send, receive = anyio.create_memory_object_stream[str](WAITING_EVENTS)

    def progress(block: int, blocks: int) -> None:
        with suppress(anyio.WouldBlock):
            send.send_nowait(_frame(VerificationInProgress(block, blocks)))

    async def produce() -> None:
        with send:
            await send.send(_frame(VerificationCompleted(await run(progress))))

    try:
        async with anyio.create_task_group() as tasks, receive:
            tasks.start_soon(produce)
            ended = False
            while not ended:
                frames: list[str] = []
                with anyio.move_on_after(KEEP_ALIVE_S):
                    try:
                        frames = [await receive.receive()]
                    except anyio.EndOfStream:
                        ended = True
                if not ended:
                    yield frames
    except Exception as failure:
        raise first_of(failure) from None


def _frame(event: VerificationInProgress | VerificationCompleted) -> str:
    return msgspec.json.encode(event).decode()


routes = [
    Route("/v1/responses/{response_id}/codeact:verify", verify, methods=["POST"]),
    Route("/v1/responses/{response_id}/codeact:verify", certificate, methods=["GET"]),
]
