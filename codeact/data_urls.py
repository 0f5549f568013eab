"""Reads and writes `data:` URLs with base64 (RFC 2397), in linear time."""

import binascii
import re
from typing import NamedTuple

__all__ = ["DataUrl", "data_url", "image_of", "split_data_url"]

_DATA_URL = re.compile(r"data:([\w.+/-]{1,127})((?:;[\w=.-]+)*);base64,(.*)", re.DOTALL | re.ASCII)
_IMAGE = re.compile(r"image/[a-z0-9.+-]+")


class DataUrl(NamedTuple):
    """The media type, and the content as base64 that nobody has checked."""

    media_type: str
    base64: str


def split_data_url(text: str) -> DataUrl | None:
    """The parts of a URL, without the parameters of its type; None for any other text."""
    match = _DATA_URL.fullmatch(text)
    return DataUrl(match[1], match[3]) if match else None


def image_of(text: str) -> DataUrl | None:
    """The parts of the URL of an image as we write it: a type in lower case, without parameters. Else None."""
    match = _DATA_URL.fullmatch(text)
    return DataUrl(match[1], match[3]) if match and not match[2] and _IMAGE.fullmatch(match[1]) else None


def data_url(media_type: str, content: bytes) -> str:
    """The URL that holds this content."""
    return f"data:{media_type};base64,{binascii.b2a_base64(content, newline=False).decode()}"
