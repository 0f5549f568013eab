"""`/v1/conversations` and `/v1/blobs`: stored conversations and blobs, in the standard's form."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from codeact.errors import CodeActError
from codeact.runs.admission import check_room
from codeact.runs.input_items import InputItem, mark_items
from codeact.runs.media import served_type
from codeact.runs.preparation import received
from codeact.server.auth.caller import caller_of, owner_of
from codeact.server.errors import json_response
from codeact.server.openapi import operation
from codeact.server.requests.create import Metadata
from codeact.server.requests.parameters import checked, read_json
from codeact.server.requests.ranges import FileResponse, blob_source
from codeact.server.routes.idempotency import idempotent
from codeact.server.services import Services
from codeact.store import Blob, Conversation

__all__ = ["ConversationObject", "blob_response", "routes", "shape"]


class Summary(msgspec.Struct):
    """The history's fields of a conversation."""

    title: str | None
    updated_at: float
    pinned: bool
    tags: tuple[str, ...]
    folder: str | None
    settings: dict[str, str]
    ratings: tuple[str, ...]
    last_response_id: str | None
    status: str | None
    responses: int
    models: list[str]
    has_error: bool
    has_image: bool
    exceptions: list[str]
    tokens: int
    cost_usd: float
    duration_s: float


class ConversationObject(msgspec.Struct, kw_only=True):
    """A conversation in the standard's form."""

    id: str
    object: Literal["conversation"] = "conversation"
    created_at: int
    metadata: dict[str, str]
    summary: Summary = msgspec.field(name="codeact:summary")
    deleted_at: float | msgspec.UnsetType = msgspec.field(name="codeact:deleted_at", default=msgspec.UNSET)
    """In Unix seconds; only in the list of the bin."""
    excerpt: str | msgspec.UnsetType = msgspec.field(name="codeact:excerpt", default=msgspec.UNSET)
    """Where the words of a query stand; only in a list that was asked for `excerpts`."""


def shape(conversation: Conversation) -> ConversationObject:
    """Converts a conversation to the standard's form."""
    facets = conversation.facets
    return ConversationObject(
        id=conversation.id,
        created_at=int(conversation.created_at),
        metadata=dict(conversation.metadata),
        summary=Summary(
            title=conversation.title,
            updated_at=conversation.updated_at,
            pinned=conversation.pinned,
            tags=conversation.tags,
            folder=conversation.folder,
            settings=dict(conversation.settings),
            ratings=conversation.ratings,
            last_response_id=conversation.last_response_id,
            status=facets.status,
            responses=facets.responses,
            models=facets.models,
            has_error=facets.has_error,
            has_image=facets.has_image,
            exceptions=facets.exceptions,
            tokens=facets.tokens,
            cost_usd=facets.cost_usd,
            duration_s=facets.duration_s,
        ),
        deleted_at=conversation.deleted_at if conversation.deleted_at is not None else msgspec.UNSET,
    )


BLOB_HEADERS = {
    "Cache-Control": "private, max-age=31536000, immutable",
    "Content-Disposition": "attachment",
    "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
"""Others made the content of a blob. So it is downloaded and never rendered as one of our pages, whatever its type."""


def blob_response(blob: Blob) -> Response:
    """The answer with a blob that is completely in memory."""
    return Response(blob.data, media_type=served_type(blob), headers=BLOB_HEADERS)


class CreateConversation(msgspec.Struct):
    """`items` come before the first response."""

    items: Annotated[list[InputItem], Meta(max_length=20)] | None = None
    metadata: Metadata | None = None


class UpdateConversation(msgspec.Struct):
    metadata: Metadata | None


@operation(ConversationObject, body=CreateConversation)
@idempotent()
async def create_conversation(request: Request) -> Response:
    """Makes a conversation, optionally with earlier items."""
    services: Services = request.app.state.codeact
    owner = owner_of(request)
    body = checked(mark_items(await read_json(request, services.settings.max_message_bytes)), CreateConversation)
    store = await services.store.get()
    await check_room(caller_of(request).accounts, store, services.disk)
    items = await received(body.items or [], store, owner=owner)
    conversation = await store.create_conversation(owner=owner, metadata=body.metadata or {})
    if items:
        try:
            await store.conversation_items.add(conversation.id, items, owner=owner)
        except CodeActError:
            await store.purging.discard(conversation.id, owner=owner)
            raise
    return json_response(shape(conversation))


@operation(ConversationObject, body=UpdateConversation)
async def update_conversation(request: Request) -> Response:
    """Replaces the conversation's metadata."""
    services: Services = request.app.state.codeact
    owner = owner_of(request)
    body = checked(await read_json(request, services.settings.max_message_bytes), UpdateConversation)
    store = await services.store.get()
    conversation_id = request.path_params["conversation_id"]
    return json_response(
        shape(await store.conversation_items.set_metadata(conversation_id, body.metadata or {}, owner=owner))
    )


@operation(ConversationObject)
async def get_conversation(request: Request) -> Response:
    """The conversation. Its items are listed separately."""
    services: Services = request.app.state.codeact
    owner = owner_of(request)
    store = await services.store.get()
    return json_response(shape(await store.get_conversation(request.path_params["conversation_id"], owner=owner)))


async def get_blob(request: Request) -> Response:
    """`GET /v1/blobs/{sha256}`: an image or a long text that code produced, or a `Range` of it, as a download."""
    services: Services = request.app.state.codeact
    owner = owner_of(request)
    store = await services.store.get()
    blob = await store.blob_parts.open(request.path_params["sha256"], owner=owner)
    media_type = served_type(blob.head)
    return FileResponse(blob_source(store, blob), request, media_type=media_type, headers=BLOB_HEADERS)


routes = [
    Route("/v1/conversations", create_conversation, methods=["POST"]),
    Route("/v1/conversations/{conversation_id}", get_conversation, methods=["GET"]),
    Route("/v1/conversations/{conversation_id}", update_conversation, methods=["POST"]),
    Route("/v1/blobs/{sha256}", get_blob, methods=["GET"]),
]
