"""`/v1/containers` and their files, as defined by the standard, implemented with sandboxes and the store."""

import posixpath
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Annotated, Any

import anyio
import msgspec
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from codeact.errors import InvalidRequest, NotFound
from codeact.file_names import distinct
from codeact.runs.admission import Admission, check_room
from codeact.runs.input_items import file_name
from codeact.runs.media import stored_sha256
from codeact.server.auth.caller import caller_of, owner_of
from codeact.server.errors import json_response
from codeact.server.openapi import operation
from codeact.server.peers.requests import HolderUnreachable, pass_on
from codeact.server.requests.containers import ExpiresAfter, FileIds, MemoryLimit, NetworkPolicy, container_options
from codeact.server.requests.downloads import download_headers
from codeact.server.requests.pages import PageQuery, page_of
from codeact.server.requests.parameters import checked, read_json, read_parameters
from codeact.server.requests.ranges import FileResponse, Source, blob_source
from codeact.server.requests.skills import staged_skills
from codeact.server.requests.tools import Skills
from codeact.server.requests.uploads import form_hash, uploaded_file
from codeact.server.routes.idempotency import idempotent, once
from codeact.server.services import Services
from codeact.store import Container, ContainerFile
from codeact.workspaces.containers import STORED_FILE_BYTES, ContainerGone, Containers
from sandbox_pool.backends.base import egress_problem

__all__ = ["container_of", "file_in_sandbox", "passed_on", "routes", "shape_of"]

PIECE_BYTES = 65_536
ROOT = "/mnt/data/"
"""The working directory as the API names it. In every sandbox this leads there."""
DISCARD_S = 5.0


class _Create(msgspec.Struct):
    """The operator decides how large containers may be, what they may reach and how long they may be unused."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    expires_after: ExpiresAfter | None = None
    file_ids: FileIds | None = None
    memory_limit: MemoryLimit | None = None
    network_policy: NetworkPolicy | None = None
    skills: Skills | None = None


class _Copy(msgspec.Struct):
    file_id: str


class _List(PageQuery):
    name: str | None = None


@operation(dict[str, Any], body=_Create)
@idempotent()
async def create(request: Request) -> Response:
    """`POST /v1/containers`: makes a new conversation and claims a sandbox for it.

    It counts as a response for the owner's limits, and takes no sandbox from another owner's conversation.
    """
    services: Services = request.app.state.codeact
    owner = owner_of(request)
    body = checked(await read_json(request, services.settings.max_message_bytes), _Create)
    options = container_options(
        body.memory_limit,
        body.network_policy,
        services.settings,
        expires_after=body.expires_after,
        embedded=caller_of(request).grant is not None,
    )
    pool, store = await services.pool.get(), await services.store.get()
    if options.egress is not None and (problem := egress_problem(pool.backend)):
        raise InvalidRequest(problem, param="network_policy")
    skills = await staged_skills(body.skills or (), store, owner=owner)
    await check_room(caller_of(request).accounts, store, services.disk)
    async with Admission.open(caller_of(request).accounts, store) as admission:
        await admission.ask()
        await services.containers.make_room(pool, owner=owner)
        conversation = await store.create_conversation(
            owner=owner, metadata={"title": body.name}, container=options.shown()
        )
        try:
            container = await services.containers.create(
                conversation.id, owner=owner, name=body.name, options=options, skills=skills
            )
            names: list[str] = []
            for file_id in dict.fromkeys(body.file_ids or ()):
                copied = await _copied(file_id, container, services, param="file_ids", beside=names)
                names.append(copied.path)
        except BaseException:
            with anyio.move_on_after(DISCARD_S, shield=True):
                await store.purging.discard(conversation.id, owner=owner)
            raise
    return json_response(shape_of(container, services))


@operation(dict[str, Any], query=_List)
async def list_(request: Request) -> Response:
    """`GET /v1/containers`: newest first."""
    services: Services = request.app.state.codeact
    owner = owner_of(request)
    query = read_parameters(request, _List)
    store = await services.store.get()
    found = await store.files.containers(
        owner=owner, after=query.after, limit=query.limit + 1, order=query.order, name=query.name
    )
    data = [shape_of(container, services) for container in found[: query.limit]]
    return json_response(
        {
            "object": "list",
            "data": data,
            "has_more": len(found) > query.limit,
            "first_id": data[0]["id"] if data else None,
            "last_id": data[-1]["id"] if data else None,
        }
    )


@operation(dict[str, Any])
async def retrieve(request: Request) -> Response:
    """`GET /v1/containers/{id}`."""
    services: Services = request.app.state.codeact
    return json_response(shape_of(await container_of(request), services))


@operation(dict[str, Any])
async def delete(request: Request) -> Response:
    """`DELETE /v1/containers/{id}`: deletes its variables and files, and what is saved of the conversation's state.

    Its conversation stays and gets a new container.
    """
    services: Services = request.app.state.codeact
    container = await container_of(request)
    if (passed := await passed_on(request, container)) is not None:
        return passed
    await services.checkpoints.settled(container.conversation_id)
    await services.containers.delete(container)
    store = await services.store.get()
    await store.checkpoints.forget(container.conversation_id, owner=container.owner)
    return json_response({"id": container.id, "object": "container.deleted", "deleted": True})


@operation(dict[str, Any], body=_Copy, upload=True)
async def upload(request: Request) -> Response:
    """`POST /v1/containers/{id}/files`, as multipart/form-data: writes the file under the last part of its name.

    As JSON, `file_id` names a file of another container, which is copied.
    """
    services: Services = request.app.state.codeact
    container = await container_of(request)
    store = await services.store.get()
    await check_room(caller_of(request).accounts, store, services.disk)
    if container.held_by is not None:
        async with services.uploads.slot(container.owner):  # Its body is in a temporary file while it is passed on.
            if (passed := await passed_on(request, container)) is not None:
                return passed
    services.containers.check_here(container)
    if request.headers.get("content-type", "").startswith("application/json"):
        return await _copy(request)
    limit = services.settings.sandbox_spec.limits.file_mb * 1024 * 1024
    async with services.uploads.slot(container.owner):
        return await _uploaded(request, container, limit)


@idempotent()
async def _copy(request: Request) -> Response:
    services: Services = request.app.state.codeact
    body = checked(await read_json(request, services.settings.max_message_bytes), _Copy)
    return json_response(_file_shape(await _copied(body.file_id, await container_of(request), services)))


async def _uploaded(request: Request, container: Container, limit: int) -> Response:
    services: Services = request.app.state.codeact
    store = await services.store.get()

    async def write() -> Response:
        path = file_name(file.filename or "", "file")
        async with services.containers.running(container) as sandbox:
            info = await sandbox.write_file(path, _pieces(file))
        sha256 = None
        if info.size_bytes <= STORED_FILE_BYTES:
            await file.seek(0)
            sha256 = await store.put_blob(await file.read(), "application/octet-stream", owner=container.owner)
        added = await store.files.add(
            container, path, size_bytes=info.size_bytes, modified_at=info.modified_at, source="user", sha256=sha256
        )
        return json_response(_file_shape(added))

    async with uploaded_file(request, limit) as file:
        return await once(request, partial(form_hash, [file], {}), write)


@operation(dict[str, Any], query=PageQuery)
async def list_files(request: Request) -> Response:
    """`GET /v1/containers/{id}/files`: the current files; of an expired container, its last ones."""
    services: Services = request.app.state.codeact
    query = read_parameters(request, PageQuery)
    container = await container_of(request)
    with suppress(HolderUnreachable):  # What is known of its files is in the database.
        if (passed := await passed_on(request, container)) is not None:
            return passed
    await services.containers.refresh(container)
    store = await services.store.get()
    page = page_of(await store.files.files(container.id, owner=container.owner), query)
    page.data = [_file_shape(file) for file in page.data]
    return json_response(page)


@operation(dict[str, Any])
async def retrieve_file(request: Request) -> Response:
    """`GET /v1/containers/{id}/files/{file_id}`."""
    return json_response(_file_shape(await _file(request)))


@operation(files=("application/octet-stream",))
async def content(request: Request) -> Response:
    """`GET /v1/containers/{id}/files/{file_id}/content`: the file, or a `Range` of it, as a download."""
    services: Services = request.app.state.codeact
    file = await _file(request)
    headers = download_headers(file.path)
    store = await services.store.get()
    if file.sha256 is not None:
        source = blob_source(store, await store.blob_parts.open(file.sha256, owner=owner_of(request)))
    else:
        container = await container_of(request)
        if (passed := await passed_on(request, container)) is not None:
            return passed
        source = file_in_sandbox(services.containers, container, file.path)
    return FileResponse(source, request, media_type="application/octet-stream", headers=headers)


@operation(dict[str, Any])
async def delete_file(request: Request) -> Response:
    """`DELETE /v1/containers/{id}/files/{file_id}`: also in the sandbox, if that is running."""
    services: Services = request.app.state.codeact
    container, file = await container_of(request), await _file(request)
    if (passed := await passed_on(request, container)) is not None:
        return passed
    with suppress(ContainerGone):
        async with services.containers.running(container) as sandbox:
            await sandbox.delete_file(file.path)
    store = await services.store.get()
    await store.files.drop(file.id, container_id=container.id)
    return json_response({"id": file.id, "object": "container.file.deleted", "deleted": True})


@asynccontextmanager
async def file_in_sandbox(containers: Containers, container: Container, path: str) -> AsyncIterator[Source]:
    """A file that is too large for the store, streamed from the sandbox. Bytes before a range are read and dropped."""
    async with containers.running(container) as sandbox, sandbox.read_file(path) as file:

        async def read(start: int, stop: int) -> AsyncGenerator[bytes, None]:
            at = 0
            async for piece in file:
                if wanted := piece[max(0, start - at) : max(0, stop - at)]:
                    yield wanted
                at += len(piece)
                if at >= stop and stop < file.info.size_bytes:
                    return

        yield Source(file.info.size_bytes, read)


async def container_of(request: Request) -> Container:
    """The container that the path names. Raises `NotFound` if it is not the caller's."""
    services: Services = request.app.state.codeact
    store = await services.store.get()
    return await store.files.get(request.path_params["container_id"], owner=owner_of(request))


async def passed_on(request: Request, container: Container) -> Response | None:
    """The answer of the server that has the container's sandbox; None if this one has to answer."""
    services: Services = request.app.state.codeact
    return await pass_on(services.peers, container.held_by, request, services.settings)


async def _file(request: Request) -> ContainerFile:
    services: Services = request.app.state.codeact
    store = await services.store.get()
    return await store.files.file(
        request.path_params["file_id"], container_id=request.path_params["container_id"], owner=owner_of(request)
    )


async def _copied(
    file_id: str, container: Container, services: Services, *, param: str = "file_id", beside: Sequence[str] = ()
) -> ContainerFile:
    """Copies a stored file into the container, under a name that is not in `beside`.

    Raises `NotFound` that names `param` if there is no such file.
    """
    store = await services.store.get()
    try:
        file = await store.files.file(file_id, owner=container.owner)
    except NotFound as error:
        raise NotFound(error.message, param=param) from None
    path, sha256 = distinct([*beside, posixpath.basename(file.path)])[-1], stored_sha256(file)
    blob = await store.get_blob(sha256, owner=container.owner)
    async with services.containers.running(container) as sandbox:
        info = await sandbox.write_file(path, blob.data)
    return await store.files.add(
        container, path, size_bytes=info.size_bytes, modified_at=info.modified_at, source="user", sha256=sha256
    )


async def _pieces(file: UploadFile) -> AsyncIterator[bytes]:
    while piece := await file.read(PIECE_BYTES):
        yield piece


def _idle_minutes(services: Services) -> int:
    return max(1, int(services.settings.idle_timeout_s // 60))


def shape_of(container: Container, services: Services) -> dict[str, Any]:
    """The container in the standard's form."""
    return {
        "id": container.id,
        "object": "container",
        "name": container.name,
        "status": "running" if services.containers.is_running(container) else "expired",
        "created_at": int(container.created_at),
        "last_active_at": int(container.last_active_at),
        "expires_after": {"anchor": "last_active_at", "minutes": _idle_minutes(services)},
        "network_policy": {"type": "disabled"},
        **container.options,
        "codeact:conversation_id": container.conversation_id,
    }


def _file_shape(file: ContainerFile) -> dict[str, Any]:
    return {
        "id": file.id,
        "object": "container.file",
        "container_id": file.container_id,
        "path": f"{ROOT}{file.path}",
        "bytes": file.size_bytes,
        "created_at": int(file.created_at),
        "source": file.source,
    }


routes = [
    Route("/v1/containers", create, methods=["POST"]),
    Route("/v1/containers", list_, methods=["GET"]),
    Route("/v1/containers/{container_id}", retrieve, methods=["GET"]),
    Route("/v1/containers/{container_id}", delete, methods=["DELETE"]),
    Route("/v1/containers/{container_id}/files", upload, methods=["POST"]),
    Route("/v1/containers/{container_id}/files", list_files, methods=["GET"]),
    Route("/v1/containers/{container_id}/files/{file_id}", retrieve_file, methods=["GET"]),
    Route("/v1/containers/{container_id}/files/{file_id}", delete_file, methods=["DELETE"]),
    Route("/v1/containers/{container_id}/files/{file_id}/content", content, methods=["GET"]),
]
