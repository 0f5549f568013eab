"""Makes URLs of the names of blobs in what leaves the server. What is stored names a blob by its hash alone."""

import re

__all__ = ["frame_with_urls", "url_of", "with_urls"]

MOST_URLS = 10_000
"""In one piece of JSON; what code prints may look like more of them."""

# Each begins with what is rare, so that a long text is looked through at once, whatever stands in it.
_WHOLE = re.compile(rb'"blob:(?<!\\"blob:)([0-9a-f]{64})(?=")')
_CUT = re.compile(rb'; all of them: blob:([0-9a-f]{64})(?="|\])')


def url_of(sha256: str) -> str:
    """The path under which the blob is served."""
    return f"/v1/blobs/{sha256}"


def with_urls(json: bytes) -> bytes:
    """JSON of ours with URLs in place of the names of blobs: where a whole string is one, and after what was cut."""
    if b"blob:" not in json:
        return json
    json = _WHOLE.sub(rb'"/v1/blobs/\1', json, MOST_URLS)
    return _CUT.sub(rb"; all of them: /v1/blobs/\1", json, MOST_URLS)


def frame_with_urls(frame: str) -> str:
    """One event, as `with_urls`."""
    return with_urls(frame.encode()).decode() if "blob:" in frame else frame
