"""Sends stored documents of any size: large ones are encoded and sent in pieces.

So the event loop can serve others meanwhile, and no document is in memory twice.
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
"""Smaller values are encoded at once."""
WHOLE_BYTES = 1_000_000
"""Smaller bodies are sent at once, with a Content-Length."""
NAME_CHARS = 100
"""The maximum length of `; all of them: blob:…]`."""
PLACE = b"\0"
"""A placeholder for a large value. Our JSON never contains this byte."""


async def document_response(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Like `json_response`, for content that may be as large as users' questions and answers."""
    pieces = document_pieces(content)
    begin = bytearray()
    async for piece in pieces:
        begin += piece
        if len(begin) > WHOLE_BYTES:
            body = _with_first(bytes(begin), pieces)
            return StreamingResponse(body, status, headers, media_type="application/json")
    return Response(bytes(begin), status, headers, media_type="application/json")


async def document_pieces(content: Any) -> AsyncIterator[bytes]:
    """The document as JSON in pieces, with URLs of blobs.

    Each step occupies the event loop for a few milliseconds at most.
    """
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
    """Splits the text without splitting the reference at the end of a shortened text."""
    at = 0
    while at < len(text):
        end = at + PIECE_CHARS
        if end < len(text) and (name := text.rfind(";", end - NAME_CHARS, end)) >= 0:
            end = name
        yield text[at:end]
        at = end


def _is_small(value: Any) -> bool:
    """Whether encoding the value is cheap. Looks only at as many of its parts as necessary."""
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
    """The value with a placeholder for each of its large parts."""
    if not isinstance(value, msgspec.Struct):
        return dict(_parts(value)) | dict.fromkeys(large, msgspec.Raw(PLACE))
    frame = copy(value)
    for name in large:
        msgspec.structs.force_setattr(frame, name, msgspec.Raw(PLACE))
    return frame
