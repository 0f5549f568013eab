"""`/v1/conversations/{id}/items`: lists, adds and deletes items of a conversation."""

from functools import partial
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from codeact.events import CheckpointItem, Reasoning
from codeact.runs.admission import check_room
from codeact.runs.input_items import InputItem, mark_items
from codeact.runs.preparation import received
from codeact.server.auth.caller import caller_of, owner_of
from codeact.server.documents import document_response
from codeact.server.errors import json_response
from codeact.server.openapi import operation
from codeact.server.requests.pages import Included, ItemList, PageQuery, listed, page_of
from codeact.server.requests.parameters import checked, read_json, read_parameters
from codeact.server.routes.conversations import ConversationObject, shape
from codeact.server.routes.idempotency import idempotent
from codeact.server.services import Services
from codeact.server.transports.code_items import shown_items
from codeact.server.transports.data_urls import items_as_asked
from codeact.server.transports.standard_events import gets_ours
from codeact.store import Store
from codeact.store.checkpoint_record import CheckpointKey
from codeact.workspaces.checkpoint_contents import read_item

__all__ = ["routes"]


class AddItems(msgspec.Struct):
    items: Annotated[list[InputItem], Meta(min_length=1, max_length=20)]


class IncludeQuery(msgspec.Struct):
    include: list[Included] | None = None


@operation(ItemList, query=PageQuery)
async def list_items(request: Request) -> Response:
    """The conversation's items, page by page, newest first unless asked otherwise.

    It has the items of code that the conversation's responses have when they are read with the same `include`.
    With `include=codeact:events`, a `codeact:checkpoint` follows the items of each response whose state is saved.
    """
    services: Services = request.app.state.codeact
    query = read_parameters(request, PageQuery)
    owner = owner_of(request)
    store = await services.store.get()
    conversation_id = request.path_params["conversation_id"]
    saved: dict[str, CheckpointKey] = {}
    if gets_ours(query.include):
        saved = {key.response_id: key for key in await store.checkpoints.keys_of(conversation_id, owner=owner)}
    items, has_more = await store.turns.items(
        conversation_id,
        owner=owner,
        after=query.after,
        limit=query.limit,
        order=query.order,
        checkpoints=saved,
        shown=shown_items(services.settings.code_items, query.include),
    )
    shown = [await _shown(item, store, owner=owner) if isinstance(item, CheckpointKey) else item for item in items]
    page = [item for item in shown if item is not None]
    page = await items_as_asked(page, query.include, partial(store.get_blob, owner=owner))
    return await document_response(listed(page, has_more=has_more))


async def _shown(key: CheckpointKey, store: Store, *, owner: str) -> CheckpointItem | None:
    record = await store.checkpoints.get(key.id, owner=owner)
    return await read_item(record) if record is not None else None  # None: it was removed meanwhile.


@operation(ItemList, body=AddItems, query=IncludeQuery)
@idempotent()
async def add_items(request: Request) -> Response:
    """Adds items, which become the beginning of the next response's input."""
    services: Services = request.app.state.codeact
    owner = owner_of(request)
    read_parameters(request, IncludeQuery)
    body = checked(mark_items(await read_json(request, services.settings.max_message_bytes)), AddItems)
    store = await services.store.get()
    conversation_id = request.path_params["conversation_id"]
    await store.get_conversation(conversation_id, owner=owner)
    await check_room(caller_of(request).accounts, store, services.disk)
    items = await received(body.items, store, owner=owner)
    await store.conversation_items.add(conversation_id, items, owner=owner)
    return await document_response(page_of(items, PageQuery(limit=100, order="asc")))


@operation(dict[str, Any], query=IncludeQuery)
async def get_item(request: Request) -> Response:
    """One item of the conversation. Items of code need no `include` here, since their id asks for them."""
    services: Services = request.app.state.codeact
    query, owner = read_parameters(request, IncludeQuery), owner_of(request)
    store = await services.store.get()
    item = await store.turns.item(request.path_params["conversation_id"], request.path_params["item_id"], owner=owner)
    if isinstance(item, Reasoning):
        response_id = await store.turns.response_of(request.path_params["conversation_id"], item.id, owner=owner)
        response = (await store.get_response(response_id, owner=owner)).response
        item = shown_items(services.settings.code_items, query.include)(response, item) or item
    [shown] = await items_as_asked([item], query.include, partial(store.get_blob, owner=owner))
    return await document_response(shown)


@operation(ConversationObject)
async def delete_item(request: Request) -> Response:
    """Removes an item, so that no model reads it any more; answers with the conversation."""
    services: Services = request.app.state.codeact
    store = await services.store.get()
    conversation = await store.conversation_items.delete(
        request.path_params["conversation_id"], request.path_params["item_id"], owner=owner_of(request)
    )
    return json_response(shape(conversation))


routes = [
    Route("/v1/conversations/{conversation_id}/items", list_items, methods=["GET"]),
    Route("/v1/conversations/{conversation_id}/items", add_items, methods=["POST"]),
    Route("/v1/conversations/{conversation_id}/items/{item_id}", get_item, methods=["GET"]),
    Route("/v1/conversations/{conversation_id}/items/{item_id}", delete_item, methods=["DELETE"]),
]
