"""Exports conversations over HTTP as notebooks, Markdown or archives, and imports archives."""

import hashlib
from collections.abc import Callable, Coroutine
from typing import Any, Literal

import anyio
import anyio.from_thread
import anyio.to_thread
import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from codeact.errors import InvalidRequest, NotFound
from codeact.exports import Archive, archive_pieces, markdown, notebook, read_archive
from codeact.runs.admission import check_room
from codeact.server.auth.caller import caller_of, owner_of
from codeact.server.errors import json_response
from codeact.server.openapi import operation
from codeact.server.requests.downloads import download_headers
from codeact.server.requests.parameters import read_parameters, spooled_body
from codeact.server.routes.conversations import ConversationObject, shape
from codeact.server.routes.idempotency import once
from codeact.server.services import Services
from codeact.store import Blob, Store, StoredResponse

__all__ = ["routes"]

IMPORT_BYTES = 100_000_000
_IMPORTS = anyio.Semaphore(2)
"""How many imports are read at a time. Others wait, with their bodies on disk."""
_EXPORTING = anyio.CapacityLimiter(2)
_EXPORTS: dict[str, tuple[Callable[..., bytes], str]] = {
    "md": (markdown, "text/markdown"),
    "ipynb": (notebook, "application/x-ipynb+json"),
}


class _Export(msgspec.Struct):
    format: Literal["ipynb", "md", "json"] = "ipynb"
    response_id: str | None = None


@operation(dict[str, Any], query=_Export, files=("application/x-ipynb+json", "text/markdown"))
async def export(request: Request) -> Response:
    """`GET /v1/conversations/{id}/export?format=ipynb|md|json`.

    A notebook and Markdown contain one branch: that of `response_id`, or the latest. JSON contains all branches.
    """
    services: Services = request.app.state.codeact
    owner = owner_of(request)
    query = read_parameters(request, _Export)
    store = await services.store.get()
    conversation = await store.get_conversation(request.path_params["conversation_id"], owner=owner)
    title = conversation.title or "Conversation"
    headers = download_headers(f"{title.rstrip('.…')}.{query.format}")
    get_blob = _blobs_of(store, owner)
    if query.format == "json":
        responses = await store.turns.stream(conversation.id, owner=owner)
        pieces = archive_pieces(conversation, responses, get_blob)
        return StreamingResponse(pieces, media_type="application/json", headers=headers)
    thread = await _branch(store, conversation.id, query.response_id or conversation.last_response_id, owner)
    written, media_type = _EXPORTS[query.format]
    more = []
    if query.format == "ipynb":
        more.append(await store.certificates.of_conversation(conversation.id, owner=owner))

    def get_blob_from_thread(sha256: str) -> Blob | None:
        return anyio.from_thread.run(get_blob, sha256)

    whole = await anyio.to_thread.run_sync(written, title, thread, get_blob_from_thread, *more, limiter=_EXPORTING)
    return Response(whole, media_type=media_type, headers=headers)


@operation(ConversationObject, body=Archive)
async def import_(request: Request) -> Response:
    """`POST /v1/conversations/import`: makes a conversation of the caller from an exported JSON file."""
    services: Services = request.app.state.codeact
    owner = owner_of(request)
    await check_room(caller_of(request).accounts, await services.store.get(), services.disk)
    async with services.uploads.slot(owner):
        return await _imported(request, owner)


async def _imported(request: Request, owner: str) -> Response:
    services: Services = request.app.state.codeact
    store = await services.store.get()

    async def add() -> Response:
        async with _IMPORTS:
            archive = await anyio.to_thread.run_sync(read_archive, body)
            blobs = archive.blobs()
            # Each of them may have nearly the size of the archive; the generator decodes it and computes its hash.
            while (blob := await anyio.to_thread.run_sync(next, blobs, None)) is not None:
                await store.put_blob(blob.data, blob.media_type, owner=owner)
        about = msgspec.structs.asdict(archive.conversation)
        responses = [StoredResponse(one.response, one.input) for one in archive.responses]
        await store.stored.add(owner, await anyio.to_thread.run_sync(lambda: len(msgspec.json.encode(responses))))
        return json_response(shape(await store.history.add(responses, owner=owner, **about)))

    async def body_hash() -> bytes:
        return (await anyio.to_thread.run_sync(hashlib.sha256, body)).digest()

    async with spooled_body(request, IMPORT_BYTES, "the most that can be imported") as body:
        return await once(request, body_hash, add)


def _blobs_of(store: Store, owner: str) -> Callable[[str], Coroutine[Any, Any, Blob | None]]:
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
