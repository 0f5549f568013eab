"""Reads the one file of a multipart upload; a large one is stored on disk."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from codeact.errors import InvalidRequest
from codeact.server.requests.parameters import UnsupportedMediaType, body_of

__all__ = ["UploadTooLarge", "uploaded_file"]

FRAME_BYTES = 100_000
"""The limit for the form's boundaries and other fields, in addition to the file."""


class UploadTooLarge(InvalidRequest):
    code = "file_too_large"
    status = 413


@asynccontextmanager
async def uploaded_file(request: Request, limit: int) -> AsyncIterator[UploadFile]:
    """Yields the field `file` of a form (RFC 7578).

    Raises `InvalidRequest`, and `UploadTooLarge` without reading all of it.
    """

    async def bounded() -> AsyncGenerator[bytes, None]:
        size = 0
        async for chunk in body_of(request):
            size += len(chunk)
            if size > limit + FRAME_BYTES:
                raise UploadTooLarge(f"The file is over {limit:,} bytes.", param="file")
            yield chunk

    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise UnsupportedMediaType("Send the file as multipart/form-data, in the field 'file'.", param="file")
    parser = MultiPartParser(request.headers, bounded(), max_files=1, max_fields=10)
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError) as error:
        reason = error.message if isinstance(error, MultiPartException) else "it names no boundary"
        raise InvalidRequest(f"This is not a form with a file: {reason}.", param="file") from None
    try:
        for name in form:
            if name != "file":
                raise InvalidRequest(f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")
        file = form.get("file")
        if not isinstance(file, UploadFile) or not file.filename:
            raise InvalidRequest("The form has no file in the field 'file'.", param="file")
        yield file
    finally:
        await form.close()
        # The parser does not return the file of a form that ends within it.
        for unfinished in parser._files_to_close_on_error:
            unfinished.close()
