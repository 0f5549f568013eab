"""Reads the files of a multipart upload; large ones are stored on disk."""

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import BinaryIO

import anyio
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from codeact.errors import InvalidRequest
from codeact.server.requests.parameters import UnsupportedMediaType, body_of

__all__ = ["UploadTooLarge", "form_hash", "uploaded_file", "uploaded_files", "uploaded_form"]

FRAME_BYTES = 100_000
"""The limit for the form's boundaries and other fields, in addition to the file."""
HASHED_AT_ONCE = 1_048_576


class UploadTooLarge(InvalidRequest):
    code = "file_too_large"
    status = 413


@asynccontextmanager
async def uploaded_file(request: Request, limit: int) -> AsyncIterator[UploadFile]:
    """Yields the field `file` of a form (RFC 7578) that has no other fields; see `uploaded_form`."""
    async with uploaded_form(request, limit) as (file, _):
        yield file


@asynccontextmanager
async def uploaded_form(
    request: Request, limit: int, *, fields: Collection[str] = (), field: str = "file"
) -> AsyncIterator[tuple[UploadFile, dict[str, str]]]:
    """Yields the file in `field` of a form (RFC 7578), and the values of those `fields` that it has.

    Raises `InvalidRequest`, and `UploadTooLarge` without reading all of it.
    """

    async with _parsed(request, limit, param=field, most_files=1) as form:
        values: dict[str, str] = {}
        for name, value in form.multi_items():
            if name == field:
                continue
            if name not in fields:
                raise InvalidRequest(f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")
            if not isinstance(value, str) or name in values:
                raise InvalidRequest(f"The field '{name}' must be one text.", param=name)
            values[name] = value
        file = form.get(field)
        if not isinstance(file, UploadFile) or not file.filename:
            raise InvalidRequest(f"The form has no file in the field '{field}'.", param=field)
        if file.size is not None and file.size > limit:
            raise UploadTooLarge(f"The file is over {limit:,} bytes.", param=field)
        yield file, values


@asynccontextmanager
async def uploaded_files(
    request: Request, limit: int, *, most_files: int, fields: Collection[str] = ()
) -> AsyncIterator[tuple[list[UploadFile], dict[str, str]]]:
    """Yields the files of the fields `files` or `files[]` of a form, and the values of those `fields` that it has.

    All files together have at most `limit` bytes. Raises `InvalidRequest` and `UploadTooLarge`.
    """
    async with _parsed(request, limit, param="files", most_files=most_files) as form:
        files: list[UploadFile] = []
        values: dict[str, str] = {}
        for name, value in form.multi_items():
            if name.removesuffix("[]") == "files" and isinstance(value, UploadFile):
                files.append(value)
            elif name in fields and isinstance(value, str) and name not in values:
                values[name] = value
            else:
                raise InvalidRequest(f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")
        if not files:
            raise InvalidRequest("The form has no files in the field 'files'.", param="files")
        yield files, values


async def form_hash(files: Sequence[UploadFile], values: Mapping[str, str]) -> bytes:
    """The SHA-256 of a form: of its values, and of its files with their names, types and contents, in their order.

    The form's boundary does not count, since clients choose another one for each attempt.
    """
    digest = hashlib.sha256()

    def add(data: bytes) -> None:
        digest.update(len(data).to_bytes(8))
        digest.update(data)

    def add_content(file: BinaryIO) -> None:
        content = hashlib.sha256()
        file.seek(0)
        while piece := file.read(HASHED_AT_ONCE):
            content.update(piece)
        file.seek(0)
        add(content.digest())

    for name, value in sorted(values.items()):
        add(name.encode(errors="surrogatepass"))
        add(value.encode(errors="surrogatepass"))
    for file in files:
        add((file.filename or "").encode(errors="surrogatepass"))
        add((file.content_type or "").encode(errors="surrogatepass"))
        await anyio.to_thread.run_sync(add_content, file.file)
    return digest.digest()


@asynccontextmanager
async def _parsed(request: Request, limit: int, *, param: str, most_files: int) -> AsyncIterator[FormData]:
    async def bounded() -> AsyncGenerator[bytes, None]:
        size = 0
        async for chunk in body_of(request):
            size += len(chunk)
            if size > limit + FRAME_BYTES:
                raise UploadTooLarge(f"The file is over {limit:,} bytes.", param=param)
            yield chunk

    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise UnsupportedMediaType(f"Send multipart/form-data, with the field '{param}'.", param=param)
    parser = MultiPartParser(request.headers, bounded(), max_files=most_files, max_fields=10)
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError) as error:
        reason = error.message if isinstance(error, MultiPartException) else "it names no boundary"
        raise InvalidRequest(f"This is not a form with a file: {reason}.", param=param) from None
    try:
        yield form
    finally:
        await form.close()
        # The parser does not return the file of a form that ends within it.
        for unfinished in parser._files_to_close_on_error:
            unfinished.close()
