"""`/v1/files`, as defined by the standard: files that are uploaded once, and named by their id in later requests.

Clients of Anthropic's API get its shapes, and its Files API: no `purpose`, `expires_in_seconds`, pages by `page`.
"""

import posixpath
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from codeact.errors import InvalidRequest, NotFound
from codeact.runs.admission import check_room
from codeact.runs.input_items import file_name
from codeact.runs.media import stored_sha256
from codeact.server.auth.caller import caller_of, owner_of
from codeact.server.errors import json_response
from codeact.server.openapi import operation
from codeact.server.requests.downloads import download_headers
from codeact.server.requests.pages import listed
from codeact.server.requests.parameters import checked, read_parameters
from codeact.server.requests.ranges import FileResponse, blob_source
from codeact.server.requests.uploads import form_hash, uploaded_form
from codeact.server.routes.idempotency import once
from codeact.server.services import Services
from codeact.server.transports.anthropic_shapes import Deleted, Page, metadata_of, speaks_anthropic
from codeact.store import UploadedFile

if TYPE_CHECKING:
    from codeact.store import Store

__all__ = ["ExpiresAfter", "FileObject", "Purpose", "routes", "shape_of_file"]

Purpose = Literal["assistants", "user_data", "vision"]
"""The standard's other purposes are for batches, fine-tuning and evals, which this server does not have."""
SHORTEST_S, LONGEST_S = 3600, 2_592_000
LONGEST_OF_ANTHROPIC_S = 7_776_000
FIELDS = frozenset({"purpose", "expires_after[anchor]", "expires_after[seconds]"})
"""The fields of an upload's form beside the file."""
WRITTEN = "cfile_"
"""How the ids of files in containers begin; code wrote them, or somebody uploaded them there."""


class ExpiresAfter(msgspec.Struct, forbid_unknown_fields=True):
    anchor: Literal["created_at"]
    seconds: Annotated[int, Meta(ge=SHORTEST_S, le=LONGEST_S)]


class _Upload(msgspec.Struct):
    purpose: Purpose
    expires_after: ExpiresAfter | None = None


class _AnthropicUpload(msgspec.Struct):
    expires_in_seconds: Annotated[int, Meta(ge=SHORTEST_S, le=LONGEST_OF_ANTHROPIC_S)] | None = None


class _AnthropicList(msgspec.Struct, kw_only=True):
    """Older official clients send `beta`, and `after_id` for `page`."""

    limit: Annotated[int, Meta(ge=1, le=1_000)] = 20
    page: str | None = None
    ids: Annotated[list[str], Meta(max_length=100)] | None = None
    after_id: str | None = None
    beta: bool | None = None


class _List(msgspec.Struct, kw_only=True):
    limit: Annotated[int, Meta(ge=1, le=10_000)] = 10_000
    order: Literal["asc", "desc"] = "desc"
    after: str | None = None
    purpose: str | None = None


class FileObject(msgspec.Struct):
    """`created_at` and `expires_at` are Unix seconds."""

    id: str
    bytes: int
    created_at: int
    expires_at: int | None
    filename: str
    purpose: str
    object: Literal["file"] = "file"
    status: Literal["processed"] = "processed"


@operation(FileObject, upload=True)
async def create(request: Request) -> Response:
    """`POST /v1/files`, as multipart/form-data with `file`, `purpose` and perhaps `expires_after`: stores the file.

    It counts for the owner's stored bytes. A file has at most CODEACT_MAX_UPLOAD_BYTES.
    """
    services: Services = request.app.state.codeact
    owner = owner_of(request)
    anthropic = speaks_anthropic(request)
    known = {"expires_in_seconds"} if anthropic else FIELDS
    store = await services.store.get()
    await check_room(caller_of(request).accounts, store, services.disk)
    async with (
        services.uploads.slot(owner),
        uploaded_form(request, services.settings.max_upload_bytes, fields=known) as (file, fields),
    ):
        if anthropic:
            purpose, seconds = "user_data", checked(fields, _AnthropicUpload, strict=False).expires_in_seconds
        else:
            wanted = checked(_nested(fields), _Upload, strict=False)
            purpose = wanted.purpose
            seconds = wanted.expires_after.seconds if wanted.expires_after is not None else None

        async def add() -> Response:
            added = await store.uploads.add(
                file_name(file.filename or "", "file"),
                file.file,
                media_type=file.content_type or "application/octet-stream",
                purpose=purpose,
                owner=owner,
                expires_after=timedelta(seconds=seconds) if seconds is not None else None,
            )
            return json_response(metadata_of(added) if anthropic else shape_of_file(added))

        return await once(request, partial(form_hash, [file], fields), add)


@operation(dict[str, Any], query=_List)
async def list_(request: Request) -> Response:
    """`GET /v1/files`: newest first."""
    services: Services = request.app.state.codeact
    store = await services.store.get()
    if speaks_anthropic(request):
        return json_response(await _anthropic_page(request, store))
    owner, query = owner_of(request), read_parameters(request, _List)
    found = await store.uploads.page(
        owner=owner, after=query.after, limit=query.limit + 1, order=query.order, purpose=query.purpose
    )
    page = [shape_of_file(file) for file in found[: query.limit]]
    return json_response(listed(page, has_more=len(found) > query.limit))


@operation(FileObject)
async def retrieve(request: Request) -> Response:
    """`GET /v1/files/{id}`: also of a file that code wrote and an answer cites."""
    file = await _file(request)
    return json_response(metadata_of(file) if speaks_anthropic(request) else shape_of_file(file))


@operation(files=("application/octet-stream",))
async def content(request: Request) -> Response:
    """`GET /v1/files/{id}/content`: the file, or a `Range` of it, as a download."""
    services: Services = request.app.state.codeact
    file = await _file(request)
    store = await services.store.get()
    source = blob_source(store, await store.blob_parts.open(file.sha256, owner=owner_of(request)))
    headers = download_headers(file.filename)
    return FileResponse(source, request, media_type="application/octet-stream", headers=headers)


@operation(dict[str, Any])
async def delete(request: Request) -> Response:
    """`DELETE /v1/files/{id}`: conversations that use the file keep their copy."""
    services: Services = request.app.state.codeact
    file_id: str = request.path_params["upload_id"]
    await (await services.store.get()).uploads.delete(file_id, owner=owner_of(request))
    if speaks_anthropic(request):
        return json_response(Deleted(file_id))
    return json_response({"id": file_id, "object": "file", "deleted": True})


async def _file(request: Request) -> UploadedFile:
    services: Services = request.app.state.codeact
    file_id: str = request.path_params["upload_id"]
    return await _found(file_id, await services.store.get(), owner_of(request))


async def _found(file_id: str, store: "Store", owner: str) -> UploadedFile:
    """An uploaded file, or a container's. Raises `NotFound`, and `InvalidRequest` if only its container has it."""
    if not file_id.startswith(WRITTEN):
        return await store.uploads.get(file_id, owner=owner)
    file = await store.files.file(file_id, owner=owner)
    name, sha256 = posixpath.basename(file.path), stored_sha256(file)
    return UploadedFile(file.id, name, file.size_bytes, "assistants_output", file.created_at, None, sha256)


async def _anthropic_page(request: Request, store: "Store") -> Page:
    owner, query = owner_of(request), read_parameters(request, _AnthropicList)
    if query.ids is not None:
        files = []
        for file_id in dict.fromkeys(query.ids):
            with suppress(NotFound, InvalidRequest):
                files.append(await _found(file_id, store, owner))
        return Page([metadata_of(file) for file in files])
    after = query.page or query.after_id
    found = await store.uploads.page(owner=owner, after=after, limit=query.limit + 1, order="desc", purpose=None)
    return Page([metadata_of(file) for file in found[: query.limit]], has_more=len(found) > query.limit)


def _nested(fields: Mapping[str, str]) -> dict[str, Any]:
    """Converts a form's fields into the JSON of `_Upload`: `expires_after[seconds]` is a field of an object."""
    values: dict[str, Any] = {name: value for name, value in fields.items() if name == "purpose"}
    after = {name.partition("[")[2][:-1]: value for name, value in fields.items() if name != "purpose"}
    return values | ({"expires_after": after} if after else {})


def shape_of_file(file: UploadedFile) -> FileObject:
    expires_at = int(file.expires_at) if file.expires_at is not None else None
    return FileObject(file.id, file.size_bytes, int(file.created_at), expires_at, file.filename, file.purpose)


routes = [
    Route("/v1/files", create, methods=["POST"]),
    Route("/v1/files", list_, methods=["GET"]),
    Route("/v1/files/{upload_id}", retrieve, methods=["GET"]),
    Route("/v1/files/{upload_id}", delete, methods=["DELETE"]),
    Route("/v1/files/{upload_id}/content", content, methods=["GET"]),
]
