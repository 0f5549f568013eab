"""`/v1/skills`, as defined by the standard: folders with a `SKILL.md` for the model, in versions."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Any, Literal

import anyio
import msgspec
from msgspec import Meta
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from codeact.errors import InvalidRequest
from codeact.runs.admission import check_room
from codeact.server.auth.caller import caller_of, owner_of
from codeact.server.errors import json_response
from codeact.server.openapi import operation
from codeact.server.requests.downloads import download_headers
from codeact.server.requests.pages import listed
from codeact.server.requests.parameters import checked, read_json, read_parameters
from codeact.server.requests.ranges import FileResponse, blob_source
from codeact.server.requests.uploads import form_hash, uploaded_files
from codeact.server.routes.idempotency import once
from codeact.server.services import Services
from codeact.server.transports.anthropic_shapes import speaks_anthropic
from codeact.skills.bundle import ARCHIVE_BYTES, MOST_FILES, SKILL_BYTES, Bundle, packed, read_files, read_zip
from codeact.store import Skill, SkillVersion, Store

__all__ = ["routes"]

ZIP_TYPES = ("application/zip", "application/x-zip-compressed")


class _Page(msgspec.Struct, kw_only=True):
    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    order: Literal["asc", "desc"] = "desc"
    after: str | None = None


class _Update(msgspec.Struct, forbid_unknown_fields=True):
    default_version: Annotated[str, Meta(max_length=20)]


class SkillObject(msgspec.Struct):
    id: str
    name: str
    description: str
    default_version: str
    latest_version: str
    created_at: int
    object: Literal["skill"] = "skill"


class SkillVersionObject(msgspec.Struct):
    id: str
    skill_id: str
    version: str
    name: str
    description: str
    created_at: int
    object: Literal["skill.version"] = "skill.version"


@operation(SkillObject, upload=True)
async def create(request: Request) -> Response:
    """`POST /v1/skills`: stores a skill, as single files or as one zip archive, in the form's field `files`."""
    store, owner = await _store(request), owner_of(request)

    async def make(bundle: Bundle, sha256: str, is_default: bool) -> Response:
        return json_response(_skill(await store.skills.create(bundle.name, bundle.description, sha256, owner=owner)))

    return await _uploaded(request, store, make)


@operation(SkillVersionObject, upload=True)
async def create_version(request: Request) -> Response:
    """`POST /v1/skills/{id}/versions`: adds a version; with `default` true, it becomes the default."""
    store, owner, skill_id = await _store(request), owner_of(request), request.path_params["skill_id"]
    await store.skills.get(skill_id, owner=owner)

    async def make(bundle: Bundle, sha256: str, is_default: bool) -> Response:
        made = await store.skills.add_version(
            skill_id, bundle.name, bundle.description, sha256, is_default=is_default, owner=owner
        )
        return json_response(_version(made))

    return await _uploaded(request, store, make)


@operation(dict[str, Any], query=_Page)
async def list_(request: Request) -> Response:
    """`GET /v1/skills`: newest first."""
    query = read_parameters(request, _Page)
    found = await (await _store(request)).skills.page(
        owner=owner_of(request), after=query.after, limit=query.limit + 1, order=query.order
    )
    return json_response(listed([*map(_skill, found[: query.limit])], has_more=len(found) > query.limit))


@operation(SkillObject)
async def retrieve(request: Request) -> Response:
    """`GET /v1/skills/{id}`."""
    skill_id = request.path_params["skill_id"]
    return json_response(_skill(await (await _store(request)).skills.get(skill_id, owner=owner_of(request))))


@operation(SkillObject, body=_Update)
async def update(request: Request) -> Response:
    """`POST /v1/skills/{id}`: sets the default version."""
    services: Services = request.app.state.codeact
    skill_id = request.path_params["skill_id"]
    body = checked(await read_json(request, services.settings.max_message_bytes), _Update)
    store = await _store(request)
    return json_response(
        _skill(await store.skills.set_default(skill_id, body.default_version, owner=owner_of(request)))
    )


@operation(dict[str, Any])
async def delete(request: Request) -> Response:
    """`DELETE /v1/skills/{id}`: with all versions."""
    skill_id = request.path_params["skill_id"]
    await (await _store(request)).skills.delete(skill_id, owner=owner_of(request))
    return json_response({"id": skill_id, "object": "skill.deleted", "deleted": True})


@operation(files=("application/zip",))
async def content(request: Request) -> Response:
    """`GET /v1/skills/{id}/content`: the default version as a zip archive."""
    return await _archive(request, None)


@operation(dict[str, Any], query=_Page)
async def list_versions(request: Request) -> Response:
    """`GET /v1/skills/{id}/versions`: newest first."""
    query, skill_id = read_parameters(request, _Page), request.path_params["skill_id"]
    found = await (await _store(request)).skills.versions(
        skill_id, owner=owner_of(request), after=query.after, limit=query.limit + 1, order=query.order
    )
    return json_response(listed([*map(_version, found[: query.limit])], has_more=len(found) > query.limit))


@operation(SkillVersionObject)
async def retrieve_version(request: Request) -> Response:
    """`GET /v1/skills/{id}/versions/{version}`: a number, or `latest`."""
    skill_id, version = request.path_params["skill_id"], request.path_params["version"]
    return json_response(
        _version(await (await _store(request)).skills.version(skill_id, version, owner=owner_of(request)))
    )


@operation(dict[str, Any])
async def delete_version(request: Request) -> Response:
    """`DELETE /v1/skills/{id}/versions/{version}`: any version but the default."""
    skill_id, version = request.path_params["skill_id"], request.path_params["version"]
    gone = await (await _store(request)).skills.delete_version(skill_id, version, owner=owner_of(request))
    return json_response(
        {"id": gone.id, "object": "skill.version.deleted", "deleted": True, "version": str(gone.version)}
    )


@operation(files=("application/zip",))
async def version_content(request: Request) -> Response:
    """`GET /v1/skills/{id}/versions/{version}/content`: the version as a zip archive."""
    return await _archive(request, request.path_params["version"])


async def _store(request: Request) -> Store:
    """The store. Raises `InvalidRequest` for clients of Anthropic's API, whose skills have other shapes."""
    if speaks_anthropic(request):
        raise InvalidRequest(
            "This server has skills in the shapes of OpenAI's API alone: manage them with 'client.skills' of the"
            " package 'openai', or without the header 'anthropic-version'. POST /v1/messages takes their ids in"
            " 'container.skills'.",
            param="anthropic-version",
            code="unsupported_parameter",
        )
    services: Services = request.app.state.codeact
    return await services.store.get()


async def _uploaded(
    request: Request, store: Store, make: Callable[[Bundle, str, bool], Awaitable[Response]]
) -> Response:
    """Stores the skill of the form, and answers by `make`: with the skill, its archive's SHA-256, and `default`."""
    services: Services = request.app.state.codeact
    owner = owner_of(request)
    await check_room(caller_of(request).accounts, store, services.disk)
    async with (
        services.uploads.slot(owner),
        uploaded_files(request, SKILL_BYTES, most_files=MOST_FILES, fields={"default"}) as (files, values),
    ):

        async def add() -> Response:
            bundle = await _bundle(files)
            return await make(bundle, await _stored(bundle, store, owner), values.get("default", "").lower() == "true")

        return await once(request, partial(form_hash, files, values), add)


async def _bundle(files: list[UploadFile]) -> Bundle:
    first = files[0]
    if len(files) == 1 and (first.content_type in ZIP_TYPES or (first.filename or "").lower().endswith(".zip")):
        archive = await first.read(ARCHIVE_BYTES + 1)
        return await anyio.to_thread.run_sync(read_zip, archive)
    contents = [(file.filename or "", await file.read()) for file in files]
    return await anyio.to_thread.run_sync(read_files, contents)


async def _stored(bundle: Bundle, store: Store, owner: str) -> str:
    archive = await anyio.to_thread.run_sync(packed, bundle)
    return await store.put_blob(archive, ZIP_TYPES[0], owner=owner)


async def _archive(request: Request, version: str | None) -> Response:
    store, owner, skill_id = await _store(request), owner_of(request), request.path_params["skill_id"]
    found = await store.skills.version(skill_id, version, owner=owner)
    source = blob_source(store, await store.blob_parts.open(found.sha256, owner=owner))
    return FileResponse(source, request, media_type=ZIP_TYPES[0], headers=download_headers(f"{found.name}.zip"))


def _skill(skill: Skill) -> SkillObject:
    return SkillObject(
        skill.id,
        skill.name,
        skill.description,
        str(skill.default_version),
        str(skill.latest_version),
        int(skill.created_at),
    )


def _version(version: SkillVersion) -> SkillVersionObject:
    return SkillVersionObject(
        version.id,
        version.skill_id,
        str(version.version),
        version.name,
        version.description,
        int(version.created_at),
    )


routes = [
    Route("/v1/skills", create, methods=["POST"]),
    Route("/v1/skills", list_, methods=["GET"]),
    Route("/v1/skills/{skill_id}", retrieve, methods=["GET"]),
    Route("/v1/skills/{skill_id}", update, methods=["POST"]),
    Route("/v1/skills/{skill_id}", delete, methods=["DELETE"]),
    Route("/v1/skills/{skill_id}/content", content, methods=["GET"]),
    Route("/v1/skills/{skill_id}/versions", create_version, methods=["POST"]),
    Route("/v1/skills/{skill_id}/versions", list_versions, methods=["GET"]),
    Route("/v1/skills/{skill_id}/versions/{version}", retrieve_version, methods=["GET"]),
    Route("/v1/skills/{skill_id}/versions/{version}", delete_version, methods=["DELETE"]),
    Route("/v1/skills/{skill_id}/versions/{version}/content", version_content, methods=["GET"]),
]
