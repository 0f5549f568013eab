"""The state of kernels over HTTP: what is saved of it, bringing it back, and copies of conversations that have it."""

from typing import Any

import anyio
import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from codeact.errors import InvalidRequest, NotFound
from codeact.exports.archive_ids import Renewal
from codeact.runs.admission import Admission, check_room
from codeact.runs.forking import fork, stored_copy
from codeact.server.auth.caller import caller_of, owner_of
from codeact.server.documents import document_response
from codeact.server.errors import json_response
from codeact.server.openapi import operation
from codeact.server.public_view import copied_conversation
from codeact.server.requests.parameters import checked, read_json
from codeact.server.routes.containers import container_of, passed_on, shape_of
from codeact.server.routes.conversations import ConversationObject, shape
from codeact.server.routes.idempotency import idempotent
from codeact.server.routes.sharing import check_sharing, opened
from codeact.server.services import Services
from codeact.store import Store
from codeact.store.checkpoint_record import CheckpointRecord
from codeact.workspaces.checkpoint_contents import read_item, read_manifest
from sandbox_pool.checkpoint import Manifest

__all__ = ["routes"]


class StateName(msgspec.Struct, omit_defaults=True):
    """A name of the kernel. `bytes` is null for what is not saved, and `reason` says why it is not."""

    name: str
    type: str
    saved: bool
    bytes: int | None = None
    reason: str | None = None


class StateFile(msgspec.Struct):
    path: str
    bytes: int


class ContainerState(msgspec.Struct, kw_only=True):
    """What the last checkpoint of a container holds. `current`: no code has run in the container since."""

    object: str = "codeact:container.state"
    container_id: str
    conversation_id: str
    checkpoint_id: str
    response_id: str
    created_at: int
    bytes: int
    current: bool
    names: list[StateName]
    files: list[StateFile]


class CheckpointObject(msgspec.Struct, kw_only=True):
    """A checkpoint of a conversation: the state of its kernel and files after a response."""

    id: str
    object: str = "codeact:checkpoint"
    conversation_id: str
    response_id: str
    container_id: str
    created_at: int
    bytes: int
    names: int
    not_saved: int
    files: int


class RestoreState(msgspec.Struct, forbid_unknown_fields=True):
    """`checkpoint_id` names a checkpoint of the container's conversation; default: the container's last one."""

    checkpoint_id: str | None = None


class ForkConversation(msgspec.Struct, forbid_unknown_fields=True):
    """Selects the branch that ends with this response; default: the latest branch."""

    response_id: str | None = None


class OpenShare(msgspec.Struct, forbid_unknown_fields=True):
    """`share` is the token of a link."""

    share: str


@operation(ContainerState)
async def state(request: Request) -> Response:
    """What is saved of the container's variables and files, and what is not; it needs no running container."""
    services: Services = request.app.state.codeact
    container = await container_of(request)
    if (passed := await passed_on(request, container)) is not None:
        return passed
    record = await _last_of(request)
    manifest = await read_manifest(record)
    workspace = services.workspaces.get(container.conversation_id, owner=container.owner)
    return await document_response(
        ContainerState(
            container_id=container.id,
            conversation_id=record.conversation_id,
            checkpoint_id=record.id,
            response_id=record.response_id,
            created_at=int(record.created_at),
            bytes=record.size_bytes,
            current=workspace.container_id == container.id and workspace.point == record.response_id,
            names=_names(manifest),
            files=[StateFile(file.path, file.content.size_bytes) for file in manifest.files],
        )
    )


@operation(dict[str, Any], body=RestoreState)
async def restore(request: Request) -> Response:
    """Claims a sandbox with the saved state for the container's conversation, and returns its container.

    It counts as a response for the owner's limits. `codeact:not_restored` names what did not come back.
    """
    services: Services = request.app.state.codeact
    container = await container_of(request)
    body = checked(await read_json(request, services.settings.max_message_bytes), RestoreState)
    if (passed := await passed_on(request, container)) is not None:
        return passed
    store = await services.store.get()
    await check_room(caller_of(request).accounts, store, services.disk)
    if body.checkpoint_id is None:
        record = await _last_of(request)
    else:
        await services.checkpoints.settled(container.conversation_id)
        known = await store.checkpoints.get(body.checkpoint_id, owner=container.owner)
        if known is None or known.conversation_id != container.conversation_id:
            raise InvalidRequest(
                f"There is no checkpoint '{body.checkpoint_id[:100]}' of this conversation.", param="checkpoint_id"
            )
        record = known
    async with Admission.open(caller_of(request).accounts, store) as admission:
        await admission.ask()
        restored, missing = await services.containers.restore(container, record, services.checkpoints)
    return json_response(
        {
            **shape_of(restored, services),
            "codeact:checkpoint_id": record.id,
            "codeact:not_restored": [{"name": each.name, "reason": each.reason} for each in missing],
        }
    )


@operation(dict[str, Any])
async def checkpoints(request: Request) -> Response:
    """The checkpoints of a conversation, newest first."""
    services: Services = request.app.state.codeact
    owner = owner_of(request)
    store = await services.store.get()
    conversation = await store.get_conversation(request.path_params["conversation_id"], owner=owner)
    keys = await store.checkpoints.keys_of(conversation.id, owner=owner)
    found = [await _shape_of(store, key.id, owner=owner) for key in reversed(keys)]
    data = [each for each in found if each is not None]
    return json_response({"object": "list", "data": data, "has_more": False})


@operation(ConversationObject, body=ForkConversation)
@idempotent()
async def fork_conversation(request: Request) -> Response:
    """Copies one branch of a conversation into a new one, which continues with the state of the kernel at its end."""
    services: Services = request.app.state.codeact
    owner, conversation_id = owner_of(request), request.path_params["conversation_id"]
    body = checked(await read_json(request, services.settings.max_message_bytes), ForkConversation)
    store = await services.store.get()
    await check_room(caller_of(request).accounts, store, services.disk)
    async with services.uploads.slot(owner):
        await services.checkpoints.settled(conversation_id)
        return json_response(shape(await fork(store, conversation_id, body.response_id, owner=owner)))


@operation(ConversationObject, body=OpenShare)
@idempotent()
async def open_share(request: Request) -> Response:
    """Copies what a link shows into a new conversation of the caller, who can continue it.

    Only what everyone with the link can see is copied: no variables, no files and no instructions.
    """
    services: Services = request.app.state.codeact
    check_sharing(services)
    owner = owner_of(request)
    body = checked(await read_json(request, services.settings.max_message_bytes), OpenShare)
    store = await services.store.get()
    await check_room(caller_of(request).accounts, store, services.disk)
    async with services.uploads.slot(owner):
        share = await opened(body.share, services)
        source = await store.get_conversation(share.conversation_id, owner=share.owner)
        thread = await store.thread(share.response_id, owner=share.owner)
        copies, images = await copied_conversation(thread)
        for sha256 in images:
            blob = await store.get_blob(sha256, owner=share.owner)
            await store.put_blob(blob.data, blob.media_type, owner=owner)
            await anyio.lowlevel.checkpoint()
        renewal = Renewal()
        copy = await stored_copy(store, copies, renewal, owner=owner, title=source.title)
    return json_response(shape(copy))


async def _last_of(request: Request) -> CheckpointRecord:
    """The newest checkpoint of the container that the path names. Raises `NotFound`."""
    services: Services = request.app.state.codeact
    container = await container_of(request)
    await services.checkpoints.settled(container.conversation_id)
    store = await services.store.get()
    keys = await store.checkpoints.keys_of(container.conversation_id, owner=container.owner)
    last = next((key for key in reversed(keys) if key.container_id == container.id), None)
    record = await store.checkpoints.get(last.id, owner=container.owner) if last is not None else None
    if record is None:
        raise NotFound(f"Nothing is saved of the state of the container '{container.id}'.", param="container_id")
    return record


def _names(manifest: Manifest) -> list[StateName]:
    saved = [StateName(each.name, each.type, True, each.size_bytes) for each in manifest.names()]
    saved += [StateName(each.name, "module", True, 0) for each in manifest.imports]
    saved += [StateName(each.name, each.kind, True, len(each.source)) for each in manifest.sources if each.rerun]
    return [*saved, *(StateName(each.name, each.type, False, None, each.reason) for each in manifest.unsaved)]


async def _shape_of(store: Store, checkpoint_id: str, *, owner: str) -> CheckpointObject | None:
    record = await store.checkpoints.get(checkpoint_id, owner=owner)
    if record is None:
        return None  # It was removed meanwhile.
    return CheckpointObject(**msgspec.structs.asdict(await read_item(record)), conversation_id=record.conversation_id)


routes = [
    Route("/v1/containers/{container_id}/state", state, methods=["GET"]),
    Route("/v1/containers/{container_id}/restore", restore, methods=["POST"]),
    Route("/v1/conversations/open", open_share, methods=["POST"]),
    Route("/v1/conversations/{conversation_id}/fork", fork_conversation, methods=["POST"]),
    Route("/v1/conversations/{conversation_id}/checkpoints", checkpoints, methods=["GET"]),
]
