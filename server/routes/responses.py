"""`/v1/responses` over HTTP: JSON bodies enter, a response as JSON or its events as SSE leave."""

import contextlib
from contextlib import aclosing
from typing import Annotated, Any, Literal

import anyio
import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from codeact import events as e
from server.auth import caller_of, owner_of
from server.errors import json_response
from server.openapi import operation
from server.pages import Included, ItemList, PageQuery, page_of
from server.parameters import read_json, read_parameters
from server.requests import CreateBody, parse_create
from server.runs import Run
from server.sse import event_stream
from server.state import State
from server.streams import EventsExpired

__all__ = ["routes"]

CANCEL_DEADLINE_S = 20.0
KEEP_ALIVE_S = 15.0


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
    parsed = parse_create(body)
    run = await state.create(parsed, caller=caller_of(request))
    if parsed.stream:
        return event_stream(run.log.read(idle_s=KEEP_ALIVE_S))
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
    if query.stream:
        after = query.starting_after
        return event_stream(
            await state.open_stream(response_id, owner=owner, starting_after=after, idle_s=KEEP_ALIVE_S)
        )
    run = state.runs.find(response_id, owner=owner)
    return json_response(run.response if run is not None else await _stored(state, response_id, owner))


@operation(e.Response)
async def cancel(request: Request) -> Response:
    """Stops tokens and kernel and answers once they have stopped; a response that has ended as it is."""
    state: State = request.app.state.codeact
    owner = owner_of(request)
    response_id = request.path_params["response_id"]
    run = await _stop(state, response_id, owner)
    return json_response(run.response if run is not None else await _stored(state, response_id, owner))


@operation(Deleted)
async def delete(request: Request) -> Response:
    """Forgets the response, stopping it first; responses that follow it stay."""
    state: State = request.app.state.codeact
    owner = owner_of(request)
    response_id = request.path_params["response_id"]
    store = await state.store.get()
    run = await _stop(state, response_id, owner)
    if run is not None:
        await run.successor()
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


async def _stop(state: State, response_id: str, owner: str) -> Run | None:
    """Returns once the response has ended, wherever it was under way: its run, if that was here."""
    run = await state.cancel(response_id, owner=owner)
    if run is not None:
        await run.end()
        return run
    with anyio.move_on_after(CANCEL_DEADLINE_S), contextlib.suppress(EventsExpired):
        async with aclosing(await state.open_stream(response_id, owner=owner)) as stream:
            async for _ in stream:
                pass
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
