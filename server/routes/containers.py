"""`/v1/containers` and their files: what the standard asks of them enters, sandboxes and their contents leave."""

import posixpath
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated, Any, Literal

import msgspec
import structlog
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from codeact.errors import CodeActError, InvalidRequest
from codeact.store import Container, ContainerFile
from sandbox_pool.errors import SandboxError
from server.auth import owner_of
from server.containers import KEPT_BYTES, ContainerGone, Containers
from server.downloads import download_headers
from server.errors import json_response
from server.media import kept_sha256
from server.openapi import operation
from server.pages import PageQuery, page_of
from server.parameters import checked, read_json, read_parameters
from server.state import State
from server.uploads import uploaded_file

__all__ = ["routes"]

log = structlog.get_logger(__name__)

PIECE_BYTES = 65_536


class _ExpiresAfter(msgspec.Struct, forbid_unknown_fields=True):
    anchor: Literal["last_active_at"]
    minutes: Annotated[int, msgspec.Meta(ge=1)]


class _Create(msgspec.Struct):
    """`expires_after`, where it is given, has to be what the server does anyway: CODEACT_IDLE_TIMEOUT_S."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    expires_after: _ExpiresAfter | None = None
    file_ids: None = None
    memory_limit: None = None
    network_policy: None = None
    skills: None = None


class _Copy(msgspec.Struct):
    file_id: str


class _List(PageQuery):
    name: str | None = None


@operation(dict[str, Any], body=_Create)
async def create(request: Request) -> Response:
    """`POST /v1/containers`: a conversation of its own, with its sandbox claimed."""
    state: State = request.app.state.codeact
    owner = owner_of(request)
    asked = checked(await read_json(request, state.settings.max_message_bytes), _Create)
    minutes = _idle_minutes(state)
    if asked.expires_after is not None and asked.expires_after.minutes > minutes:
        raise InvalidRequest(
            f"Containers expire after {minutes} minutes here (CODEACT_IDLE_TIMEOUT_S).", param="expires_after.minutes"
        )
    store = await state.store.get()
    conversation = await store.create_conversation(owner=owner, metadata={"title": asked.name})
    container = await state.containers.create(conversation.id, owner=owner, name=asked.name)
    return json_response(_shape(container, state))


@operation(dict[str, Any], query=_List)
async def list_(request: Request) -> Response:
    """`GET /v1/containers`: the newest first."""
    state: State = request.app.state.codeact
    owner = owner_of(request)
    asked = read_parameters(request, _List)
    store = await state.store.get()
    found = await store.files.containers(
        owner=owner, after=asked.after, limit=asked.limit + 1, order=asked.order, name=asked.name
    )
    data = [_shape(container, state) for container in found[: asked.limit]]
    return json_response(
        {
            "object": "list",
            "data": data,
            "has_more": len(found) > asked.limit,
            "first_id": data[0]["id"] if data else None,
            "last_id": data[-1]["id"] if data else None,
        }
    )


@operation(dict[str, Any])
async def retrieve(request: Request) -> Response:
    """`GET /v1/containers/{id}`."""
    state: State = request.app.state.codeact
    return json_response(_shape(await _container(request), state))


@operation(dict[str, Any])
async def delete(request: Request) -> Response:
    """`DELETE /v1/containers/{id}`: its variables and files are gone; its conversation stays and gets a new one."""
    state: State = request.app.state.codeact
    container = await _container(request)
    await state.containers.delete(container)
    return json_response({"id": container.id, "object": "container.deleted", "deleted": True})


@operation(dict[str, Any], body=_Copy, upload=True)
async def upload(request: Request) -> Response:
    """`POST /v1/containers/{id}/files`, as multipart/form-data: the file is written under its name's last part.

    As JSON, `file_id` names a file of another container, of which a copy is made.
    """
    state: State = request.app.state.codeact
    container = await _container(request)
    store = await state.store.get()
    if request.headers.get("content-type", "").startswith("application/json"):
        asked = checked(await read_json(request, state.settings.max_message_bytes), _Copy)
        return json_response(_file_shape(await _copied(asked.file_id, container, state)))
    limit = state.settings.sandbox_spec.limits.file_mb * 1024 * 1024
    async with uploaded_file(request, limit) as file:
        path = (file.filename or "").replace("\\", "/").rpartition("/")[2]
        async with state.containers.running(container) as sandbox:
            info = await sandbox.write_file(path, _pieces(file))
        sha256 = None
        if info.size_bytes <= KEPT_BYTES:
            await file.seek(0)
            sha256 = await store.put_blob(await file.read(), "application/octet-stream", owner=container.owner)
    added = await store.files.add(
        container, path, size_bytes=info.size_bytes, modified_at=info.modified_at, source="user", sha256=sha256
    )
    return json_response(_file_shape(added))


@operation(dict[str, Any], query=PageQuery)
async def list_files(request: Request) -> Response:
    """`GET /v1/containers/{id}/files`: what is there now; of an expired container, what was there last."""
    state: State = request.app.state.codeact
    asked = read_parameters(request, PageQuery)
    container = await _container(request)
    await state.containers.refresh(container)
    store = await state.store.get()
    page = page_of(await store.files.files(container.id, owner=container.owner), asked)
    page.data = [_file_shape(file) for file in page.data]
    return json_response(page)


@operation(dict[str, Any])
async def retrieve_file(request: Request) -> Response:
    """`GET /v1/containers/{id}/files/{file_id}`."""
    return json_response(_file_shape(await _file(request)))


@operation(files=("application/octet-stream",))
async def content(request: Request) -> Response:
    """`GET /v1/containers/{id}/files/{file_id}/content`: to be saved, never to be shown as a page of ours."""
    state: State = request.app.state.codeact
    file = await _file(request)
    headers = download_headers(file.path)
    store = await state.store.get()
    if file.sha256 is not None:
        blob = await store.get_blob(file.sha256, owner=owner_of(request))
        return Response(blob.data, media_type="application/octet-stream", headers=headers)
    return _FromSandbox(state.containers, await _container(request), file.path, headers)


@operation(dict[str, Any])
async def delete_file(request: Request) -> Response:
    """`DELETE /v1/containers/{id}/files/{file_id}`: in the sandbox too, while that lives."""
    state: State = request.app.state.codeact
    container, file = await _container(request), await _file(request)
    with suppress(ContainerGone):
        async with state.containers.running(container) as sandbox:
            await sandbox.delete_file(file.path)
    store = await state.store.get()
    await store.files.drop(file.id, container_id=container.id)
    return json_response({"id": file.id, "object": "container.file.deleted", "deleted": True})


class _FromSandbox(Response):
    """A file that is too large for the store, as it comes out of the sandbox."""

    def __init__(self, containers: Containers, container: Container, path: str, headers: dict[str, str]) -> None:
        super().__init__(media_type="application/octet-stream", headers=headers)
        self._containers = containers
        self._container = container
        self._path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = False
        try:
            async with self._containers.running(self._container) as sandbox, sandbox.read_file(self._path) as file:
                piece = await anext(file, b"")
                began = True
                self.headers["content-length"] = str(file.info.size_bytes)
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                while piece:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                    piece = await anext(file, b"")
        except (CodeActError, SandboxError) as error:
            if not began:
                raise
            # The connection is closed before the end that was announced: that is how the client learns of it.
            log.warning("download cut off", container=self._container.id, reason=error.message)
            return
        await send({"type": "http.response.body", "body": b""})


async def _container(request: Request) -> Container:
    state: State = request.app.state.codeact
    store = await state.store.get()
    return await store.files.get(request.path_params["container_id"], owner=owner_of(request))


async def _file(request: Request) -> ContainerFile:
    state: State = request.app.state.codeact
    store = await state.store.get()
    return await store.files.file(
        request.path_params["file_id"], container_id=request.path_params["container_id"], owner=owner_of(request)
    )


async def _copied(file_id: str, container: Container, state: State) -> ContainerFile:
    store = await state.store.get()
    file = await store.files.file(file_id, owner=container.owner)
    path, sha256 = posixpath.basename(file.path), kept_sha256(file)
    blob = await store.get_blob(sha256, owner=container.owner)
    async with state.containers.running(container) as sandbox:
        info = await sandbox.write_file(path, blob.data)
    return await store.files.add(
        container, path, size_bytes=info.size_bytes, modified_at=info.modified_at, source="user", sha256=sha256
    )


async def _pieces(file: UploadFile) -> AsyncIterator[bytes]:
    while piece := await file.read(PIECE_BYTES):
        yield piece


def _idle_minutes(state: State) -> int:
    return max(1, int(state.settings.idle_timeout_s // 60))


def _shape(container: Container, state: State) -> dict[str, Any]:
    return {
        "id": container.id,
        "object": "container",
        "name": container.name,
        "status": "running" if state.containers.is_running(container) else "expired",
        "created_at": int(container.created_at),
        "last_active_at": int(container.last_active_at),
        "expires_after": {"anchor": "last_active_at", "minutes": _idle_minutes(state)},
        "network_policy": {"type": "disabled"},
        "codeact:conversation_id": container.conversation_id,
    }


def _file_shape(file: ContainerFile) -> dict[str, Any]:
    return {
        "id": file.id,
        "object": "container.file",
        "container_id": file.container_id,
        "path": file.path,
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
