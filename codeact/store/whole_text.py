"""Restores a stored text to its full length: what is long was moved into a blob when it was stored."""

import re
from collections.abc import Awaitable, Callable

from codeact.store.blobs import TEXT_CHARS
from codeact.store.records import Blob
from codeact.store.references import sha256_of

__all__ = ["SHORTENED", "GetBlob", "whole_text"]

GetBlob = Callable[[str], Awaitable[Blob]]
"""Loads a blob of the owner by its SHA-256. Raises `NotFound`."""

SHORTENED = re.compile(
    r"\n?\[[\d,]{1,20} of [\d,]{1,20} (?:characters|outputs) are left out here; all of them: (blob:[0-9a-f]{64})\]\n"
)
LONGEST_EXCERPT = TEXT_CHARS + 400


async def whole_text(text: str, get: GetBlob) -> str:
    """Returns the text that was shortened to `text`, or `text` itself. Raises `NotFound`."""
    if len(text) > LONGEST_EXCERPT or (found := SHORTENED.search(text)) is None:
        return text
    sha256 = sha256_of(found[1])
    assert sha256 is not None
    return (await get(sha256)).data.decode(errors="replace")
