"""Conversations as files over HTTP: an id enters, a notebook, Markdown or an archive leaves; archives come back."""

from typing import Any, Literal

import anyio
import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from codeact.errors import InvalidRequest, NotFound
from codeact.exports import Archive, archive_pieces, markdown, notebook, read_archive
from codeact.exports.inline import GetBlob
from codeact.store import Blob, Store, StoredResponse
from server.auth import owner_of
from server.downloads import download_headers
from server.errors import json_response
from server.openapi import operation
from server.parameters import read_body, read_parameters
from server.routes.conversations import ConversationObject, shape
from server.state import State

__all__ = ["routes"]

IMPORT_BYTES = 100_000_000


class _Export(msgspec.Struct):
    format: Literal["ipynb", "md", "json"] = "ipynb"
    response_id: str | None = None


@operation(dict[str, Any], query=_Export, files=("application/x-ipynb+json", "text/markdown"))
async def export(request: Request) -> Response:
    """`GET /v1/conversations/{id}/export?format=ipynb|md|json`.

    A notebook and Markdown show one branch: that of `response_id`, else the latest. JSON holds all of them.
    """
    state: State = request.app.state.codeact
    owner = owner_of(request)
    asked = read_parameters(request, _Export)
    store = await state.store.get()
    conversation = await store.get_conversation(request.path_params["conversation_id"], owner=owner)
    title = conversation.title or "Conversation"
    headers = download_headers(f"{title.rstrip('.…')}.{asked.format}")
    get_blob = _blobs_of(store, owner)
    if asked.format == "json":
        responses = await store.history.responses(conversation.id, owner=owner)
        pieces = archive_pieces(conversation, responses, get_blob)
        return StreamingResponse(pieces, media_type="application/json", headers=headers)
    thread = await _branch(store, conversation.id, asked.response_id or conversation.last_response_id, owner)
    if asked.format == "md":
        return Response(await markdown(title, thread, get_blob), media_type="text/markdown", headers=headers)
    return Response(await notebook(title, thread, get_blob), media_type="application/x-ipynb+json", headers=headers)


@operation(ConversationObject, body=Archive)
async def import_(request: Request) -> Response:
    """`POST /v1/conversations/import`: the JSON of an export becomes a conversation of whoever sends it."""
    state: State = request.app.state.codeact
    owner = owner_of(request)
    body = await read_body(request, IMPORT_BYTES, "the most that can be imported")
    archive = await anyio.to_thread.run_sync(read_archive, body)
    del body
    store = await state.store.get()
    for blob in archive.blobs:
        await store.put_blob(blob.data, blob.media_type, owner=owner)
    about = msgspec.structs.asdict(archive.conversation)
    responses = [StoredResponse(one.response, one.input) for one in archive.responses]
    return json_response(shape(await store.history.add(responses, owner=owner, **about)))


def _blobs_of(store: Store, owner: str) -> GetBlob:
    async def get_blob(sha256: str) -> Blob | None:
        try:
            return await store.get_blob(sha256, owner=owner)
        except NotFound:
            return None

    return get_blob


async def _branch(store: Store, conversation_id: str, response_id: str | None, owner: str) -> list[StoredResponse]:
    if response_id is None:
        return []
    thread = await store.thread(response_id, owner=owner)
    conversation = thread[-1].response.conversation
    if conversation is None or conversation.id != conversation_id:
        raise InvalidRequest(f"'{response_id}' is not in this conversation.", param="response_id")
    return thread


routes = [
    Route("/v1/conversations/import", import_, methods=["POST"]),
    Route("/v1/conversations/{conversation_id}/export", export, methods=["GET"]),
]
