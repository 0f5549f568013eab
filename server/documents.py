"""Answers with stored documents, however large: what is long is encoded and sent piece by piece.

So the event loop serves others meanwhile, and no document is in memory twice.
"""

from collections.abc import AsyncIterator, Iterable, Iterator
from copy import copy
from itertools import chain
from typing import Any

import msgspec
from starlette.responses import Response, StreamingResponse

from codeact.concurrency.slices import PIECE_CHARS, Slices
from codeact.server.blob_urls import with_urls
from codeact.store import StoredResponse

__all__ = ["document_pieces", "document_response"]

SMALL_CHARS = 50_000
"""What is encoded in one go."""
WHOLE_BYTES = 1_000_000
"""What is sent in one go, with its length before it."""
NAME_CHARS = 100
"""How long `; all of them: blob:…]` is, at most."""
PLACE = b"\0"
"""Where a large value belongs: JSON of ours has no such byte."""


async def document_response(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """As `json_response`, for what is as large as users' questions and answers are."""
    pieces = document_pieces(content)
    begin = bytearray()
    async for piece in pieces:
        begin += piece
        if len(begin) > WHOLE_BYTES:
            body = _with_first(bytes(begin), pieces)
            return StreamingResponse(body, status, headers, media_type="application/json")
    return Response(bytes(begin), status, headers, media_type="application/json")


async def document_pieces(content: Any) -> AsyncIterator[bytes]:
    """The document as JSON, with URLs of its blobs. Each step takes a few milliseconds of the loop at most."""
    slices = Slices()
    async for piece in _pieces(content, slices):
        yield piece
        await slices.pause()


async def _with_first(first: bytes, others: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in others:
        yield piece


async def _pieces(value: Any, slices: Slices) -> AsyncIterator[bytes]:
    if _is_small(value):
        yield with_urls(msgspec.json.encode(value))
        return
    match value:
        case str():
            yield b'"'
            for text in _cut(value):
                yield with_urls(msgspec.json.encode(text)[1:-1])
                await slices.pause()
            yield b'"'
        case list() | tuple():
            separator = b"["
            for entry in value:
                yield separator
                separator = b","
                async for piece in _pieces(entry, slices):
                    yield piece
                await slices.pause()
            yield b"]"
        case dict() | msgspec.Struct() | StoredResponse():
            large = [(name, part) for name, part in _parts(value) if not _is_small(part)]
            begin, *rest = with_urls(msgspec.json.encode(_frame(value, [name for name, _ in large]))).split(PLACE)
            yield begin
            for (_, part), after in zip(large, rest, strict=True):
                async for piece in _pieces(part, slices):
                    yield piece
                yield after
        case _:
            yield with_urls(msgspec.json.encode(value))


def _cut(text: str) -> Iterator[str]:
    """The text in pieces, with the name of a blob behind what was cut never in two of them."""
    at = 0
    while at < len(text):
        end = at + PIECE_CHARS
        if end < len(text) and (name := text.rfind(";", end - NAME_CHARS, end)) >= 0:
            end = name
        yield text[at:end]
        at = end


def _is_small(value: Any) -> bool:
    """Looks at so many of its parts as tell, one after the other."""
    left = SMALL_CHARS
    waiting = [iter((value,))]
    while waiting:
        for part in waiting[-1]:
            left -= 10
            match part:
                case str():
                    left -= len(part)
                case msgspec.Raw():
                    left -= len(memoryview(part))
                case list() | tuple():
                    waiting.append(iter(part))
                case dict():
                    waiting.append(chain(part.keys(), part.values()))
                case msgspec.Struct() | StoredResponse():
                    waiting.append(each for _, each in _parts(part))
                case _:
                    continue
            break
        else:
            waiting.pop()
        if left < 0:
            return False
    return True


def _parts(value: Any) -> Iterable[tuple[str, Any]]:
    match value:
        case dict():
            return value.items()
        case StoredResponse():
            return (("response", value.response), ("input", value.input))
    return ((name, getattr(value, name)) for name in value.__struct_fields__)


def _frame(value: Any, large: Iterable[str]) -> Any:
    """The same, with a place for each of its large parts."""
    if not isinstance(value, msgspec.Struct):
        return dict(_parts(value)) | dict.fromkeys(large, msgspec.Raw(PLACE))
    frame = copy(value)
    for name in large:
        msgspec.structs.force_setattr(frame, name, msgspec.Raw(PLACE))
    return frame
