"""Writes a complete conversation as one JSON document, and reads such a document back after checking all of it.

Anybody may have written the document that is read: it gets new ids, and its sizes and references are checked.
"""

import binascii
import hashlib
import re
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from codeact.concurrency.slices import Slices
from codeact.errors import InvalidRequest
from codeact.events import Compaction, Input, Item, Reasoning, encode
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
"""How much of a blob is encoded at a time; a multiple of three, since base64 makes four characters of three bytes."""
MOST_ITEMS = 50_000
MOST_VALUES, MOST_VALUES_EACH, DEEPEST = 1_000_000, 200_000, 100
"""Limits for the JSON values of an archive and of one response, and for the nesting.

Real conversations have about one value for every 50 bytes, and most of their bytes are in blobs.
"""

PATH = re.compile(rb'(?<!\\)"/v1/blobs/([0-9a-f]{64})"')
"""A blob's URL in archives of the first release."""

T = TypeVar("T")


class _Outline(msgspec.Struct, forbid_unknown_fields=True):
    """An archive whose responses and blobs are still encoded."""

    object: Literal["codeact:conversation"]
    version: Literal[1]
    conversation: ArchivedConversation
    responses: Annotated[list[msgspec.Raw], msgspec.Meta(max_length=MOST_RESPONSES)]
    blobs: Annotated[list[msgspec.Raw], msgspec.Meta(max_length=MOST_BLOBS)] = []


class OpenArchive:
    """An archive whose outline has been checked; its responses and blobs are decoded one by one."""

    def __init__(self, outline: _Outline) -> None:
        self.conversation = outline.conversation
        self._outline = outline
        self.responses: list[ArchivedResponse] = []

    def blobs(self) -> Iterator[ArchivedBlob]:
        """Decodes and yields one blob after the other. Raises `InvalidRequest` if one does not match its hash."""
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
    """Yields the archive as JSON, in pieces; only a few responses or one blob are in memory at a time."""
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
    """Encodes an `ArchivedResponse` item by item, so that other tasks can run in between."""
    items, messages = await _raw(stored.response.output), await _raw(stored.input)
    return encode(ArchivedResponse(msgspec.structs.replace(stored.response, output=items), messages))


async def _raw(items: Iterable[Item | Input]) -> list[Any]:
    slices = Slices()
    encoded: list[Any] = []
    for item in items:
        encoded.append(msgspec.Raw(encode(_without_sealed(item))))
        await slices.pause()
    return encoded


def _without_sealed(item: Item | Input) -> Item | Input:
    """Returns the item without content that is encrypted for its owner's clients, since nobody else can decrypt it."""
    if isinstance(item, Compaction):
        return msgspec.structs.replace(item, encrypted_content="")
    if isinstance(item, Reasoning):
        return msgspec.structs.replace(item, encrypted_content=None)
    return item


def read_archive(body: bytes | memoryview) -> OpenArchive:
    """Decodes and checks the archive in `body`, and gives it new ids; unfinished responses become failed ones.

    The caller then reads the blobs one by one from the result, which refers to `body`. Raises `InvalidRequest`, which
    names the place of the error. Takes about a second for 100 MB: call it in a thread, not on the event loop.
    """
    if json_size.nodes(body, MOST_VALUES) > MOST_VALUES:
        raise refused(f"it has more than {MOST_VALUES:,} values", "body")
    archive = OpenArchive(_decoded(body, _Outline, ""))
    archive.read_responses()
    return archive


def _named_by_hash(raw: msgspec.Raw) -> bytes | memoryview:
    """Returns the JSON with the first release's blob URLs replaced by `blob:` names."""
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
