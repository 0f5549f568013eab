"""Counts the values and the nesting depth of JSON text without decoding it, in linear time.

Callers use it to refuse JSON before they decode it: decoded JSON takes up to 25 times the memory of its text (`[],[],…`
takes 64 bytes for 3), and a decoder may recurse as deeply as the JSON is nested.
"""

import re
from collections.abc import Iterator
from itertools import accumulate

__all__ = ["TooComplex", "check", "check_depth", "fields", "most_deep", "nodes"]

WINDOW_BYTES = 65_536
"""The size of one step; between steps, a counting thread lets other threads run."""

_DEEPER = bytes(1 if letter in b"[{" else 0 for letter in range(256))
_BRACKET_OR_COLONS = re.compile(rb"([\[{])|([\]}])|:+")
_NO_BRACKETS = bytes(letter for letter in range(256) if letter not in b"[]{}")


class TooComplex(ValueError):
    """The JSON has more values or deeper nesting than its reader accepts."""


def nodes(data: bytes | memoryview, most: int, *, of: bytes = b",:[{") -> int:
    """Counts the values of the JSON, names of fields included, by its brackets, commas and colons.

    `of` holds the bytes to count. A result up to `most` may include bytes inside of strings, and so be too high;
    counting stops soon after it has passed `most`.
    """
    counted = 1
    for window in _windows(data):
        counted += sum(window.count(letter) for letter in of)
        if counted > most:
            break
    else:
        return counted  # This includes strings, so the true number is not higher.
    counted = 1
    for window in _outside_strings(data):
        counted += sum(window.count(letter) for letter in of)
        if counted > most:
            break
    return counted


def most_deep(data: bytes | memoryview) -> int:
    """Returns the nesting depth of lists and objects. Slow per bracket: check their number with `nodes` first."""
    deepest = depth = 0
    for window in _outside_strings(data):
        brackets = window.translate(None, _NO_BRACKETS)
        if brackets:
            steps = [1 if _DEEPER[letter] else -1 for letter in brackets]
            *_, depth = levels = list(accumulate(steps, initial=depth))
            deepest = max(deepest, *levels)
    return deepest


def fields(data: bytes | memoryview, most: int) -> int:
    """Counts the fields of the outermost object; stops soon after it has passed `most`.

    A result up to `most` may include fields of inner objects. Slow per bracket, like `most_deep`.
    """
    if (colons := nodes(data, most, of=b":") - 1) <= most:
        return colons
    counted = depth = 0
    for window in _outside_strings(data):
        for match in _BRACKET_OR_COLONS.finditer(window):
            if match[1]:
                depth += 1
            elif match[2]:
                depth -= 1
            elif depth == 1:
                counted += 1
                if counted > most:
                    return counted
    return counted


def check(data: bytes | memoryview, *, most: int, depth: int) -> None:
    """Raises `TooComplex` for JSON of more than `most` values, or nested deeper than `depth`."""
    # Nearly all input is shorter than `most` bytes, so it cannot have more values.
    if len(data) >= most and nodes(data, most) > most:
        raise TooComplex(f"it has more than {most:,} values")
    check_depth(data, depth)


def check_depth(data: bytes | memoryview, depth: int) -> None:
    # The depth is at most the number of opening brackets, which is cheaper to count.
    if len(data) > 2 * depth and nodes(data, depth, of=b"[{") > depth and most_deep(data) > depth:
        raise TooComplex(f"it is nested more than {depth} deep")


def _windows(data: bytes | memoryview) -> Iterator[bytes]:
    """Yields the JSON in pieces, so that a memory-mapped file is never copied as a whole."""
    if isinstance(data, bytes) and len(data) <= WINDOW_BYTES:
        yield data
        return
    for at in range(0, len(data), WINDOW_BYTES):
        yield bytes(data[at : at + WINDOW_BYTES])


def _outside_strings(data: bytes | memoryview) -> Iterator[bytes]:
    """Yields the JSON in pieces, without its strings."""
    in_string = False
    rest = b""
    for at in range(0, len(data), WINDOW_BYTES):
        window = (rest + bytes(data[at : at + WINDOW_BYTES])).replace(b"\\\\", b"")
        # A backslash at the end escapes the first byte of the next window.
        rest = b"\\" if window.endswith(b"\\") else b""
        parts = window.removesuffix(b"\\").replace(b'\\"', b"").split(b'"')
        yield b"".join(parts[1 if in_string else 0 :: 2])
        in_string ^= len(parts) % 2 == 0
