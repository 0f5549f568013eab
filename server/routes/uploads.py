"""`/v1/uploads`, as defined by the standard: a file in parts, so that a broken connection costs one part only."""

from functools import partial
from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from codeact.runs.admission import check_room
from codeact.runs.input_items import file_name
from codeact.server.auth.caller import caller_of, owner_of
from codeact.server.errors import json_response
from codeact.server.openapi import operation
from codeact.server.requests.parameters import checked, read_json
from codeact.server.requests.uploads import UploadTooLarge, form_hash, uploaded_form
from codeact.server.routes.files import (
    ExpiresAfter,
    FileObject,
    Purpose,
    shape_of_file,
)
from codeact.server.routes.idempotency import idempotent, once
from codeact.server.services import Services
from codeact.store import PendingUpload, UploadedFile
from codeact.store.repositories.upload_parts import MOST_PARTS

__all__ = ["routes"]

MOST_PART_BYTES = 64_000_000
MOST_BODY_BYTES = 100_000


class CreateUpload(msgspec.Struct, kw_only=True):
    """Announces a file of `bytes` bytes."""

    filename: Annotated[str, Meta(min_length=1, max_length=1_000)]
    bytes: Annotated[int, Meta(ge=1)]
    mime_type: Annotated[str, Meta(max_length=200)]
    purpose: Purpose
    expires_after: ExpiresAfter | None = None


class CompleteUpload(msgspec.Struct, kw_only=True):
    """The parts of the file in their order."""

    part_ids: Annotated[list[Annotated[str, Meta(max_length=100)]], Meta(min_length=1, max_length=MOST_PARTS)]
    md5: Annotated[str, Meta(max_length=32)] | None = None


class PartObject(msgspec.Struct, kw_only=True):
    id: str
    upload_id: str
    created_at: int
    object: Literal["upload.part"] = "upload.part"


class UploadObject(msgspec.Struct, kw_only=True):
    """Times are Unix seconds. `file` is there once the upload is completed."""

    id: str
    bytes: int
    created_at: int
    expires_at: int
    filename: str
    purpose: str
    status: str
    file: FileObject | None = None
    object: Literal["upload"] = "upload"


@operation(UploadObject, body=CreateUpload)
@idempotent()
async def create(request: Request) -> Response:
    """`POST /v1/uploads`: begins an upload, which lasts an hour at most."""
    services: Services = request.app.state.codeact
    body = checked(await read_json(request, MOST_BODY_BYTES), CreateUpload)
    limit = services.settings.max_upload_bytes
    if body.bytes > limit:
        raise UploadTooLarge(f"The file is over {limit:,} bytes.", param="bytes")
    store = await services.store.get()
    await check_room(caller_of(request).accounts, store, services.disk)
    upload = await store.upload_parts.create(
        file_name(body.filename, "filename"),
        body.bytes,
        media_type=body.mime_type,
        purpose=body.purpose,
        owner=owner_of(request),
        expires_after_s=body.expires_after.seconds if body.expires_after is not None else None,
    )
    return json_response(_shape(upload))


@operation(PartObject, upload=True)
async def add_part(request: Request) -> Response:
    """`POST /v1/uploads/{id}/parts`, as multipart/form-data with `data`: stores a part of at most 64 MB."""
    services: Services = request.app.state.codeact
    owner, upload_id = owner_of(request), request.path_params["pending_id"]
    store = await services.store.get()
    await check_room(caller_of(request).accounts, store, services.disk)
    upload = await store.upload_parts.get(upload_id, owner=owner)
    async with (
        services.uploads.slot(owner),
        uploaded_form(request, min(MOST_PART_BYTES, upload.size_bytes), field="data") as (file, _),
    ):

        async def add() -> Response:
            part_id = await store.upload_parts.add(upload_id, file.file, owner=owner)
            return json_response(PartObject(id=part_id, upload_id=upload_id, created_at=int(upload.created_at)))

        return await once(request, partial(form_hash, [file], {}), add)


@operation(UploadObject, body=CompleteUpload)
@idempotent()
async def complete(request: Request) -> Response:
    """`POST /v1/uploads/{id}/complete`: makes the file of the parts in `part_ids`. May be repeated."""
    services: Services = request.app.state.codeact
    owner, upload_id = owner_of(request), request.path_params["pending_id"]
    body = checked(await read_json(request, MOST_BODY_BYTES), CompleteUpload)
    store = await services.store.get()
    await check_room(caller_of(request).accounts, store, services.disk)
    async with services.uploads.slot(owner):
        file = await store.upload_parts.complete(upload_id, body.part_ids, owner=owner, md5=body.md5)
    return json_response(_shape(await store.upload_parts.get(upload_id, owner=owner), file))


@operation(UploadObject)
async def cancel(request: Request) -> Response:
    """`POST /v1/uploads/{id}/cancel`: forgets its parts."""
    services: Services = request.app.state.codeact
    store = await services.store.get()
    upload = await store.upload_parts.cancel(request.path_params["pending_id"], owner=owner_of(request))
    return json_response(_shape(upload))


def _shape(upload: PendingUpload, file: UploadedFile | None = None) -> UploadObject:
    return UploadObject(
        id=upload.id,
        bytes=upload.size_bytes,
        created_at=int(upload.created_at),
        expires_at=int(upload.expires_at),
        filename=upload.filename,
        purpose=upload.purpose,
        status=upload.status,
        file=shape_of_file(file) if file is not None else None,
    )


routes = [
    Route("/v1/uploads", create, methods=["POST"]),
    Route("/v1/uploads/{pending_id}/parts", add_part, methods=["POST"]),
    Route("/v1/uploads/{pending_id}/complete", complete, methods=["POST"]),
    Route("/v1/uploads/{pending_id}/cancel", cancel, methods=["POST"]),
]
