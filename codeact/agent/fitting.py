"""Cuts an output to the number of bytes that its owner may still store."""

import math

import msgspec

from codeact.concurrency.offloop import size_of
from sandbox_pool.outputs import Output, Stream

__all__ = ["within"]

LONGEST_CHARACTER = 6
"""The largest number of bytes that JSON needs for a character: those of an escape."""


def within(output: Output, room_bytes: float) -> Output | None:
    """Returns the output if its JSON has at most `room_bytes`; otherwise the beginning of its text, or None."""
    if room_bytes == math.inf or LONGEST_CHARACTER * size_of([output]) <= room_bytes:
        return output
    size_bytes = _size(output)
    if size_bytes <= room_bytes:
        return output
    if isinstance(output, Stream):
        room_bytes -= _size(Stream(output.name, ""))
        for chars in (len(output.text) * room_bytes / size_bytes, room_bytes / LONGEST_CHARACTER):
            text = output.text[: max(0, int(chars))]
            if text and len(msgspec.json.encode(text)) <= room_bytes:
                return Stream(output.name, text)
    return None


def _size(output: Output) -> int:
    return len(msgspec.json.encode(output))
