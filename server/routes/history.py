"""The history over HTTP: query parameters enter, pages of conversations leave; titles, pins, tags, delete and undo."""

from typing import Annotated, Any, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from codeact.errors import InvalidRequest
from codeact.store import HistoryQuery
from server.auth import Caller, caller_of, owner_of
from server.errors import json_response
from server.openapi import operation
from server.parameters import checked, read_json, read_parameters
from server.routes.conversations import ConversationObject, shape
from server.state import State

__all__ = ["routes"]

EVERYONE = "*"


class _List(HistoryQuery, frozen=True, kw_only=True):
    after: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 20
    order: Literal["asc", "desc"] = "desc"
    owner: Annotated[str, msgspec.Meta(max_length=300)] | None = None


class _Edit(msgspec.Struct):
    title: str | None = None
    pinned: bool | None = None
    tags: list[str] | None = None


@operation(dict[str, Any], query=_List)
async def list_conversations(request: Request) -> Response:
    """`GET /v1/conversations`: one page of those that fit, the one with the latest activity first."""
    state: State = request.app.state.codeact
    asked = read_parameters(request, _List)
    store = await state.store.get()
    page = await store.history.find(
        asked, owner=_scope(caller_of(request), asked.owner), after=asked.after, limit=asked.limit, order=asked.order
    )
    data = [shape(conversation) for conversation in page.conversations]
    return json_response(
        {
            "object": "list",
            "data": data,
            "first_id": data[0].id if data else None,
            "last_id": data[-1].id if data else None,
            "has_more": page.next is not None,
            "codeact:next": page.next,
        }
    )


@operation(dict[str, Any])
async def list_responses(request: Request) -> Response:
    """`GET /v1/conversations/{id}/responses`: every turn of every branch, in the order in which they began."""
    state: State = request.app.state.codeact
    owner = owner_of(request)
    store = await state.store.get()
    turns = await store.history.responses(request.path_params["conversation_id"], owner=owner)
    return json_response({"object": "list", "data": turns})


@operation(ConversationObject, body=_Edit)
async def edit_conversation(request: Request) -> Response:
    """`PATCH /v1/conversations/{id}`: `title`, `pinned` and `tags`; what is left out stays."""
    state: State = request.app.state.codeact
    owner = owner_of(request)
    asked = checked(await read_json(request, state.settings.max_message_bytes), _Edit)
    store = await state.store.get()
    conversation = await store.history.edit(
        request.path_params["conversation_id"],
        owner=owner,
        title=asked.title,
        pinned=asked.pinned,
        tags=asked.tags,
    )
    return json_response(shape(conversation))


@operation(dict[str, Any])
async def delete_conversation(request: Request) -> Response:
    """`DELETE /v1/conversations/{id}`: hidden at once; removed for good after `CODEACT_DELETED_RETENTION_DAYS`."""
    state: State = request.app.state.codeact
    owner = owner_of(request)
    conversation_id = request.path_params["conversation_id"]
    store = await state.store.get()
    await store.history.delete(conversation_id, owner=owner)
    return json_response({"id": conversation_id, "object": "conversation.deleted", "deleted": True})


@operation(ConversationObject)
async def restore_conversation(request: Request) -> Response:
    """`POST /v1/conversations/{id}/restore`: undoes a delete."""
    state: State = request.app.state.codeact
    owner = owner_of(request)
    store = await state.store.get()
    return json_response(shape(await store.history.restore(request.path_params["conversation_id"], owner=owner)))


def _scope(caller: Caller, asked: str | None) -> str | None:
    """Whose conversations are listed; None: everyone's. Only an operator may ask for another's."""
    if asked in (None, caller.owner):
        return caller.owner
    if not caller.operator:
        raise InvalidRequest("'owner' is for operators; without it your own conversations are listed.", param="owner")
    return None if asked == EVERYONE else asked


routes = [
    Route("/v1/conversations", list_conversations, methods=["GET"]),
    Route("/v1/conversations/{conversation_id}/responses", list_responses, methods=["GET"]),
    Route("/v1/conversations/{conversation_id}", edit_conversation, methods=["PATCH"]),
    Route("/v1/conversations/{conversation_id}", delete_conversation, methods=["DELETE"]),
    Route("/v1/conversations/{conversation_id}/restore", restore_conversation, methods=["POST"]),
]
