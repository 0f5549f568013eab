"""Functions for frames, the JSON of events: numbering, grouping, and encoding large events in parts.

Large parts are encoded one by one, so that no event blocks the event loop for long, however much output it contains and
however many items a response has.
"""

from collections.abc import Sequence
from typing import Any, get_args

import msgspec

from codeact import events as e
from codeact.concurrency.offloop import size_of
from codeact.concurrency.slices import Slices, encoded_text
from sandbox_pool.outputs import DisplayData, Error, ExecuteResult, Output, Stream, UpdateDisplayData

__all__ = ["bytes_of", "chunk_of", "encoded_size", "is_large", "light", "numbered"]

LARGE_CHARS = 200_000
CHUNK_BYTES = 256_000
TERMINAL = frozenset(get_args(e.TerminalEvent))
UNNUMBERED = '"sequence_number":0'


def numbered(frame: str, number: int) -> str:
    """Returns the frame with this sequence number in place of 0.

    It replaces the last match: text of models and code in the event comes before it.
    """
    at = frame.rindex(UNNUMBERED)
    return f'{frame[:at]}"sequence_number":{number}{frame[at + len(UNNUMBERED) :]}'


def bytes_of(frame: str) -> int:
    """Returns the size of the frame in UTF-8, as it is stored."""
    return len(frame) if frame.isascii() else len(frame.encode())


def chunk_of(frames: Sequence[str], start: int, stop: int) -> list[str]:
    """Returns the frames from `start` on: at least one, and about 256 KB at most."""
    chunk: list[str] = []
    size_bytes = 0
    for index in range(start, stop):
        chunk.append(frames[index])
        size_bytes += len(chunk[-1])
        if size_bytes >= CHUNK_BYTES:
            break
    return chunk


def is_large(event: e.Event) -> bool:
    """Whether `light` helps: for an output with long texts, or a whole response."""
    if type(event) is e.CodeOutput:
        return size_of([event.output]) > LARGE_CHARS
    return type(event) in TERMINAL and isinstance(event, e.TerminalEvent) and len(event.response.output) > 1


async def light(event: e.Event) -> e.Event:
    """Returns a copy of the event whose large texts and items are already encoded, for use by an encoder only."""
    if isinstance(event, e.CodeOutput):
        return msgspec.structs.replace(event, output=await _light_output(event.output))
    if isinstance(event, e.TerminalEvent):
        return msgspec.structs.replace(event, response=await _light_response(event.response))
    return event


async def encoded_size(response: e.Response) -> int:
    """Returns the size of the response's JSON in bytes."""
    return len(e.encode(await _light_response(response)))


async def _light_response(response: e.Response) -> e.Response:
    slices = Slices()
    items: list[Any] = []
    for item in response.output:
        items.append(msgspec.Raw(e.encode(item)))
        await slices.pause()
    return msgspec.structs.replace(response, output=items)


async def _light_output(output: Output) -> Output:
    match output:
        case Stream(text=text):
            return msgspec.structs.replace(output, text=await _light_text(text))
        case Error(evalue=evalue, traceback=traceback):
            lines = [await _light_text(line) for line in traceback]
            return msgspec.structs.replace(output, evalue=await _light_text(evalue), traceback=lines)
        case DisplayData(data=data) | ExecuteResult(data=data) | UpdateDisplayData(data=data):
            return msgspec.structs.replace(output, data={mime: await _light_text(data[mime]) for mime in data})
    return output


async def _light_text(text: Any) -> Any:
    return await encoded_text(text) if isinstance(text, str) and len(text) > LARGE_CHARS else text
