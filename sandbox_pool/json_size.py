"""Counts the values and the depth of JSON text without decoding it. Pure and linear.

As Python objects, JSON takes up to 25 times its bytes (`[],[],…`: 64 bytes for 3) and a reader may go as deep as it
is nested. What is counted here tells beforehand.
"""

from collections.abc import Iterator
from itertools import accumulate

__all__ = ["TooComplex", "check", "check_depth", "most_deep", "nodes"]

WINDOW_BYTES = 65_536
"""So much is looked at in one go: a thread that counts lets others run in between."""

_DEEPER = bytes(1 if letter in b"[{" else 0 for letter in range(256))
_NO_BRACKETS = bytes(letter for letter in range(256) if letter not in b"[]{}")


class TooComplex(ValueError):
    """The JSON has more values, or is nested deeper, than its place takes."""


def nodes(data: bytes | memoryview, most: int, *, of: bytes = b",:[{") -> int:
    """How many values there are in the JSON, names among them: about as many as there are brackets, commas and colons.

    `of` are the letters that count. Stops a little past `most`; up to there it may count what stands in strings, too.
    """
    counted = 1
    for window in _windows(data):
        counted += sum(window.count(letter) for letter in of)
        if counted > most:
            break
    else:
        return counted  # Strings and all: it can only be fewer.
    counted = 1
    for window in _outside_strings(data):
        counted += sum(window.count(letter) for letter in of)
        if counted > most:
            break
    return counted


def most_deep(data: bytes | memoryview) -> int:
    """How deep lists and objects stand in each other. Its time is of the brackets: count them first."""
    deepest = depth = 0
    for window in _outside_strings(data):
        brackets = window.translate(None, _NO_BRACKETS)
        if brackets:
            steps = [1 if _DEEPER[letter] else -1 for letter in brackets]
            *_, depth = levels = list(accumulate(steps, initial=depth))
            deepest = max(deepest, *levels)
    return deepest


def check(data: bytes | memoryview, *, most: int, depth: int) -> None:
    """Raises `TooComplex` for JSON of more than `most` values, or nested deeper than `depth`."""
    # Nearly all that comes is small: strings and all, it has fewer than that.
    if len(data) >= most and nodes(data, most) > most:
        raise TooComplex(f"it has more than {most:,} values")
    check_depth(data, depth)


def check_depth(data: bytes | memoryview, depth: int) -> None:
    # As deep as there are brackets, at most.
    if len(data) > 2 * depth and nodes(data, depth, of=b"[{") > depth and most_deep(data) > depth:
        raise TooComplex(f"it is nested more than {depth} deep")


def _windows(data: bytes | memoryview) -> Iterator[bytes]:
    """The JSON piece by piece: what is a file in memory is never copied as a whole."""
    if isinstance(data, bytes) and len(data) <= WINDOW_BYTES:
        yield data
        return
    for at in range(0, len(data), WINDOW_BYTES):
        yield bytes(data[at : at + WINDOW_BYTES])


def _outside_strings(data: bytes | memoryview) -> Iterator[bytes]:
    """The JSON window by window, less its strings."""
    in_string = False
    rest = b""
    for at in range(0, len(data), WINDOW_BYTES):
        window = (rest + bytes(data[at : at + WINDOW_BYTES])).replace(b"\\\\", b"")
        # A backslash at the end belongs to what follows.
        rest = b"\\" if window.endswith(b"\\") else b""
        parts = window.removesuffix(b"\\").replace(b'\\"', b"").split(b'"')
        yield b"".join(parts[1 if in_string else 0 :: 2])
        in_string ^= len(parts) % 2 == 0
