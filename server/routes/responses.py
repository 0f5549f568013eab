"""`/v1/responses` over HTTP: JSON bodies enter, a response as JSON or its events as SSE leave."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from codeact.errors import InvalidRequest, NotFound
from server.auth import caller_of, owner_of
from server.errors import json_response
from server.requests import parse_create
from server.runs import Run
from server.state import State

__all__ = ["routes"]

SSE_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


async def read_json(request: Request, limit: int) -> Any:
    """The body, decoded. Raises `InvalidRequest` when it is too large (413) or no JSON, without reading it all."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            error = InvalidRequest(
                f"The body is over {limit} bytes (CODEACT_MAX_MESSAGE_BYTES).", code="message_too_large"
            )
            error.status = 413  # type: ignore[misc]
            raise error
    try:
        return msgspec.json.decode(bytes(body))
    except msgspec.DecodeError as reason:
        raise InvalidRequest(f"The body must be JSON: {reason}.", code="invalid_json") from None


async def create(request: Request) -> Response:
    """`POST /v1/responses`. The run goes on when the client leaves."""
    state: State = request.app.state.codeact
    body = await read_json(request, state.settings.max_message_bytes)
    opened = state.model.opened
    parsed = parse_create(body, model_name=opened.value.name if opened else None)
    run = await state.create(parsed, caller=caller_of(request))
    if parsed.stream:
        return _sse(run, 0)
    await run.end()
    return json_response(run.response)


async def retrieve(request: Request) -> Response:
    """`GET /v1/responses/{id}`; with `stream=true`, the events after `starting_after` of a run of this process."""
    state: State = request.app.state.codeact
    owner = owner_of(request)
    response_id = request.path_params["response_id"]
    try:
        run = state.runs.get(response_id, owner=owner)
    except NotFound:
        run = None
    if request.query_params.get("stream") == "true":
        if run is None:
            await _stored(state, response_id, owner)
            raise InvalidRequest(
                f"The events of '{response_id}' are no longer kept; fetch it without 'stream'.",
                param="stream",
            )
        after = request.query_params.get("starting_after", "-1")
        if not after.lstrip("-").isdigit():
            raise InvalidRequest("'starting_after' must be a sequence_number.", param="starting_after")
        return _sse(run, max(0, int(after) + 1))
    return json_response(run.response if run is not None else await _stored(state, response_id, owner))


async def cancel(request: Request) -> Response:
    """`POST /v1/responses/{id}/cancel`: answers once tokens and kernel have stopped; an ended response as it is."""
    state: State = request.app.state.codeact
    owner = owner_of(request)
    response_id = request.path_params["response_id"]
    try:
        run = state.runs.get(response_id, owner=owner)
    except NotFound:
        return json_response(await _stored(state, response_id, owner))
    run.cancel()
    await run.end()
    return json_response(run.response)


async def input_items(request: Request) -> Response:
    """`GET /v1/responses/{id}/input_items`, in the order they were sent."""
    state: State = request.app.state.codeact
    store = await state.store.get()
    stored = await store.get_response(request.path_params["response_id"], owner=owner_of(request))
    ids = [item.id for item in stored.input]
    ends = {"first_id": ids[0], "last_id": ids[-1]} if ids else {"first_id": None, "last_id": None}
    return json_response({"object": "list", "data": stored.input, "has_more": False, **ends})


async def _stored(state: State, response_id: str, owner: str) -> Any:
    store = await state.store.get()
    return (await store.get_response(response_id, owner=owner)).response


def _sse(run: Run, start: int) -> Response:
    async def body() -> AsyncIterator[str]:
        async with aclosing(run.subscribe(start)) as frames:
            async for frame in frames:
                kind = frame[len('{"type":"') : frame.index('"', len('{"type":"'))]
                yield f"event: {kind}\ndata: {frame}\n\n"

    return StreamingResponse(body(), media_type="text/event-stream", headers=SSE_HEADERS)


routes = [
    Route("/v1/responses", create, methods=["POST"]),
    Route("/v1/responses/{response_id}", retrieve, methods=["GET"]),
    Route("/v1/responses/{response_id}/cancel", cancel, methods=["POST"]),
    Route("/v1/responses/{response_id}/input_items", input_items, methods=["GET"]),
]
