"""Converts the images that a block of code displayed into content parts for the model, with limits on their size."""

import base64
import re
import struct
from collections.abc import Mapping
from typing import Any

from codeact.events import CodeInterpreterCall, ImageOutput

__all__ = ["displayed", "size_px", "wanted"]

MOST_IMAGES = 4
"""The limit for one block; its last images are used."""
MOST_PIXELS = 4_000_000
MOST_CHARS = 5_000_000
"""The limit for one image, encoded as base64."""

_DATA = re.compile(r"data:image/(png|jpeg|gif);base64,")
_HEAD_CHARS = 400_000


def wanted(call: CodeInterpreterCall) -> list[str]:
    """Returns the URLs of the images that may be sent to the model."""
    return [output.url for output in call.outputs or () if isinstance(output, ImageOutput)][-MOST_IMAGES:]


def displayed(call: CodeInterpreterCall, contents: Mapping[str, str]) -> list[dict[str, Any]]:
    """Returns image parts. `contents` maps URLs of the item to `data:` URLs; images that are too large are left out."""
    urls = [contents.get(url, url) for url in wanted(call)]
    return [{"type": "image_url", "image_url": {"url": url, "detail": "auto"}} for url in urls if _may_be_shown(url)]


def _may_be_shown(url: str) -> bool:
    if not _DATA.match(url) or len(url) > MOST_CHARS:
        return False
    size = size_px(url)
    return size is not None and 0 < size[0] * size[1] <= MOST_PIXELS


def size_px(url: str) -> tuple[int, int] | None:
    """Reads width and height from the header of a PNG, JPEG or GIF in a `data:` URL; None if it has no such header."""
    match = _DATA.match(url)
    if match is None:
        return None
    content = url[match.end() : match.end() + _HEAD_CHARS]
    try:
        head = base64.b64decode(content[: len(content) // 4 * 4])
        if match[1] == "png" and head[12:16] == b"IHDR":
            width, height = struct.unpack(">II", head[16:24])
            return width, height
        if match[1] == "gif" and head[:3] == b"GIF":
            width, height = struct.unpack("<HH", head[6:10])
            return width, height
        return _size_of_jpeg(head) if match[1] == "jpeg" else None
    except (ValueError, struct.error):
        return None


def _size_of_jpeg(head: bytes) -> tuple[int, int] | None:
    """Reads the frame header (ITU T.81, B.2.2), which follows other segments."""
    at = 2
    while at + 9 < len(head) and head[at] == 0xFF:
        marker = head[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", head[at + 5 : at + 9])
            return width, height
        at += 2 + max(2, int.from_bytes(head[at + 2 : at + 4]))
    return None
