"""`/v1/responses` over HTTP: answers as JSON, or as events over SSE."""

import contextlib
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import Annotated, Any, Literal

import anyio
import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from codeact import events as e
from codeact.runs.run import Run
from codeact.runs.streams import EventsExpired
from codeact.server.auth.caller import caller_of, owner_of
from codeact.server.documents import document_response
from codeact.server.errors import json_response, raised
from codeact.server.openapi import operation
from codeact.server.requests.compact import CompactBody, CompactedResponse, compact_run, compacted_response
from codeact.server.requests.create import CreateBody, parse_create
from codeact.server.requests.pages import Included, ItemList, PageQuery, page_of
from codeact.server.requests.parameters import read_json, read_parameters
from codeact.server.requests.token_count import InputTokens, InputTokensBody, parse_input_tokens
from codeact.server.routes.idempotency import began_response, idempotent, wanted_id
from codeact.server.services import Services
from codeact.server.transports.data_urls import as_asked, response_as_asked
from codeact.server.transports.sse import KEEP_ALIVE_S, event_stream
from codeact.server.transports.standard_events import gets_ours
from codeact.store import Blob

__all__ = ["routes"]

CANCEL_DEADLINE_S = 20.0


class RetrieveQuery(msgspec.Struct, kw_only=True):
    """With `stream`: the events after `starting_after`. Without it: the response as it is now."""

    stream: bool = False
    starting_after: Annotated[int, Meta(ge=-1)] = -1
    include: list[Included] | None = None
    include_obfuscation: bool | None = None


class Deleted(msgspec.Struct):
    id: str
    object: Literal["response"] = "response"
    deleted: Literal[True] = True


async def _again(request: Request, response_id: str) -> Response:
    """The answer to a request that began this response, and came again with its `Idempotency-Key`."""
    services: Services = request.app.state.codeact
    owner, get, code = owner_of(request), await _blobs(request), services.settings.code_items
    body = await read_json(request, services.settings.max_message_bytes)
    asked = parse_create(body, drops_tools=services.settings.drop_params)
    if asked.stream:
        events = await services.service.open_stream(response_id, owner=owner, idle_s=KEEP_ALIVE_S)
        return event_stream(as_asked(events, asked.include, get, code=code))
    run = services.runs.find(response_id, owner=owner)
    if run is not None and not asked.background:
        await run.end()
    response = run.response if run is not None else await _stored(services, response_id, owner)
    return await document_response(await response_as_asked(response, asked.include, get, code=code))


@operation(e.Response, body=CreateBody, streams=True)
@idempotent(_again)
async def create(request: Request) -> Response:
    """Answers `input`. The run continues if the client disconnects; with `background`, this returns at once."""
    services: Services = request.app.state.codeact
    body = await read_json(request, services.settings.max_message_bytes)
    parsed = parse_create(body, drops_tools=services.settings.drop_params)
    run = await services.service.create(parsed, caller=caller_of(request), response_id=wanted_id(request))
    if run.response.store:
        began_response(request, run.id)
    get, code = await _blobs(request), services.settings.code_items
    if parsed.stream:
        return event_stream(
            as_asked(
                run.log.read(idle_s=KEEP_ALIVE_S),
                parsed.include,
                await _blobs(request),
                code=code,
            )
        )
    if not parsed.background:
        await run.end()
    return await document_response(await response_as_asked(run.response, parsed.include, get, code=code))


@operation(e.Response, query=RetrieveQuery, streams=True)
async def retrieve(request: Request) -> Response:
    """The response; with `stream`, the rest of its events."""
    services: Services = request.app.state.codeact
    owner = owner_of(request)
    response_id = request.path_params["response_id"]
    query = read_parameters(request, RetrieveQuery)
    get, code = await _blobs(request), services.settings.code_items
    if query.stream:
        ours, after = gets_ours(query.include), query.starting_after
        events = await services.service.open_stream(
            response_id, owner=owner, starting_after=after if ours else -1, idle_s=KEEP_ALIVE_S
        )
        return event_stream(as_asked(events, query.include, get, code=code, starting_after=after))
    run = services.runs.find(response_id, owner=owner)
    response = run.response if run is not None else await _stored(services, response_id, owner)
    return await document_response(await response_as_asked(response, query.include, get, code=code))


@operation(e.Response)
async def cancel(request: Request) -> Response:
    """Stops the model and the code; answers when they have stopped. A response that has ended is returned unchanged."""
    services: Services = request.app.state.codeact
    owner = owner_of(request)
    response_id = request.path_params["response_id"]
    run = await _stop(services, response_id, owner)
    response = run.response if run is not None else await _stored(services, response_id, owner)
    get, code = await _blobs(request), services.settings.code_items
    return await document_response(await response_as_asked(response, None, get, code=code))


@operation(Deleted)
async def delete(request: Request) -> Response:
    """Deletes the response, stopping it first. Responses that follow it stay."""
    services: Services = request.app.state.codeact
    owner = owner_of(request)
    response_id = request.path_params["response_id"]
    store = await services.store.get()
    run = await _stop(services, response_id, owner)
    if run is not None:
        await run.successor()
    await store.delete_response(response_id, owner=owner)
    return json_response(Deleted(response_id))


@operation(CompactedResponse, body=CompactBody)
@idempotent()
async def compact(request: Request) -> Response:
    """Compacts a conversation. The client then sends the result instead of the messages. Nothing is stored."""
    services: Services = request.app.state.codeact
    caller = caller_of(request)
    body = await read_json(request, services.settings.max_message_bytes)
    run = await services.service.compact(compact_run(body, caller), caller=caller)
    if run.response.error is not None:
        raise raised(run.response.error)
    return await document_response(compacted_response(run.response, run.conversation))


@operation(InputTokens, body=InputTokensBody)
async def input_tokens(request: Request) -> Response:
    """How many tokens the model would read first. Exact if the model's server offers its tokenizer, else estimated."""
    services: Services = request.app.state.codeact
    body = await read_json(request, services.settings.max_message_bytes)
    asked = parse_input_tokens(body, drops_tools=services.settings.drop_params)
    count = await services.service.input_tokens(asked, caller=caller_of(request))
    return json_response(InputTokens(count))


@operation(ItemList, query=PageQuery)
async def input_items(request: Request) -> Response:
    """The response's input items, page by page."""
    services: Services = request.app.state.codeact
    query = read_parameters(request, PageQuery)
    store = await services.store.get()
    stored = await store.get_response(request.path_params["response_id"], owner=owner_of(request))
    return await document_response(page_of(stored.input, query))


async def _stop(services: Services, response_id: str, owner: str) -> Run | None:
    """Waits until the response has ended, on whichever server; returns its run if that was here."""
    run = await services.service.cancel(response_id, owner=owner)
    if run is not None:
        await run.end()
        return run
    with anyio.move_on_after(CANCEL_DEADLINE_S), contextlib.suppress(EventsExpired):
        async with aclosing(await services.service.open_stream(response_id, owner=owner)) as stream:
            async for _ in stream:
                pass
    return None


async def _blobs(request: Request) -> Callable[[str], Awaitable[Blob]]:
    services: Services = request.app.state.codeact
    return partial((await services.store.get()).get_blob, owner=owner_of(request))


async def _stored(services: Services, response_id: str, owner: str) -> Any:
    store = await services.store.get()
    return (await store.get_response(response_id, owner=owner)).response


routes = [
    Route("/v1/responses", create, methods=["POST"]),
    Route("/v1/responses/compact", compact, methods=["POST"]),
    Route("/v1/responses/input_tokens", input_tokens, methods=["POST"]),
    Route("/v1/responses/{response_id}", retrieve, methods=["GET"]),
    Route("/v1/responses/{response_id}", delete, methods=["DELETE"]),
    Route("/v1/responses/{response_id}/cancel", cancel, methods=["POST"]),
    Route("/v1/responses/{response_id}/input_items", input_items, methods=["GET"]),
]
