"""The history over HTTP: pages of conversations; titles, pins, tags, deletion and restoring."""

from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from codeact.errors import InvalidRequest
from codeact.server.auth.caller import Caller, caller_of, owner_of
from codeact.server.documents import document_pieces
from codeact.server.errors import json_response
from codeact.server.openapi import operation
from codeact.server.requests.parameters import checked, read_json, read_parameters
from codeact.server.routes.conversations import ConversationObject, shape
from codeact.server.services import Services
from codeact.store import HistoryQuery, StoredResponse

__all__ = ["routes"]

EVERYONE = "*"


class _List(HistoryQuery, frozen=True, kw_only=True):
    after: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 20
    order: Literal["asc", "desc"] = "desc"
    owner: Annotated[str, msgspec.Meta(max_length=300)] | None = None
    excerpts: bool = False


class _Bin(msgspec.Struct, kw_only=True):
    after: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 20


class _Settings(msgspec.Struct, forbid_unknown_fields=True):
    """What a face asks with in this conversation. The server keeps it for the face and does not use it itself."""

    model: Annotated[str, msgspec.Meta(max_length=300)] = ""
    instructions: Annotated[str, msgspec.Meta(max_length=20_000)] = ""
    effort: Literal["", "none", "minimal", "low", "medium", "high", "xhigh"] = ""
    profile: Annotated[str, msgspec.Meta(max_length=100)] = ""


class _Edit(msgspec.Struct):
    title: str | None = None
    pinned: bool | None = None
    tags: list[str] | None = None
    folder: str | None = None
    settings: _Settings | None = None


@operation(dict[str, Any], query=_List)
async def list_conversations(request: Request) -> Response:
    """`GET /v1/conversations`: one page of the matching conversations, latest activity first."""
    services: Services = request.app.state.codeact
    query = read_parameters(request, _List)
    caller = caller_of(request)
    owner = _scope(caller, query.owner)
    if owner != caller.owner:
        services.audit.record(caller, "conversations.list", owner or EVERYONE)
    store = await services.store.get()
    page = await store.history.find(query, owner=owner, after=query.after, limit=query.limit, order=query.order)
    data = [shape(conversation) for conversation in page.conversations]
    if query.excerpts and query.query:
        excerpts = await store.excerpts.find([one.id for one in data], query.query, owner=owner)
        for one in data:
            one.excerpt = excerpts.get(one.id, msgspec.UNSET)
    return _page(data, next_=page.next)


@operation(dict[str, Any], query=_Bin)
async def list_bin(request: Request) -> Response:
    """`GET /v1/bin`: the caller's deleted conversations, latest deleted first, as long as they can be restored."""
    services: Services = request.app.state.codeact
    query = read_parameters(request, _Bin)
    store = await services.store.get()
    found = await store.bin.find(owner=owner_of(request), after=query.after, limit=query.limit + 1)
    data = [shape(conversation) for conversation in found[: query.limit]]
    return _page(data, next_=data[-1].id if len(found) > query.limit else None)


def _page(data: list[ConversationObject], *, next_: str | None) -> Response:
    return json_response(
        {
            "object": "list",
            "data": data,
            "first_id": data[0].id if data else None,
            "last_id": data[-1].id if data else None,
            "has_more": next_ is not None,
            "codeact:next": next_,
        }
    )


@operation(dict[str, Any])
async def list_responses(request: Request) -> Response:
    """`GET /v1/conversations/{id}/responses`: every turn of every branch, in the order in which they began."""
    services: Services = request.app.state.codeact
    owner = owner_of(request)
    store = await services.store.get()
    turns = await store.turns.stream(request.path_params["conversation_id"], owner=owner)
    return StreamingResponse(_listed(turns), media_type="application/json")


async def _listed(turns: AsyncIterator[StoredResponse]) -> AsyncIterator[bytes]:
    """The list as JSON in pieces, so that a long conversation is never completely in memory."""
    yield b'{"object":"list","data":['
    separator = b""
    async for turn in turns:
        yield separator
        separator = b","
        async for piece in document_pieces(turn):
            yield piece
    yield b"]}"


@operation(ConversationObject, body=_Edit)
async def edit_conversation(request: Request) -> Response:
    """`PATCH /v1/conversations/{id}`: changes `title`, `pinned`, `tags`, `folder` and `settings`. Omitted ones stay."""
    services: Services = request.app.state.codeact
    owner = owner_of(request)
    body = checked(await read_json(request, services.settings.max_message_bytes), _Edit)
    store = await services.store.get()
    conversation = await store.history.edit(
        request.path_params["conversation_id"],
        owner=owner,
        title=body.title,
        pinned=body.pinned,
        tags=body.tags,
        folder=body.folder,
        settings=msgspec.structs.asdict(body.settings) if body.settings is not None else None,
    )
    return json_response(shape(conversation))


@operation(dict[str, Any])
async def delete_conversation(request: Request) -> Response:
    """`DELETE /v1/conversations/{id}`: hides it at once, and removes it after `CODEACT_DELETED_RETENTION_DAYS`."""
    services: Services = request.app.state.codeact
    owner = owner_of(request)
    conversation_id = request.path_params["conversation_id"]
    store = await services.store.get()
    await store.history.delete(conversation_id, owner=owner)
    return json_response({"id": conversation_id, "object": "conversation.deleted", "deleted": True})


@operation(dict[str, Any])
async def remove_from_bin(request: Request) -> Response:
    """`DELETE /v1/bin/{id}`: removes a deleted conversation for good, at once."""
    services: Services = request.app.state.codeact
    conversation_id = request.path_params["conversation_id"]
    store = await services.store.get()
    await store.bin.remove(conversation_id, owner=owner_of(request))
    return json_response({"id": conversation_id, "object": "conversation.deleted", "deleted": True})


@operation(ConversationObject)
async def restore_conversation(request: Request) -> Response:
    """`POST /v1/conversations/{id}/restore`: undoes a deletion."""
    services: Services = request.app.state.codeact
    owner = owner_of(request)
    store = await services.store.get()
    return json_response(shape(await store.history.restore(request.path_params["conversation_id"], owner=owner)))


def _scope(caller: Caller, owner: str | None) -> str | None:
    """The owner whose conversations are listed; None: all owners. Only operators may name another owner."""
    if owner in (None, caller.owner):
        return caller.owner
    if not caller.operator:
        raise InvalidRequest("'owner' is for operators; without it your own conversations are listed.", param="owner")
    return None if owner == EVERYONE else owner


routes = [
    Route("/v1/conversations", list_conversations, methods=["GET"]),
    Route("/v1/conversations/{conversation_id}/responses", list_responses, methods=["GET"]),
    Route("/v1/conversations/{conversation_id}", edit_conversation, methods=["PATCH"]),
    Route("/v1/conversations/{conversation_id}", delete_conversation, methods=["DELETE"]),
    Route("/v1/conversations/{conversation_id}/restore", restore_conversation, methods=["POST"]),
    Route("/v1/bin", list_bin, methods=["GET"]),
    Route("/v1/bin/{conversation_id}", remove_from_bin, methods=["DELETE"]),
]
