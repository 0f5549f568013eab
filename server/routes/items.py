"""`/v1/conversations/{id}/items`: what was said in a conversation, as the standard lists, adds and deletes it."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from codeact.errors import NotFound
from server.auth import owner_of
from server.errors import json_response
from server.inputs import InputItem, mark_items
from server.openapi import operation
from server.pages import Included, ItemList, PageQuery, page_of
from server.parameters import checked, read_json, read_parameters
from server.preparation import received
from server.routes.conversations import ConversationObject, shape
from server.state import State

__all__ = ["routes"]


class AddItems(msgspec.Struct):
    items: Annotated[list[InputItem], Meta(min_length=1, max_length=20)]


class IncludeQuery(msgspec.Struct):
    include: list[Included] | None = None


@operation(ItemList, query=PageQuery)
async def list_items(request: Request) -> Response:
    """The conversation's items, page by page, newest first unless asked otherwise."""
    state: State = request.app.state.codeact
    query = read_parameters(request, PageQuery)
    store = await state.store.get()
    conversation_id = request.path_params["conversation_id"]
    return json_response(page_of(await store.conversation_items.find(conversation_id, owner=owner_of(request)), query))


@operation(ItemList, body=AddItems, query=IncludeQuery)
async def add_items(request: Request) -> Response:
    """Adds items, which begin the input of the conversation's next response."""
    state: State = request.app.state.codeact
    owner = owner_of(request)
    read_parameters(request, IncludeQuery)
    body = checked(mark_items(await read_json(request, state.settings.max_message_bytes)), AddItems)
    store = await state.store.get()
    conversation_id = request.path_params["conversation_id"]
    await store.get_conversation(conversation_id, owner=owner)
    items = await received(body.items, store, owner=owner)
    await store.conversation_items.add(conversation_id, items, owner=owner)
    return json_response(page_of(items, PageQuery(limit=100, order="asc")))


@operation(dict[str, Any], query=IncludeQuery)
async def get_item(request: Request) -> Response:
    """One item of the conversation."""
    state: State = request.app.state.codeact
    read_parameters(request, IncludeQuery)
    store = await state.store.get()
    item_id = request.path_params["item_id"]
    items = await store.conversation_items.find(request.path_params["conversation_id"], owner=owner_of(request))
    for item in items:
        if item.id == item_id:
            return json_response(item)
    raise NotFound(f"There is no item '{item_id}' in this conversation.", param="item_id")


@operation(ConversationObject)
async def delete_item(request: Request) -> Response:
    """Takes an item out of the conversation, so that no model reads it any more; answers with the conversation."""
    state: State = request.app.state.codeact
    store = await state.store.get()
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
