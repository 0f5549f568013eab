"""Brings blobs back into what points to them: outputs and URLs enter, outputs as the code made them leave."""

import base64
import re
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from codeact.store.blobs import BINARY, URL
from codeact.store.records import Blob
from sandbox_pool.outputs import DisplayData, Error, ExecuteResult, Stream

__all__ = ["GetBlob", "data_url", "whole_output"]

GetBlob = Callable[[str], Awaitable[Blob | None]]
"""Takes a SHA-256; None where there is no such blob any more."""

BLOB_URL = re.compile(r"/v1/blobs/([0-9a-f]{64})")


async def data_url(url: str, get_blob: GetBlob) -> str:
    """The URL itself, unless it is one of a blob: then the blob, as a `data:` URL."""
    match = BLOB_URL.fullmatch(url)
    blob = await get_blob(match[1]) if match is not None else None
    if blob is None:
        return url
    return f"data:{blob.media_type};base64,{base64.b64encode(blob.data).decode()}"


async def whole_output(
    output: Stream | DisplayData | ExecuteResult | Error, get_blob: GetBlob
) -> Stream | DisplayData | ExecuteResult | Error:
    """The output with what was moved into blobs; a stream that was cut stays so, and says where the rest is."""
    if isinstance(output, Stream | Error):
        return output
    data = dict(output.data)
    for mime, url in output.metadata.get(URL, {}).items():
        match = BLOB_URL.fullmatch(url)
        blob = await get_blob(match[1]) if match is not None else None
        if blob is not None:
            data[mime] = _content(mime, blob.data)
    metadata = {name: value for name, value in output.metadata.items() if name != URL}
    return msgspec.structs.replace(output, data=data, metadata=metadata)


def _content(mime: str, data: bytes) -> Any:
    if BINARY.fullmatch(mime):
        return base64.b64encode(data).decode()
    text = data.decode(errors="replace")
    if mime.endswith("json"):
        try:
            return msgspec.json.decode(data)
        except msgspec.DecodeError:
            return text
    return text
