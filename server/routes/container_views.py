"""What a face shows of a container: the variables of its kernel, and all of its files as one archive."""

import asyncio
import posixpath
import zipfile
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from tempfile import SpooledTemporaryFile
from typing import Any

import anyio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from codeact.errors import InvalidRequest
from codeact.server.auth.caller import owner_of
from codeact.server.errors import json_response
from codeact.server.openapi import operation
from codeact.server.requests.downloads import download_headers
from codeact.server.requests.ranges import FileResponse, Source, blob_source
from codeact.server.routes.containers import container_of, file_in_sandbox
from codeact.server.services import Services
from codeact.store import Container, ContainerFile
from sandbox_pool.inventory import HeldFunction, HeldVariable

__all__ = ["routes"]

MOST_FILES, MOST_BYTES = 1_000, 200_000_000
IN_MEMORY_BYTES = 1_000_000
PIECE_BYTES = 262_144
PACKS_WITHIN_S = 120.0


class ArchiveTooLarge(InvalidRequest):
    """The files have more bytes than one archive may have."""

    code = "archive_too_large"
    status = 413


@operation(dict[str, Any])
async def variables(request: Request) -> Response:
    """`GET /v1/containers/{id}/variables`: names, types, shapes and first values, as the kernel reports them.

    None of the user's code runs for it, and it answers while code runs. 410 `container_expired` without a sandbox.
    """
    services: Services = request.app.state.codeact
    async with services.containers.running(await container_of(request)) as sandbox:
        held = await sandbox.inventory()
    data: list[HeldVariable] = held.variables
    functions: list[HeldFunction] = held.functions
    return json_response({"object": "list", "data": data, "functions": functions, "omitted": held.omitted})


@operation(files=("application/zip",))
async def archive(request: Request) -> Response:
    """`GET /v1/containers/{id}/archive`: the current files as a ZIP archive, of 1,000 files and 200 MB at most."""
    services: Services = request.app.state.codeact
    owner, container = owner_of(request), await container_of(request)
    await services.containers.refresh(container)
    store = await services.store.get()
    files = await store.files.files(container.id, owner=owner)
    size_bytes = sum(file.size_bytes for file in files)
    if len(files) > MOST_FILES or size_bytes > MOST_BYTES:
        raise ArchiveTooLarge(
            f"The sandbox has {len(files):,} files of {size_bytes:,} bytes; an archive takes {MOST_FILES:,} files of"
            f" {MOST_BYTES:,} bytes. Download them one by one, or let code pack a part of them."
        )
    with services.uploads.counted(owner):  # Each takes disk space for a temporary file, as an upload does.
        packed = await _pack(files, container, services)
    headers = download_headers(f"{container.name or 'files'}.zip")
    return FileResponse(_sending(packed), request, media_type="application/zip", headers=headers)


async def _pack(files: list[ContainerFile], container: Container, services: Services) -> "SpooledTemporaryFile[bytes]":
    packed = SpooledTemporaryFile(IN_MEMORY_BYTES)  # noqa: SIM115  (closed by the response that sends it)
    try:
        async with asyncio.timeout(PACKS_WITHIN_S):
            with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
                for file in files:
                    await _add(archive, file, container, services)
    except BaseException:
        packed.close()
        raise
    return packed


async def _add(archive: zipfile.ZipFile, file: ContainerFile, container: Container, services: Services) -> None:
    store = await services.store.get()
    if file.sha256 is not None:
        source = blob_source(store, await store.blob_parts.open(file.sha256, owner=container.owner))
    else:
        source = file_in_sandbox(services.containers, container, file.path)
    left = file.size_bytes
    async with source as opened:
        with archive.open(zipfile.ZipInfo(_name_of(file.path)), "w", force_zip64=True) as entry:
            async for piece in opened.read(0, opened.size_bytes):
                # The file may have grown since it was listed.
                await anyio.to_thread.run_sync(entry.write, piece[:left])
                left -= len(piece)
                if left <= 0:
                    break


def _name_of(path: str) -> str:
    """The file's path below the workspace, without anything that leads out of the folder that it is unpacked into."""
    parts = posixpath.normpath(path.replace("\\", "/")).split("/")
    return "/".join(part for part in parts if part not in ("", ".", "..")) or "file"


@asynccontextmanager
async def _sending(packed: "SpooledTemporaryFile[bytes]") -> AsyncIterator[Source]:
    """The archive as the content of an answer. It is removed when the answer has been sent."""

    async def read(start: int, stop: int) -> AsyncGenerator[bytes, None]:
        packed.seek(start)
        while start < stop and (piece := await anyio.to_thread.run_sync(packed.read, min(PIECE_BYTES, stop - start))):
            yield piece
            start += len(piece)

    with packed:
        yield Source(packed.seek(0, 2), read)


routes = [
    Route("/v1/containers/{container_id}/variables", variables, methods=["GET"]),
    Route("/v1/containers/{container_id}/archive", archive, methods=["GET"]),
]
