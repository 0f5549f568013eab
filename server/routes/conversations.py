"""`/v1/conversations` and `/v1/blobs`: what the store holds, as the standard shows it."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from codeact.errors import InvalidRequest
from codeact.store import Conversation
from server.auth import owner_of
from server.errors import json_response
from server.parameters import read_json
from server.state import State

__all__ = ["routes", "shape"]


def shape(conversation: Conversation) -> dict[str, Any]:
    """The standard's conversation, and what the history knows of it."""
    facets = conversation.facets
    summary = {
        "title": conversation.title,
        "updated_at": conversation.updated_at,
        "pinned": conversation.pinned,
        "tags": conversation.tags,
        "ratings": conversation.ratings,
        "last_response_id": conversation.last_response_id,
        "status": facets.status,
        "responses": facets.responses,
        "models": facets.models,
        "has_error": facets.has_error,
        "has_image": facets.has_image,
        "exceptions": facets.exceptions,
        "tokens": facets.tokens,
        "cost_usd": facets.cost_usd,
        "duration_s": facets.duration_s,
    }
    return {
        "id": conversation.id,
        "object": "conversation",
        "created_at": int(conversation.created_at),
        "metadata": dict(conversation.metadata),
        "codeact:summary": summary,
    }


async def create_conversation(request: Request) -> Response:
    """`POST /v1/conversations`; the body may hold `metadata`."""
    state: State = request.app.state.codeact
    owner = owner_of(request)
    body = await read_json(request, state.settings.max_message_bytes)
    unknown = sorted(set(body) - {"metadata"}) if isinstance(body, dict) else ["body"]
    if unknown:
        raise InvalidRequest(f"The parameter '{unknown[0]}' is not supported here.", param=unknown[0])
    metadata = body.get("metadata") or {}
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise InvalidRequest("'metadata' must map text to text.", param="metadata")
    store = await state.store.get()
    return json_response(shape(await store.create_conversation(owner=owner, metadata=metadata)))


async def get_conversation(request: Request) -> Response:
    """`GET /v1/conversations/{id}`."""
    state: State = request.app.state.codeact
    owner = owner_of(request)
    store = await state.store.get()
    return json_response(shape(await store.get_conversation(request.path_params["conversation_id"], owner=owner)))


async def get_blob(request: Request) -> Response:
    """`GET /v1/blobs/{sha256}`: an image or a long text that code produced. Never rendered as a page of ours."""
    state: State = request.app.state.codeact
    owner = owner_of(request)
    store = await state.store.get()
    blob = await store.get_blob(request.path_params["sha256"], owner=owner)
    headers = {
        "Cache-Control": "private, max-age=31536000, immutable",
        "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(blob.data, media_type=blob.media_type, headers=headers)


routes = [
    Route("/v1/conversations", create_conversation, methods=["POST"]),
    Route("/v1/conversations/{conversation_id}", get_conversation, methods=["GET"]),
    Route("/v1/blobs/{sha256}", get_blob, methods=["GET"]),
]
