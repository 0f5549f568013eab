"""`/v1/profiles`: what somebody has saved to ask with, for themselves and for others who get its link."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any

import anyio
import msgspec
from msgspec import UNSET, Meta
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from codeact.errors import CodeActError, InvalidRequest, NotFound
from codeact.runs.admission import check_room
from codeact.server.auth.caller import caller_of, owner_of
from codeact.server.auth.current_caller import current_request
from codeact.server.documents import document_response
from codeact.server.errors import json_response
from codeact.server.openapi import operation
from codeact.server.requests.pages import listed
from codeact.server.requests.parameters import checked, read_json, read_parameters
from codeact.server.requests.profiles import (
    ProfileBody,
    ProfileChange,
    ProfileObject,
    SharedProfile,
    ShareProfile,
    shape,
    shared_shape,
    stored_values,
)
from codeact.server.routes.idempotency import idempotent
from codeact.server.routes.sharing import check_sharing
from codeact.server.services import Services
from codeact.store import Profile, Store, UploadedFile
from codeact.store.repositories.profiles import MOST_PROFILES, ProfileExists

__all__ = ["routes"]

CLEANUP_S = 10.0


class _Page(msgspec.Struct, kw_only=True):
    limit: Annotated[int, Meta(ge=1, le=MOST_PROFILES)] = 20
    after: Annotated[str, Meta(max_length=100)] | None = None
    name: Annotated[str, Meta(max_length=100)] | None = None


@operation(ProfileObject, body=ProfileBody)
@idempotent()
async def create(request: Request) -> Response:
    """Saves a profile. Its name must be new among the caller's profiles. It counts for the owner's stored bytes."""
    services, store, owner = await _parts(request)
    body = checked(await read_json(request, services.settings.max_message_bytes), ProfileBody)
    values = stored_values(body, services.settings)
    async with _copied(request, store, [*dict.fromkeys(body.file_ids)], of=owner) as files:
        made = await store.profiles.create({**values, "file_ids": [file.id for file in files]}, owner=owner)
    return json_response(shape(made, files))


@operation(dict[str, Any], query=_Page)
async def list_(request: Request) -> Response:
    """The caller's profiles, newest first; with `name` the one of this name."""
    _, store, owner = await _parts(request)
    query = read_parameters(request, _Page)
    found = await store.profiles.page(owner=owner, name=query.name, after=query.after, limit=query.limit + 1)
    page = found[: query.limit]
    files = await store.uploads.some([file_id for one in page for file_id in one.file_ids], owner=owner)
    shown = [shape(one, _in_order(one, files)) for one in page]
    return await document_response(listed(shown, has_more=len(found) > query.limit))


@operation(ProfileObject)
async def retrieve(request: Request) -> Response:
    """One profile of the caller's."""
    _, store, owner = await _parts(request)
    profile = await store.profiles.get(request.path_params["profile_id"], owner=owner)
    return json_response(shape(profile, await _files(store, profile)))


@operation(ProfileObject, body=ProfileChange)
async def change(request: Request) -> Response:
    """Changes the fields that are sent."""
    services, store, owner = await _parts(request)
    body = checked(await read_json(request, services.settings.max_message_bytes), ProfileChange)
    values = stored_values(body, services.settings)
    before = await store.profiles.get(request.path_params["profile_id"], owner=owner)
    wanted = before.file_ids if body.file_ids is UNSET else list(dict.fromkeys(body.file_ids))
    new = [file_id for file_id in wanted if file_id not in before.file_ids]
    async with _copied(request, store, new, of=owner) as copies:
        if body.file_ids is not UNSET:
            copied = dict(zip(new, copies, strict=True))
            values["file_ids"] = [copied[one].id if one in copied else one for one in wanted]
        changed = await store.profiles.change(before.id, values, owner=owner)
    await _forget(store, [one for one in before.file_ids if one not in wanted], owner)
    return json_response(shape(changed, await _files(store, changed)))


@operation(dict[str, Any])
async def delete(request: Request) -> Response:
    """Deletes a profile with its files and its link. Conversations keep what was asked and answered with it."""
    _, store, owner = await _parts(request)
    gone = await store.profiles.delete(request.path_params["profile_id"], owner=owner)
    await _forget(store, gone.file_ids, owner)
    return json_response({"id": gone.id, "object": "codeact:profile.deleted", "deleted": True})


# ---- links -----------------------------------------------------------------------------------------------


@operation(ProfileObject, body=ShareProfile)
async def share(request: Request) -> Response:
    """Makes a link with which others who have a key of this server read and copy the profile, as it is at that time."""
    services, store, owner = await _parts(request)
    check_sharing(services)
    body = checked(await read_json(request, services.settings.max_message_bytes), ShareProfile)
    shared = await store.profiles.share(request.path_params["profile_id"], gives_files=body.files, owner=owner)
    return json_response(shape(shared, await _files(store, shared)))


@operation(ProfileObject)
async def revoke(request: Request) -> Response:
    """Disables the link. Copies that others have made stay theirs."""
    _, store, owner = await _parts(request)
    revoked = await store.profiles.revoke(request.path_params["profile_id"], owner=owner)
    return json_response(shape(revoked, await _files(store, revoked)))


@operation(SharedProfile)
async def read_shared(request: Request) -> Response:
    """What the link shows: everything but the contents of files."""
    services, store, _ = await _parts(request)
    profile = await _opened(request, services, store, "profile.read")
    return json_response(shared_shape(profile, await _files(store, profile)))


@operation(ProfileObject)
@idempotent()
async def copy(request: Request) -> Response:
    """Saves a copy for the caller, with the files if the link gives them, under another name if the name is taken.

    Calls of its MCP servers wait for approval, whatever the profile says.
    """
    services, store, owner = await _parts(request)
    profile = await _opened(request, services, store, "profile.copied")
    with services.audit.recording("profile.copy", profile.id):
        given = await _files(store, profile) if profile.gives_files else []
        async with _copied(request, store, [file.id for file in given], of=profile.owner) as files:
            names = ("description", "instructions", "model", "effort")
            values = {name: getattr(profile, name) for name in names} | {"file_ids": [file.id for file in files]}
            values["tools"] = [_asking(tool) for tool in profile.tools]
            made = await _create_named(store, profile.name, values, owner)
    return json_response(shape(made, files))


def _asking(tool: dict[str, Any]) -> dict[str, Any]:
    """The MCP server without its owner's word on approvals: who copies it has not said that its calls need none."""
    return {name: value for name, value in tool.items() if name != "require_approval"}


async def _opened(request: Request, services: Services, store: Store, action: str) -> Profile:
    """Finds the profile of a link, and records in its owner's audit log that somebody used it. Raises `NotFound`."""
    check_sharing(services)
    current_request().recorded = True  # The path has the token, which readers of the log must not get.
    try:
        profile = await store.profiles.shared(request.path_params["token"])
    except NotFound:
        services.audit.count(action, "no such profile", status=404)
        raise
    services.audit.count(action, profile.id, status=200, owner=profile.owner)
    return profile


async def _create_named(store: Store, name: str, values: dict[str, Any], owner: str) -> Profile:
    """Creates the profile under its name, or else as `NAME (2)` and so on."""
    for number in range(1, MOST_PROFILES + 2):
        numbered = name if number == 1 else f"{name[:90]} ({number})"
        with suppress(ProfileExists):
            return await store.profiles.create({**values, "name": numbered}, owner=owner)
    raise InvalidRequest(f"You have {MOST_PROFILES} profiles of this name; delete some.", param="name")


# ---- inside ----------------------------------------------------------------------------------------------


async def _parts(request: Request) -> tuple[Services, Store, str]:
    services: Services = request.app.state.codeact
    return services, await services.store.get(), owner_of(request)


async def _files(store: Store, profile: Profile) -> list[UploadedFile]:
    """The profile's files that still exist: their owner can delete them as files, too."""
    found = await store.uploads.some(profile.file_ids, owner=profile.owner)
    return _in_order(profile, found)


def _in_order(profile: Profile, found: Mapping[str, UploadedFile]) -> list[UploadedFile]:
    return [found[file_id] for file_id in profile.file_ids if file_id in found]


@asynccontextmanager
async def _copied(
    request: Request, store: Store, file_ids: Sequence[str], *, of: str
) -> AsyncIterator[list[UploadedFile]]:
    """Copies these files of the owner `of` for the caller; deletes the copies if the `with` block raises."""
    services: Services = request.app.state.codeact
    owner, accounts = owner_of(request), caller_of(request).accounts
    files: list[UploadedFile] = []
    await check_room(accounts, store, services.disk)
    try:
        if file_ids:
            async with services.uploads.slot(owner):
                for file_id in file_ids:
                    await check_room(accounts, store, services.disk)
                    files.append(await store.uploads.copy(file_id, of=of, owner=owner))
        yield files
    except BaseException:
        with anyio.move_on_after(CLEANUP_S, shield=True):
            await _forget(store, [file.id for file in files], owner)
        raise


async def _forget(store: Store, file_ids: Sequence[str], owner: str) -> None:
    for file_id in file_ids:
        with suppress(CodeActError):  # It may be gone; otherwise it stays among the owner's files.
            await store.uploads.delete(file_id, owner=owner)


routes = [
    Route("/v1/profiles", create, methods=["POST"]),
    Route("/v1/profiles", list_, methods=["GET"]),
    Route("/v1/profiles/{profile_id}", retrieve, methods=["GET"]),
    Route("/v1/profiles/{profile_id}", change, methods=["PATCH"]),
    Route("/v1/profiles/{profile_id}", delete, methods=["DELETE"]),
    Route("/v1/profiles/{profile_id}/share", share, methods=["POST"]),
    Route("/v1/profiles/{profile_id}/share", revoke, methods=["DELETE"]),
    Route("/v1/shared-profiles/{token}", read_shared, methods=["GET"]),
    Route("/v1/shared-profiles/{token}/copy", copy, methods=["POST"]),
]
