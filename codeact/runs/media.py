"""Stores a user's images and files as blobs, and loads them again for the model."""

import binascii
import posixpath
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import msgspec

from codeact.concurrency.concurrently import gathered
from codeact.data_urls import data_url, split_data_url
from codeact.errors import InvalidRequest, NotFound
from codeact.events import Input, InputMessage, Item
from codeact.file_names import distinct
from codeact.runs.input_items import FILE_IDS, file_name
from codeact.store import Blob, ContainerFile
from codeact.store.references import reference, sha256_of
from codeact.store.run_store import RunStore
from codeact.workspaces.workspace import StagedFile

__all__ = [
    "Blobs",
    "Get",
    "blobs_of",
    "content_of",
    "find_media",
    "image_type",
    "inline_media",
    "input_files",
    "is_plain",
    "put_media",
    "served_type",
    "shown_image",
    "store_media",
    "stored_sha256",
]

Get = Callable[[str], Awaitable[Blob]]
M = TypeVar("M", bound=Input)
I = TypeVar("I")  # noqa: E741


@dataclass(frozen=True, slots=True)
class Blobs:
    """Access to one owner's blobs; `find` returns a container file by id. `get` and `find` raise `NotFound`."""

    put: Callable[[bytes, str], Awaitable[str]]
    get: Get
    find: Callable[[str], Awaitable[ContainerFile]]


def blobs_of(store: RunStore, *, owner: str) -> Blobs:
    return Blobs(
        partial(store.put_blob, owner=owner),
        partial(store.get_blob, owner=owner),
        partial(store.files.file, owner=owner),
    )


IMAGE_BYTES = 10_000_000
"""Limit for an image given by a file's id: the model gets all of it, as base64."""
IMAGES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif"}
"""The first bytes of each type of image."""
MEDIA = frozenset({"input_image", "input_file"})
SERVED = frozenset({"application/json", "application/pdf", "image/svg+xml"})
"""Media types that a blob is served with if it has them, besides plain text and images recognised by their content."""


async def store_media(messages: Sequence[M], blobs: Blobs) -> list[M]:
    """Stores each image and file as a blob; returns the messages with references to the blobs.

    Raises `InvalidRequest` for invalid base64 and for files that are no images, and `NotFound` for unknown ids.
    """
    return await put_media(await find_media(messages, blobs), blobs)


async def find_media(items: Sequence[I], blobs: Blobs) -> list[I]:
    """Does the first half of `store_media`: checks that the ids in messages exist, and replaces them by blobs' names.

    It only reads from the database.
    """
    return await _replaced(items, lambda part: _found(part, blobs))


async def put_media(items: Sequence[I], blobs: Blobs) -> list[I]:
    """Does the second half of `store_media`: stores content in the messages as blobs."""
    return await _replaced(items, lambda part: _put(part, blobs))


async def _replaced(items: Sequence[I], replace: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]) -> list[I]:
    """Returns the items with each image and file replaced by the result of `replace`; several calls run at a time."""
    media = [part for item in items if isinstance(item, InputMessage) for part in item.content if _is_media(part)]
    replaced = iter(await gathered([partial(replace, part) for part in media]))
    return [
        msgspec.structs.replace(
            item, content=_with_distinct_names([next(replaced) if _is_media(part) else part for part in item.content])
        )
        if isinstance(item, InputMessage) and not is_plain(item)
        else item
        for item in items
    ]


def is_plain(item: object) -> bool:
    """Whether the item is a message that has only text, so that nothing in it must be looked up or stored."""
    return isinstance(item, InputMessage) and not any(map(_is_media, item.content))


def _is_media(part: dict[str, Any]) -> bool:
    return part.get("type") in MEDIA


def _with_distinct_names(content: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Renames the second of two files with the same name, so that neither overwrites the other."""
    sent_names = [part.get("filename") if part.get("type") == "input_file" else None for part in content]
    names = iter(distinct([name for name in sent_names if name]))
    return [part | {"filename": next(names)} if name else part for part, name in zip(content, sent_names, strict=True)]


async def _found(part: dict[str, Any], blobs: Blobs) -> dict[str, Any]:
    match part:
        case {"type": "input_image", "image_url": str(url)} if (sha256 := sha256_of(url)) is not None:
            await blobs.get(sha256)
        case {"type": "input_image", "file_id": str(file_id), "detail": detail}:
            return {"type": "input_image", "image_url": reference(await _image(file_id, blobs)), "detail": detail}
        case {"type": "input_file", "file_id": str(file_id), "filename": name} if file_id.startswith(FILE_IDS):
            file = await blobs.find(file_id)
            name = name or file_name(posixpath.basename(file.path), "input")
            return part | {"file_id": stored_sha256(file), "filename": name, "size_bytes": file.size_bytes}
        case {"type": "input_file", "file_id": str(sha256)}:
            return part | {"size_bytes": len((await blobs.get(sha256)).data)}
    return part


async def _put(part: dict[str, Any], blobs: Blobs) -> dict[str, Any]:
    match part:
        case {"type": "input_image", "image_url": str(url)} if sha256_of(url) is None:
            media_type, data = decode(url)
            return part | {"image_url": reference(await blobs.put(data, media_type))}
        case {"type": "input_file", "file_data": str(content)}:
            media_type, data = decode(content)
            sha256 = await blobs.put(data, media_type)
            return part | {"file_data": None, "file_id": sha256, "size_bytes": len(data)}
    return part


async def _image(file_id: str, blobs: Blobs) -> str:
    """Returns the SHA-256 of the image with this file id. Raises `InvalidRequest` if it is no image or too large."""
    sha256 = stored_sha256(await blobs.find(file_id)) if file_id.startswith(FILE_IDS) else file_id
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


def stored_sha256(file: ContainerFile) -> str:
    """Returns the SHA-256 of a container file's content. Raises `InvalidRequest` if the content is not stored."""
    if file.sha256 is None:
        raise InvalidRequest(
            f"The content of '{file.path}' is not kept, since it is too large ({file.size_bytes} bytes): only its"
            " container has it. Ask in that container's conversation, or upload it anew.",
            param="input",
            code="file_too_large",
        )
    return file.sha256


def image_type(blob: Blob) -> str | None:
    """Returns the type of an image by its content, since a file's name may be wrong; None if models cannot read it."""
    if blob.data[:4] == b"RIFF" and blob.data[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for begin, kind in IMAGES.items() if blob.data.startswith(begin)), None)


def served_type(blob: Blob) -> str:
    """Returns the media type for serving a blob, from an allow-list of types with which browsers run no scripts.

    Browsers show an SVG in `<img>` without running its scripts. Opened by itself it is saved to disk, as every blob is.
    """
    if (image := image_type(blob)) is not None:
        return image
    named = blob.media_type.partition(";")[0].strip().lower()
    if named in SERVED:
        return named
    return "text/plain" if named.startswith("text/") else "application/octet-stream"


def decode(content: str) -> tuple[str, bytes]:
    """Decodes base64, with or without `data:…;base64,` before it; returns media type and bytes.

    Raises `InvalidRequest`.
    """
    url = split_data_url(content)
    if url is None and content.startswith("data:"):
        raise InvalidRequest("A data URL must read data:TYPE;base64,CONTENT.", param="input", code="invalid_data_url")
    media_type, base64 = url if url is not None else ("application/octet-stream", content)
    try:
        return media_type, binascii.a2b_base64(base64, strict_mode=True)
    except ValueError as error:  # `binascii.Error`, or a plain `ValueError` for characters beyond ASCII.
        raise InvalidRequest(
            f"The base64 of an image or file is broken: {error}.", param="input", code="invalid_base64"
        ) from None


async def inline_media(
    items: Sequence[Input | Item], *, get: Get, known: dict[str, tuple[InputMessage, InputMessage]] | None = None
) -> list[Input | Item]:
    """Returns the conversation with each of the user's images as a `data:` URL, as models need it.

    `known` has what an earlier call for this conversation returned, by the ids of messages with images or files, and
    gets what this one returns: the same messages give the same results.
    """
    places = [at for at, item in enumerate(items) if isinstance(item, InputMessage) and not is_plain(item)]
    if not places:
        return list(items)
    known = {} if known is None else known
    media = [item for at in places if isinstance(item := items[at], InputMessage)]
    before = [known.get(item.id) for item in media]
    new = [item for item, found in zip(media, before, strict=True) if found is None or found[0] is not item]
    shown = iter(await _replaced(new, lambda part: _shown(part, get)))
    known.clear()
    result = list(items)
    for at, item, found in zip(places, media, before, strict=True):
        known[item.id] = found if found is not None and found[0] is item else (item, next(shown))
        result[at] = known[item.id][1]
    return result


def input_files(items: Sequence[Input | Item], *, get: Get) -> list[StagedFile]:
    """Returns the files in the user's messages; of several with the same name, the last."""
    files: dict[str, StagedFile] = {}
    for item in items:
        if not isinstance(item, InputMessage) or is_plain(item):
            continue
        for part in item.content:
            match part:
                case {"type": "input_file", "filename": str(name), "file_id": str(sha256)}:
                    files[name] = StagedFile(name, sha256, partial(content_of, sha256, get))
    return list(files.values())


async def content_of(sha256: str, get: Get) -> bytes:
    """Returns the content of a blob. Raises `NotFound`."""
    return (await get(sha256)).data


async def shown_image(url: str, *, get: Get) -> str | None:
    """Returns the `data:` URL of a stored image; None if `url` names no blob or the blob no longer exists."""
    sha256 = sha256_of(url)
    if sha256 is None:
        return None
    try:
        blob = await get(sha256)
    except NotFound:
        return None
    return data_url(image_type(blob) or blob.media_type, blob.data)


async def _shown(part: dict[str, Any], get: Get) -> dict[str, Any]:
    match part:
        case {"type": "input_image", "image_url": str(url)} if sha256_of(url) is not None:
            shown = await shown_image(url, get=get)
            if shown is None:
                return {"type": "input_text", "text": "[an image that is no longer kept]"}
            return part | {"image_url": shown}
    return part
