"""`/v1/responses` over HTTP: JSON bodies enter, a response as JSON or its events as SSE leave."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from codeact import events as e
from codeact.errors import InvalidRequest, NotFound
from server.auth import caller_of, owner_of
from server.errors import json_response
from server.openapi import operation
from server.pages import Included, ItemList, PageQuery, page_of
from server.parameters import read_json, read_parameters
from server.requests import CreateBody, parse_create
from server.runs import Run
from server.sse import stream
from server.state import State

__all__ = ["routes"]


class RetrieveQuery(msgspec.Struct, kw_only=True):
    """With `stream`, the events after `starting_after`; without it, the response as it is now."""

    stream: bool = False
    starting_after: Annotated[int, Meta(ge=-1)] = -1
    include: list[Included] | None = None
    include_obfuscation: bool | None = None


class Deleted(msgspec.Struct):
    id: str
    object: Literal["response"] = "response"
    deleted: Literal[True] = True


@operation(e.Response, body=CreateBody, streams=True)
async def create(request: Request) -> Response:
    """Answers `input`. The run goes on when the client leaves; in the `background` it is answered at once."""
    state: State = request.app.state.codeact
    body = await read_json(request, state.settings.max_message_bytes)
    opened = state.model.opened
    parsed = parse_create(body, model_name=opened.value.name if opened else None)
    run = await state.create(parsed, caller=caller_of(request))
    if parsed.stream:
        return stream(run, 0)
    if not parsed.background:
        await run.end()
    return json_response(run.response)


@operation(e.Response, query=RetrieveQuery, streams=True)
async def retrieve(request: Request) -> Response:
    """The response; with `stream`, the rest of its events."""
    state: State = request.app.state.codeact
    owner = owner_of(request)
    response_id = request.path_params["response_id"]
    query = read_parameters(request, RetrieveQuery)
    run = _run(state, response_id, owner)
    if query.stream:
        if run is None:
            await _stored(state, response_id, owner)
            raise InvalidRequest(
                f"The events of '{response_id}' are no longer kept; fetch it without 'stream'.",
                param="stream",
            )
        return stream(run, query.starting_after + 1)
    return json_response(run.response if run is not None else await _stored(state, response_id, owner))


@operation(e.Response)
async def cancel(request: Request) -> Response:
    """Stops tokens and kernel and answers once they have stopped; a response that has ended as it is."""
    state: State = request.app.state.codeact
    owner = owner_of(request)
    response_id = request.path_params["response_id"]
    run = _run(state, response_id, owner)
    if run is None:
        return json_response(await _stored(state, response_id, owner))
    run.cancel()
    await run.end()
    return json_response(run.response)


@operation(Deleted)
async def delete(request: Request) -> Response:
    """Forgets the response, stopping it first; responses that follow it stay."""
    state: State = request.app.state.codeact
    owner = owner_of(request)
    response_id = request.path_params["response_id"]
    store = await state.store.get()
    run = _run(state, response_id, owner)
    if run is not None:
        run.cancel()
        await run.successor()
        state.runs.forget(response_id)
    await store.delete_response(response_id, owner=owner)
    return json_response(Deleted(response_id))


@operation(ItemList, query=PageQuery)
async def input_items(request: Request) -> Response:
    """What was asked, page by page."""
    state: State = request.app.state.codeact
    query = read_parameters(request, PageQuery)
    store = await state.store.get()
    stored = await store.get_response(request.path_params["response_id"], owner=owner_of(request))
    return json_response(page_of(stored.input, query))


def _run(state: State, response_id: str, owner: str) -> Run | None:
    """The response's run, as long as this process has it."""
    try:
        return state.runs.get(response_id, owner=owner)
    except NotFound:
        return None


async def _stored(state: State, response_id: str, owner: str) -> Any:
    store = await state.store.get()
    return (await store.get_response(response_id, owner=owner)).response


routes = [
    Route("/v1/responses", create, methods=["POST"]),
    Route("/v1/responses/{response_id}", retrieve, methods=["GET"]),
    Route("/v1/responses/{response_id}", delete, methods=["DELETE"]),
    Route("/v1/responses/{response_id}/cancel", cancel, methods=["POST"]),
    Route("/v1/responses/{response_id}/input_items", input_items, methods=["GET"]),
]
