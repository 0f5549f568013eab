"""Parses and builds base64 `data:` URLs (RFC 2397), in linear time."""

import binascii
import re
from typing import NamedTuple

__all__ = ["DataUrl", "data_url", "image_of", "split_data_url"]

_DATA_URL = re.compile(r"data:([\w.+/-]{1,127})((?:;[\w=.-]+)*);base64,(.*)", re.DOTALL | re.ASCII)
_IMAGE = re.compile(r"image/[a-z0-9.+-]+")


class DataUrl(NamedTuple):
    """The media type, and the base64 content, which has not been validated."""

    media_type: str
    base64: str


def split_data_url(text: str) -> DataUrl | None:
    """The parts of a data URL, without parameters of its media type; None for any other text."""
    match = _DATA_URL.fullmatch(text)
    return DataUrl(match[1], match[3]) if match else None


def image_of(text: str) -> DataUrl | None:
    """The parts of an image's data URL in our own form (lower-case type, no parameters); None for anything else."""
    match = _DATA_URL.fullmatch(text)
    return DataUrl(match[1], match[3]) if match and not match[2] and _IMAGE.fullmatch(match[1]) else None


def data_url(media_type: str, content: bytes) -> str:
    """Builds the data URL of this content."""
    return f"data:{media_type};base64,{binascii.b2a_base64(content, newline=False).decode()}"
