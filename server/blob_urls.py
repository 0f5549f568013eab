"""Replaces references to blobs with URLs in everything that leaves the server. Stored documents contain only hashes."""

import re

from codeact.server.base_url import base_url

__all__ = ["frame_with_urls", "url_of", "with_urls"]

MOST_URLS = 10_000
"""The limit per piece of JSON. Text that code prints may look like a reference."""

# Each pattern begins with a rare literal, so that long texts are searched fast, whatever they contain.
_WHOLE = re.compile(rb'"blob:(?<!\\"blob:)([0-9a-f]{64})(?=")')
_CUT = re.compile(rb'; all of them: blob:([0-9a-f]{64})(?="|\])')


def url_of(sha256: str) -> str:
    """The path that serves the blob."""
    return f"/v1/blobs/{sha256}"


def with_urls(json: bytes) -> bytes:
    """Replaces references in our JSON: strings that are a reference, and the references in texts
    that were shortened. The standard's `url` of an output becomes an absolute URL of the current request.
    """
    if b"blob:" not in json:
        return json
    base = base_url().encode()

    def url(found: re.Match[bytes]) -> bytes:
        is_output = json.endswith(b'"image","url":', 0, found.start())
        return b'"%b/v1/blobs/%b' % (base if is_output else b"", found[1])

    json = _WHOLE.sub(url, json, MOST_URLS)
    return _CUT.sub(rb"; all of them: /v1/blobs/\1", json, MOST_URLS)


def frame_with_urls(frame: str) -> str:
    """`with_urls` for one event."""
    return with_urls(frame.encode()).decode() if "blob:" in frame else frame
