"""Writes a complete conversation as one JSON document, and reads one back after checking all of it.

What is read was written by anybody: its ids are renewed, its sizes bounded, its references looked after.
"""

import binascii
import hashlib
import re
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from codeact.concurrency.slices import Slices
from codeact.errors import InvalidRequest
from codeact.events import (
    Input,
    Item,
    encode,
)
from codeact.exports.archive_form import (
    MOST_BLOBS,
    MOST_RESPONSES,
    Archive,
    ArchivedBlob,
    ArchivedConversation,
    ArchivedResponse,
    refused,
)
from codeact.exports.archive_ids import Renewal
from codeact.store.records import Blob, Conversation, StoredResponse
from sandbox_pool import json_size

__all__ = ["Archive", "ArchivedResponse", "OpenArchive", "archive_pieces", "read_archive"]

OBJECT = "codeact:conversation"
BASE64_BYTES = 300_000
"""Of a blob at a time; three bytes are four characters."""
MOST_ITEMS = 50_000
MOST_VALUES, MOST_VALUES_EACH, DEEPEST = 1_000_000, 200_000, 100
"""Of its JSON, and of one response. A real conversation has about one value for each 50 bytes, and most of its bytes
are in blobs.
"""

PATH = re.compile(rb'(?<!\\)"/v1/blobs/([0-9a-f]{64})"')
"""How archives of the first release name a blob."""

T = TypeVar("T")


class _Outline(msgspec.Struct, forbid_unknown_fields=True):
    """An archive whose large parts are still JSON."""

    object: Literal["codeact:conversation"]
    version: Literal[1]
    conversation: ArchivedConversation
    responses: Annotated[list[msgspec.Raw], msgspec.Meta(max_length=MOST_RESPONSES)]
    blobs: Annotated[list[msgspec.Raw], msgspec.Meta(max_length=MOST_BLOBS)] = []


class OpenArchive:
    """An archive that has been looked at as a whole; its parts are decoded one by one."""

    def __init__(self, outline: _Outline) -> None:
        self.conversation = outline.conversation
        self._outline = outline
        self.responses: list[ArchivedResponse] = []

    def blobs(self) -> Iterator[ArchivedBlob]:
        """Each one decoded when it is asked for. Raises `InvalidRequest`."""
        for number, raw in enumerate(self._outline.blobs):
            blob = _decoded(raw, ArchivedBlob, f"blobs[{number}]")
            if hashlib.sha256(blob.data).hexdigest() != blob.sha256:
                raise refused("it is not the SHA-256 of the data", f"blobs[{number}].sha256")
            yield blob

    def read_responses(self) -> None:
        renewal = Renewal()
        items = 0
        for number, raw in enumerate(self._outline.responses):
            place = f"responses[{number}]"
            try:
                json_size.check(memoryview(raw), most=MOST_VALUES_EACH, depth=DEEPEST)
            except json_size.TooComplex as error:
                raise refused(str(error), place) from None
            one = _decoded(_named_by_hash(raw), ArchivedResponse, place)
            items += len(one.response.output)
            if items > MOST_ITEMS:
                raise refused(f"there are more than {MOST_ITEMS:,} items", "responses")
            renewal.apply(number, one)
            self.responses.append(one)
        renewal.end(self.conversation)


async def archive_pieces(
    conversation: Conversation,
    responses: AsyncIterable[StoredResponse],
    get_blob: Callable[[str], Awaitable[Blob | None]],
) -> AsyncIterator[bytes]:
    """The archive, piece by piece: no more than some responses or one blob are in memory at a time."""
    head = {
        "object": OBJECT,
        "version": 1,
        "conversation": ArchivedConversation(
            created_at=conversation.created_at,
            title=conversation.title,
            tags=list(conversation.tags),
            metadata=dict(conversation.metadata),
            last_response_id=conversation.last_response_id,
        ),
    }
    yield encode(head)[:-1] + b',"responses":['
    separator = b""
    async for stored in responses:
        yield separator + await _encoded(stored)
        separator = b","
    yield b'],"blobs":['
    separator = b""
    for sha256 in conversation.facets.blobs:
        if (blob := await get_blob(sha256)) is not None:
            yield separator + encode(ArchivedBlob(sha256, blob.media_type, b""))[: -len(b'"}')]
            for at in range(0, len(blob.data), BASE64_BYTES):
                yield binascii.b2a_base64(blob.data[at : at + BASE64_BYTES], newline=False)
            yield b'"}'
            separator = b","
    yield b"]}"


async def _encoded(stored: StoredResponse) -> bytes:
    """An `ArchivedResponse` as JSON, encoded item by item: others have their turn in between."""
    items, messages = await _raw(stored.response.output), await _raw(stored.input)
    return encode(ArchivedResponse(msgspec.structs.replace(stored.response, output=items), messages))


async def _raw(found: Iterable[Item | Input]) -> list[Any]:
    slices = Slices()
    encoded: list[Any] = []
    for one in found:
        encoded.append(msgspec.Raw(encode(one)))
        await slices.pause()
    return encoded


def read_archive(body: bytes | memoryview) -> OpenArchive:
    """The archive in `body`, safe to store: with ids of its own, and nothing in it unfinished.

    Its blobs are still to be read, one by one, and refer to `body`. Raises `InvalidRequest`, naming the place. Takes
    about a second for 100 MB: not for the event loop.
    """
    if json_size.nodes(body, MOST_VALUES) > MOST_VALUES:
        raise refused(f"it has more than {MOST_VALUES:,} values", "body")
    archive = OpenArchive(_decoded(body, _Outline, ""))
    archive.read_responses()
    return archive


def _named_by_hash(raw: msgspec.Raw) -> bytes | memoryview:
    """With the names of blobs in today's form."""
    data = memoryview(raw)
    return PATH.sub(rb'"blob:\1"', data) if PATH.search(data) is not None else data


def _decoded(raw: bytes | memoryview | msgspec.Raw, kind: type[T], place: str) -> T:
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$")
        inner = path.rstrip("`")
        raise refused(reason, f"{place}{inner}".lstrip(".") or "body") from None
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"The body must be JSON: {error}.", code="invalid_json") from None
