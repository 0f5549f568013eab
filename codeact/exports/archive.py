"""A conversation as one JSON, complete: stored responses and blobs enter and leave as bytes, and come back checked.

What is read was written by anybody: its ids are renewed, its sizes bounded, its references looked after.
"""

import hashlib
import re
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Annotated, Any, Literal

import msgspec

from codeact.errors import InvalidRequest
from codeact.events import (
    CodeInterpreterCall,
    FunctionCall,
    ImageOutput,
    Input,
    InputMessage,
    Item,
    Message,
    Response,
    ResponseError,
    encode,
)
from codeact.exports.inline import BLOB_URL, GetBlob
from codeact.ids import new_ids
from codeact.store.blobs import DATA_URL, URL
from codeact.store.records import Conversation, StoredResponse

__all__ = ["Archive", "ArchivedResponse", "archive_pieces", "read_archive"]

OBJECT = "codeact:conversation"
MOST_RESPONSES, MOST_ITEMS, MOST_BLOBS = 5_000, 50_000, 10_000
PART_BYTES = 8_000_000
"""Of one response's input, or of one item: MongoDB takes documents of less than 16 MB."""

NAMES = frozenset({"type", "text", "image_url", "detail", "file_id", "file_data", "file_url", "filename", "size_bytes"})
UNFINISHED = ResponseError("server_error", "This answer was not finished when the conversation was exported.")

Text = Annotated[str, msgspec.Meta(max_length=512)]
Time = Annotated[float, msgspec.Meta(ge=0, le=4e9)]


class ArchivedConversation(msgspec.Struct, forbid_unknown_fields=True):
    """`last_response_id` is the end of the branch that was shown last."""

    created_at: Time
    title: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    tags: Annotated[list[Annotated[str, msgspec.Meta(min_length=1, max_length=50)]], msgspec.Meta(max_length=20)] = []
    metadata: Annotated[dict[Text, Text], msgspec.Meta(max_length=16)] = {}
    last_response_id: Text | None = None


class ArchivedResponse(msgspec.Struct, forbid_unknown_fields=True):
    response: Response
    input: list[Input]


class ArchivedBlob(msgspec.Struct, forbid_unknown_fields=True):
    """`data` is base64 in JSON."""

    sha256: str
    media_type: Annotated[str, msgspec.Meta(max_length=100, pattern=r"^[a-z]+/[a-z0-9.+-]+$")]
    data: bytes


class Archive(msgspec.Struct, forbid_unknown_fields=True):
    """Responses of all branches, each after the one it continues."""

    object: Literal["codeact:conversation"]
    version: Literal[1]
    conversation: ArchivedConversation
    responses: Annotated[list[ArchivedResponse], msgspec.Meta(max_length=MOST_RESPONSES)]
    blobs: Annotated[list[ArchivedBlob], msgspec.Meta(max_length=MOST_BLOBS)] = []


async def archive_pieces(
    conversation: Conversation, responses: Sequence[StoredResponse], get_blob: GetBlob
) -> AsyncIterator[bytes]:
    """The archive, piece by piece: no more than one blob is in memory at a time."""
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
    for number, stored in enumerate(responses):
        yield (b"," if number else b"") + encode(ArchivedResponse(stored.response, stored.input))
    yield b'],"blobs":['
    separator = b""
    for sha256 in conversation.facets.blobs:
        if (blob := await get_blob(sha256)) is not None:
            yield separator + encode(ArchivedBlob(sha256, blob.media_type, blob.data))
            separator = b","
    yield b"]}"


def read_archive(body: bytes) -> Archive:
    """The archive in `body`, safe to store: with ids of its own, and nothing in it unfinished.

    Raises `InvalidRequest`, naming the place. Takes about a second for 100 MB: not for the event loop.
    """
    try:
        archive = msgspec.json.decode(body, type=Archive)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$.")
        raise _refused(f"{reason}", path.rstrip("`") or "body") from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidRequest(f"The body must be JSON: {error}.", code="invalid_json") from None
    for number, blob in enumerate(archive.blobs):
        if hashlib.sha256(blob.data).hexdigest() != blob.sha256:
            raise _refused("it is not the SHA-256 of the data", f"blobs[{number}].sha256")
    if sum(len(one.response.output) for one in archive.responses) > MOST_ITEMS:
        raise _refused(f"there are more than {MOST_ITEMS:,} items", "responses")
    _Renewal().apply(archive)
    return archive


class _Renewal:
    """New ids for old ones: equal ones stay equal."""

    def __init__(self) -> None:
        self._responses: dict[str, str] = {}
        self._containers: dict[str, str] = {}
        self._items: dict[str, str] = {}

    def apply(self, archive: Archive) -> None:
        next_id = new_ids()
        for number, one in enumerate(archive.responses):
            place = f"responses[{number}]"
            response = one.response
            if not 0 <= response.created_at <= 4e9:
                raise _refused("it is no time", f"{place}.response.created_at")
            if response.id in self._responses:
                raise _refused("it comes twice", f"{place}.response.id")
            if response.previous_response_id is not None:
                previous = self._responses.get(response.previous_response_id)
                if previous is None:
                    raise _refused("no earlier response has this id", f"{place}.response.previous_response_id")
                response.previous_response_id = previous
            response.id = self._responses.setdefault(response.id, next_id("resp"))
            if response.status in ("queued", "in_progress"):
                response.status, response.error = "failed", UNFINISHED
            for at, message in enumerate(one.input):
                message.id = next_id("msg" if isinstance(message, InputMessage) else "fco")
                if isinstance(message, InputMessage):
                    _check_parts(message, f"{place}.input[{at}].content")
            for at, item in enumerate(response.output):
                self._item(item, next_id, f"{place}.response.output[{at}]")
            rest = msgspec.structs.replace(response, output=[])
            _check_storable([msgspec.to_builtins(rest), msgspec.to_builtins(one.input)], place)
        last = archive.conversation.last_response_id
        if last is not None and last not in self._responses:
            raise _refused("no response has this id", "conversation.last_response_id")
        archive.conversation.last_response_id = self._responses.get(last) if last is not None else None

    def _item(self, item: Item, next_id: Callable[[str], str], place: str) -> None:
        new_id = next_id(item.id.partition("_")[0] if re.match(r"[a-z]{1,8}_", item.id) else "item")
        self._items[item.id] = item.id = new_id
        if isinstance(item, Message):
            for part in item.content:
                part.annotations = []  # The containers whose files they cite stay behind.
        if isinstance(item, FunctionCall) and item.code_item_id is not None:
            item.code_item_id = self._items.get(item.code_item_id)
        if isinstance(item, CodeInterpreterCall):
            item.continues = self._items.get(item.continues) if item.continues is not None else None
            item.container_id = self._containers.setdefault(item.container_id, next_id("cntr"))
            for output in item.outputs or ():
                if isinstance(output, ImageOutput) and not (
                    BLOB_URL.fullmatch(output.url) or DATA_URL.fullmatch(output.url)
                ):
                    raise _refused("an image must be a data: URL or a blob", f"{place}.outputs")
            for shown in item.notebook_outputs:
                urls = getattr(shown, "metadata", {}).get(URL, {})
                if not isinstance(urls, dict) or not all(
                    isinstance(url, str) and BLOB_URL.fullmatch(url) for url in urls.values()
                ):
                    raise _refused(f"'{URL}' must map to blobs", f"{place}.codeact:notebook_outputs")
        _check_storable(msgspec.to_builtins(item), place)


def _check_parts(message: InputMessage, place: str) -> None:
    """The standard's parts are flat: names that we know, texts and sizes."""
    for part in message.content:
        for name, value in part.items():
            if name not in NAMES or not isinstance(value, str | int | None):
                raise _refused(f"'{name[:50]}' is not known in a part", place)


def _check_storable(value: Any, place: str) -> None:
    """Raises for what MongoDB cannot hold: too much, too deep, or numbers of more than 64 bits."""
    if len(msgspec.json.encode(value)) > PART_BYTES:
        raise _refused(f"it has more than {PART_BYTES:,} bytes", place)
    layer = [value]
    for _ in range(80):
        for one in layer:
            if isinstance(one, int) and not -(2**63) <= one < 2**63:
                raise _refused("it has a number of more than 64 bits", place)
            if isinstance(one, dict) and any("\0" in str(name) for name in one):
                raise _refused("it has a name with a zero byte", place)
        layer = [
            inner
            for one in layer
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
        if not layer:
            return
    raise _refused("it is nested too deep", place)


def _refused(reason: str, place: str) -> InvalidRequest:
    return InvalidRequest(f"This is no conversation that can be imported: {reason}, at {place}.", param=place)
