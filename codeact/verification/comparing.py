"""Compares the outputs of a block with those of its replay: texts, tables, errors, and the bytes of pictures.

Pure, and linear in the length of the outputs; large ones are compared in a thread.
"""

import binascii
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from codeact.ansi import without_sequences
from sandbox_pool.outputs import DisplayData, Error, ExecuteResult, Stream

__all__ = ["Mismatch", "Pictures", "compare", "normalised"]

Outputs = Sequence[Stream | DisplayData | ExecuteResult | Error]
Kind = Literal["text", "picture", "outputs", "type", "error", "call"]

SHOWN_CHARS = 200
"""How much of the place of a difference is shown."""
NUMBER = re.compile(r"[-+]?\d{1,400}(?:\.\d{1,400})?(?:[eE][-+]?\d{1,4})?")
VOLATILE = (
    # Addresses of objects.
    (re.compile(r"\b0x[0-9a-fA-F]{6,16}\b"), "0x…"),
    # Files of `tempfile`, and those in which the kernel keeps the source of blocks.
    (re.compile(r"/tmp/(?:tmp[a-z0-9_]{8}|ipykernel_\d{1,10}/\d{1,20})"), "/tmp/…"),  # noqa: S108
    # The number of the block, which counts all blocks of a kernel.
    (re.compile(r"\b(Cell )?(In|Out) ?\[\d{1,9}\]"), r"\1\2[…]"),
    (re.compile(r"<ipython-input-\d{1,9}-[0-9a-f]{1,40}>"), "<ipython-input-…>"),
    # What `%time` and `%timeit` measure.
    (re.compile(r"^(CPU times|Wall time): [^\n]{1,200}$", re.M), r"\1: …"),
    (re.compile(r"^[^\n]{1,60} ± [^\n]{1,60} per loop \([^\n]{1,100}\)$", re.M), "… per loop"),
    # What matplotlib says in a fresh sandbox where its first plot takes longer than five seconds.
    (re.compile(r"^Matplotlib is building the font cache; this may take a moment\.\n", re.M), ""),
)
MARKUP = (
    # Ids that pandas and plotly draw at random.
    (re.compile(r"\bT_[0-9a-f]{5}"), "T_…"),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "…"),
)
SVG_DATE = re.compile(r"<dc:date>[^<]{1,60}</dc:date>")
SVG_ID = re.compile(r'\b(id="|href="#|url\(#)[a-z]{0,4}[0-9a-f]{6,20}')
RASTER = ("image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp", "image/tiff")


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The first difference of a block. `output` counts from 1."""

    kind: Kind
    expected: str
    found: str
    output: int | None = None


@dataclass(frozen=True, slots=True)
class Pictures:
    """Two pictures whose bytes differ, so that their pixels must be compared. `output` counts from 1."""

    output: int
    expected: bytes
    found: bytes


def compare(
    expected: Outputs, found: Outputs, tolerance: float, *, is_cut: bool = False
) -> tuple[Mismatch | None, list[Pictures]]:
    """Returns the first difference, or None, and the pictures before it of which only the bytes differ.

    The text of a stream is compared as a whole, since it depends on chance how it falls into pieces. So does the place
    at which the limit of outputs cuts it: with `is_cut` it has cut both, and what both have is compared.
    """
    if is_cut:
        expected, found = _common_part(expected, found)
    for name in ("stdout", "stderr"):
        if (at := _different(_stream(expected, name), _stream(found, name), tolerance)) is not None:
            return Mismatch("text", *at, _first(expected, name) or len(expected) + 1), []
    rich = [(number, output) for number, output in enumerate(expected, 1) if not isinstance(output, Stream)]
    others = [output for output in found if not isinstance(output, Stream)]
    pictures: list[Pictures] = []
    for (number, one), other in zip(rich, others, strict=False):
        mismatch = _compare_one(one, other, number, tolerance, pictures)
        if mismatch is not None:
            return mismatch, pictures
    if len(rich) != len(others):
        return Mismatch("outputs", f"{len(rich)} displays, values and errors", f"{len(others)}"), pictures
    return None, pictures


def _compare_one(
    one: DisplayData | ExecuteResult | Error,
    other: DisplayData | ExecuteResult | Error,
    number: int,
    tolerance: float,
    pictures: list[Pictures],
) -> Mismatch | None:
    if isinstance(one, Error) or isinstance(other, Error):
        if not (isinstance(one, Error) and isinstance(other, Error)):
            return Mismatch("type", _named(one), _named(other), number)
        texts = [_error_text(each) for each in (one, other)]
        at = _different(texts[0], texts[1], tolerance)
        return None if at is None else Mismatch("error", *at, number)
    if type(one) is not type(other) or one.data.keys() != other.data.keys():
        return Mismatch("type", _named(one), _named(other), number)
    for mime in one.data:
        first, second = _text(one.data, mime), _text(other.data, mime)
        if mime in RASTER:
            if first != second:
                pictures.append(Pictures(number, _decoded(first), _decoded(second)))
            continue
        if (at := _different(_markup(first, mime), _markup(second, mime), tolerance)) is not None:
            return Mismatch("picture" if mime.startswith("image/") else "text", *at, number)
    return None


def _common_part(expected: Outputs, found: Outputs) -> tuple[Outputs, Outputs]:
    """Returns as many lines of each stream, and as many displays, as both have, and the last error of each.

    That error comes whatever was dropped before it. Empty texts keep the places of what is left out.
    """
    texts = {name: _common_lines(_stream(expected, name), _stream(found, name)) for name in ("stdout", "stderr")}
    rich = [[output for output in side if not isinstance(output, Stream)] for side in (expected, found)]
    errors = [side.pop() if side and isinstance(side[-1], Error) else None for side in rich]
    length = min(len(side) for side in rich)
    return _part(expected, {name: text[0] for name, text in texts.items()}, length, errors[0]), _part(
        found, {name: text[1] for name, text in texts.items()}, length, errors[1]
    )


def _part(outputs: Outputs, texts: dict[str, str], length: int, error: object) -> Outputs:
    """Returns the outputs with these texts in place of their streams', the first displays, and the error."""
    part: list[Stream | DisplayData | ExecuteResult | Error] = []
    for output in outputs:
        if isinstance(output, Stream):
            part.append(Stream(output.name, texts.pop(output.name, "")))
        elif output is error or length > 0:
            length -= output is not error
            part.append(output)
        else:
            part.append(Stream("stdout", ""))
    return part


def _common_lines(one: str, other: str) -> tuple[str, str]:
    """Returns as many lines of two texts as both have; of a single line as many characters."""
    count = min(one.count("\n"), other.count("\n"))
    if count == 0:
        length = min(len(one), len(other))
        return one[:length], other[:length]
    return "\n".join(one.split("\n", count)[:count]), "\n".join(other.split("\n", count)[:count])


def normalised(text: str) -> str:
    """Returns the text without what differs by chance: addresses, temporary paths, block numbers, measured times."""
    text = without_sequences(text)
    for pattern, constant in VOLATILE:
        text = pattern.sub(constant, text)
    return text


def _markup(text: str, mime: str) -> str:
    if mime in ("text/html", "text/latex", "image/svg+xml"):
        for pattern, constant in MARKUP:
            text = pattern.sub(constant, text)
    if mime == "image/svg+xml":
        text = SVG_ID.sub(r"\1…", SVG_DATE.sub("<dc:date>…</dc:date>", text))
    return text


def _different(expected: str, found: str, tolerance: float) -> tuple[str, str] | None:
    """Returns the places at which the texts differ first; None if they are equal, numbers within the tolerance."""
    if expected == found:
        return None
    expected, found = normalised(expected), normalised(found)
    if expected == found:
        return None
    at = there = 0
    others = NUMBER.finditer(found)
    for match in NUMBER.finditer(expected):
        other = next(others, None)
        if other is None or expected[at : match.start()] != found[there : other.start()]:
            break
        if not _is_close(match[0], other[0], tolerance):
            return _around(expected, match.start()), _around(found, other.start())
        at, there = match.end(), other.end()
    else:
        if expected[at:] == found[there:] and next(others, None) is None:
            return None
    here = _common(expected, at, found, there)
    return _around(expected, at + here), _around(found, there + here)


def _common(one: str, at: int, other: str, there: int) -> int:
    """How many characters are equal from these places on."""
    length = 0
    for first, second in zip(one[at : at + SHOWN_CHARS * 50], other[there : there + SHOWN_CHARS * 50], strict=False):
        if first != second:
            break
        length += 1
    return length


def _around(text: str, at: int) -> str:
    return text[max(0, at - SHOWN_CHARS // 4) : at + SHOWN_CHARS]


def _is_close(expected: str, found: str, tolerance: float) -> bool:
    if expected == found:
        return True
    if not any(mark in expected for mark in ".eE") or not any(mark in found for mark in ".eE"):
        return False  # Whole numbers are equal or not.
    one, other = float(expected), float(found)
    return math.isfinite(one) and math.isclose(one, other, rel_tol=tolerance)  # 1e999 and 2e999 are both infinite.


def _stream(outputs: Iterable[object], name: str) -> str:
    return "".join(output.text for output in outputs if isinstance(output, Stream) and output.name == name)


def _first(outputs: Outputs, name: str) -> int | None:
    numbered = enumerate(outputs, 1)
    return next((number for number, each in numbered if isinstance(each, Stream) and each.name == name), None)


def _error_text(error: Error) -> str:
    return "\n".join([error.ename, error.evalue, *error.traceback])


def _named(output: DisplayData | ExecuteResult | Error) -> str:
    if isinstance(output, Error):
        return f"the exception {output.ename}: {output.evalue}"[:SHOWN_CHARS]
    kind = "a display" if isinstance(output, DisplayData) else "the value of the last expression"
    return f"{kind} as {', '.join(sorted(output.data))}"[:SHOWN_CHARS]


def _text(data: Mapping[str, Any], mime: str) -> str:
    value = data[mime]
    return value if isinstance(value, str) else msgspec.json.encode(value).decode(errors="replace")


def _decoded(content: str) -> bytes:
    try:
        return binascii.a2b_base64(content)
    except ValueError:
        return content.encode(errors="replace")
