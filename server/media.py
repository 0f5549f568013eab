"""Images and files in what a user says: they enter as base64 and leave as blobs; for the model, the other way."""

import binascii
import re
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import msgspec

from codeact.errors import InvalidRequest, NotFound
from codeact.events import Input, InputMessage, Item
from codeact.store import Blob
from codeact.workspace import GivenFile

__all__ = ["given_files", "keep", "show"]

Put = Callable[[bytes, str], Awaitable[str]]
Get = Callable[[str], Awaitable[Blob]]

BLOB_URL = "/v1/blobs/"
_DATA_URL = re.compile(r"data:([\w.+/-]+)(?:;[\w=.-]+)*;base64,(.*)", re.DOTALL)


async def keep(messages: Sequence[Input], *, put: Put, get: Get) -> list[Input]:
    """The messages with a blob in place of each image and file.

    Raises `InvalidRequest` for what is no base64, and `NotFound` for a blob that is not there.
    """
    return [
        msgspec.structs.replace(message, content=[await _kept(p, put, get) for p in message.content])
        if isinstance(message, InputMessage)
        else message
        for message in messages
    ]


async def _kept(part: dict[str, Any], put: Put, get: Get) -> dict[str, Any]:
    match part:
        case {"type": "input_image", "image_url": str(url)} if url.startswith(BLOB_URL):
            await get(url.removeprefix(BLOB_URL))
        case {"type": "input_image", "image_url": str(url)}:
            media_type, data = decode(url)
            return part | {"image_url": f"{BLOB_URL}{await put(data, media_type)}"}
        case {"type": "input_file", "file_id": str(sha256)}:
            size = len((await get(sha256)).data)
            return part | {"size_bytes": size}
        case {"type": "input_file", "file_data": str(content)}:
            media_type, data = decode(content)
            sha256 = await put(data, media_type)
            return part | {"file_data": None, "file_id": sha256, "size_bytes": len(data)}
    return part


def decode(content: str) -> tuple[str, bytes]:
    """Media type and bytes of base64, with `data:…;base64,` before it or without. Raises `InvalidRequest`."""
    match = _DATA_URL.fullmatch(content)
    if match is None and content.startswith("data:"):
        raise InvalidRequest("A data URL must read data:TYPE;base64,CONTENT.", param="input", code="invalid_data_url")
    media_type, base64 = (match[1], match[2]) if match else ("application/octet-stream", content)
    try:
        return media_type, binascii.a2b_base64(base64, strict_mode=True)
    except binascii.Error as error:
        raise InvalidRequest(
            f"The base64 of an image or file is broken: {error}.", param="input", code="invalid_base64"
        ) from None


async def show(items: Sequence[Input | Item], *, get: Get) -> list[Input | Item]:
    """The conversation with each image of the user's as a `data:` URL, as models take it."""
    return [
        msgspec.structs.replace(item, content=[await _shown(part, get) for part in item.content])
        if isinstance(item, InputMessage)
        else item
        for item in items
    ]


def given_files(items: Sequence[Input | Item], *, get: Get) -> list[GivenFile]:
    """The files in what the user said; of several with one name, the last."""
    files: dict[str, GivenFile] = {}
    for item in items:
        for part in item.content if isinstance(item, InputMessage) else ():
            match part:
                case {"type": "input_file", "filename": str(name), "file_id": str(sha256)}:
                    files[name] = GivenFile(name, sha256, partial(_content, sha256, get))
    return list(files.values())


async def _content(sha256: str, get: Get) -> bytes:
    return (await get(sha256)).data


async def _shown(part: dict[str, Any], get: Get) -> dict[str, Any]:
    match part:
        case {"type": "input_image", "image_url": str(url)} if url.startswith(BLOB_URL):
            try:
                blob = await get(url.removeprefix(BLOB_URL))
            except NotFound:
                return {"type": "input_text", "text": "[an image that is no longer kept]"}
            return part | {
                "image_url": f"data:{blob.media_type};base64,{binascii.b2a_base64(blob.data, newline=False).decode()}"
            }
    return part
