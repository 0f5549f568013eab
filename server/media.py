"""Images and files in what a user says: they enter as base64 and leave as blobs; for the model, the other way."""

import binascii
import posixpath
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import msgspec

from codeact.errors import InvalidRequest, NotFound
from codeact.events import Input, InputMessage, Item
from codeact.store import Blob, ContainerFile, Store
from codeact.workspace import GivenFile
from server.inputs import CONTAINER_FILE, file_name

__all__ = ["Blobs", "blobs_of", "given_files", "image_type", "keep", "kept_sha256", "show"]

Get = Callable[[str], Awaitable[Blob]]
M = TypeVar("M", bound=Input)


@dataclass(frozen=True, slots=True)
class Blobs:
    """What one owner keeps. `get` and `find` (of container files, by id) raise `NotFound`."""

    put: Callable[[bytes, str], Awaitable[str]]
    get: Get
    find: Callable[[str], Awaitable[ContainerFile]]


def blobs_of(store: Store, *, owner: str) -> Blobs:
    return Blobs(
        partial(store.put_blob, owner=owner),
        partial(store.get_blob, owner=owner),
        partial(store.files.file, owner=owner),
    )


IMAGE_BYTES = 10_000_000
"""Of an image that a file's id names: models are given all of it, as base64."""
IMAGES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif"}
"""How the content of each type begins."""
BLOB_URL = "/v1/blobs/"
_DATA_URL = re.compile(r"data:([\w.+/-]+)(?:;[\w=.-]+)*;base64,(.*)", re.DOTALL)


async def keep(messages: Sequence[M], blobs: Blobs) -> list[M]:
    """The messages with a blob in place of each image and file.

    Raises `InvalidRequest` for what is no base64 or no image, and `NotFound` for what is not there.
    """
    return [
        msgspec.structs.replace(message, content=[await _kept(part, blobs) for part in message.content])
        if isinstance(message, InputMessage)
        else message
        for message in messages
    ]


async def _kept(part: dict[str, Any], blobs: Blobs) -> dict[str, Any]:
    match part:
        case {"type": "input_image", "image_url": str(url)} if url.startswith(BLOB_URL):
            await blobs.get(url.removeprefix(BLOB_URL))
        case {"type": "input_image", "image_url": str(url)}:
            media_type, data = decode(url)
            return part | {"image_url": f"{BLOB_URL}{await blobs.put(data, media_type)}"}
        case {"type": "input_image", "file_id": str(file_id), "detail": detail}:
            return {"type": "input_image", "image_url": f"{BLOB_URL}{await _image(file_id, blobs)}", "detail": detail}
        case {"type": "input_file", "file_id": str(file_id), "filename": name} if file_id.startswith(CONTAINER_FILE):
            file = await blobs.find(file_id)
            name = name or file_name(posixpath.basename(file.path), "input")
            return part | {"file_id": kept_sha256(file), "filename": name, "size_bytes": file.size_bytes}
        case {"type": "input_file", "file_id": str(sha256)}:
            return part | {"size_bytes": len((await blobs.get(sha256)).data)}
        case {"type": "input_file", "file_data": str(content)}:
            media_type, data = decode(content)
            sha256 = await blobs.put(data, media_type)
            return part | {"file_data": None, "file_id": sha256, "size_bytes": len(data)}
    return part


async def _image(file_id: str, blobs: Blobs) -> str:
    """The SHA-256 of the image that a file's id names."""
    sha256 = kept_sha256(await blobs.find(file_id)) if file_id.startswith(CONTAINER_FILE) else file_id
    blob = await blobs.get(sha256)
    if image_type(blob) is None:
        raise InvalidRequest(
            f"The file '{file_id}' is no image that models see: PNG, JPEG, GIF or WebP.", param="input", code="no_image"
        )
    if len(blob.data) > IMAGE_BYTES:
        raise InvalidRequest(
            f"The image '{file_id}' has {len(blob.data)} bytes; models are given at most {IMAGE_BYTES}.",
            param="input",
            code="file_too_large",
        )
    return sha256


def kept_sha256(file: ContainerFile) -> str:
    """Names its content. Raises `InvalidRequest` where only its container has that."""
    if file.sha256 is None:
        raise InvalidRequest(
            f"The content of '{file.path}' is not kept, since it is too large ({file.size_bytes} bytes): only its"
            " container has it. Ask in that container's conversation, or upload it anew.",
            param="input",
            code="file_too_large",
        )
    return file.sha256


def image_type(blob: Blob) -> str | None:
    """What its content says it is, since code may call a file anything; None where that is no image for a model."""
    if blob.data[:4] == b"RIFF" and blob.data[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for begin, kind in IMAGES.items() if blob.data.startswith(begin)), None)


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
            content = binascii.b2a_base64(blob.data, newline=False).decode()
            return part | {"image_url": f"data:{image_type(blob) or blob.media_type};base64,{content}"}
    return part
