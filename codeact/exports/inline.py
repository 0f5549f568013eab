"""Replaces references to stored blobs, in outputs and URLs, by the blobs' content."""

import base64
from collections.abc import Callable
from typing import Any

import msgspec

from codeact.data_urls import data_url
from codeact.store.blobs import BINARY, URL
from codeact.store.records import Blob
from codeact.store.references import sha256_of
from sandbox_pool.outputs import DisplayData, Error, ExecuteResult, Stream

__all__ = ["GetBlob", "inlined", "whole_output"]

GetBlob = Callable[[str], Blob | None]
"""Loads the blob with this SHA-256; returns None if it no longer exists. May block: exports run in threads."""


def inlined(url: str, get_blob: GetBlob) -> str:
    """Returns the blob as a `data:` URL if `url` names one that exists; any other URL is returned unchanged."""
    sha256 = sha256_of(url)
    blob = get_blob(sha256) if sha256 is not None else None
    if blob is None:
        return url
    return data_url(blob.media_type, blob.data)


def whole_output(
    output: Stream | DisplayData | ExecuteResult | Error, get_blob: GetBlob
) -> Stream | DisplayData | ExecuteResult | Error:
    """Returns the output with the content of its blobs. Streams that were cut stay cut; their text names the rest."""
    if isinstance(output, Stream | Error):
        return output
    data = dict(output.data)
    for mime, name in output.metadata.get(URL, {}).items():
        sha256 = sha256_of(name)
        blob = get_blob(sha256) if sha256 is not None else None
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
            return msgspec.Raw(msgspec.json.format(data, indent=-1))
        except msgspec.DecodeError:
            return text
    return text
