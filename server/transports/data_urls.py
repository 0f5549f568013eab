"""Adapts a stream or a response to its request: our own events, items of code, summaries, images as data."""

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from contextlib import aclosing
from typing import Any

import msgspec

from codeact import events as e
from codeact.data_urls import data_url
from codeact.errors import NotFound
from codeact.server.requests.code_items import CodeItems, gets_code
from codeact.server.transports.code_items import fitting, without_code_items
from codeact.server.transports.standard_events import gets_ours
from codeact.server.transports.summaries import response_with_summaries, wants_summary
from codeact.store import Blob
from codeact.store.references import sha256_of

__all__ = ["as_asked", "items_as_asked", "response_as_asked"]

ASKED = "codeact:data_urls"
"""The value of `include` that asks for images as `data:` URLs."""
MOST_BYTES = 20_000_000
"""The limit for the images in one answer. Further ones keep their URLs."""

Get = Callable[[str], Awaitable[Blob]]

_IMAGE = re.compile(r'"type":"image","url":"blob:([0-9a-f]{64})"')


def as_asked(
    stream: AsyncGenerator[list[str], None],
    include: Collection[str] | None,
    get: Get,
    *,
    code: CodeItems,
    starting_after: int = -1,
) -> AsyncGenerator[list[str], None]:
    """The frames for a request with this `include`. Closing the result closes `stream`.

    `code` says which requests get items of code.

    Without our own events, `stream` must begin with the response's first event, and `starting_after` is a number that
    the client saw.
    """
    if not gets_ours(include):
        stream = fitting(stream, code, include, starting_after=starting_after)
    return _frames_with_data(stream, get) if ASKED in (include or ()) else stream


async def response_as_asked(
    response: e.Response, include: Collection[str] | None, get: Get, *, code: CodeItems
) -> e.Response:
    """The response for a request with this `include`."""
    if not gets_code(code, response.tools, include, store=response.store):
        response = without_code_items(response)
    if wants_summary(response.reasoning) and not gets_ours(include):
        response = response_with_summaries(response)
    if ASKED not in (include or ()):
        return response
    return msgspec.structs.replace(response, output=await items_as_asked(response.output, include, get))


async def items_as_asked(items: Sequence[Any], include: Collection[str] | None, get: Get) -> list[Any]:
    """The items for a request with this `include`, as copies with images instead of references if it asks for them.

    Raises what `get` raises, except `NotFound`.
    """
    if ASKED not in (include or ()):
        return [*items]
    left = MOST_BYTES
    output: list[Any] = []
    for item in items:
        if isinstance(item, e.CodeInterpreterCall) and item.outputs:
            parts: list[e.LogsOutput | e.ImageOutput] = []
            for part in item.outputs:
                url = await _data(sha256_of(part.url), get, left) if isinstance(part, e.ImageOutput) else None
                left -= len(url or "")
                parts.append(part if url is None else e.ImageOutput(url))
            item = msgspec.structs.replace(item, outputs=parts)
        output.append(item)
    return output


async def _frames_with_data(stream: AsyncGenerator[list[str], None], get: Get) -> AsyncGenerator[list[str], None]:
    """The frames with images instead of references."""
    async with aclosing(stream):
        async for frames in stream:
            yield [await _frame(frame, get) if '"blob:' in frame else frame for frame in frames]


async def _frame(frame: str, get: Get) -> str:
    left = MOST_BYTES
    pieces, at = [], 0
    for found in _IMAGE.finditer(frame):
        url = await _data(found[1], get, left)
        if url is not None:
            left -= len(url)
            pieces += [frame[at : found.start()], f'"type":"image","url":"{url}"']
            at = found.end()
    return "".join([*pieces, frame[at:]])


async def _data(sha256: str | None, get: Get, left: int) -> str | None:
    """The image as a `data:` URL; None if it no longer exists, or is longer than `left`."""
    if sha256 is None or left <= 0:
        return None
    try:
        blob = await get(sha256)
    except NotFound:
        return None
    return data_url(blob.media_type, blob.data) if 4 * len(blob.data) <= 3 * left else None
