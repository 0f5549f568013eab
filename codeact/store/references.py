"""References to blobs in stored documents: `blob:` and the SHA-256 of the content. Transports turn them into URLs."""

import re

__all__ = ["reference", "sha256_of"]

SCHEME = "blob:"
_REFERENCE = re.compile(r"blob:([0-9a-f]{64})")


def reference(sha256: str) -> str:
    """The reference of the blob with this SHA-256."""
    return f"{SCHEME}{sha256}"


def sha256_of(name: str) -> str | None:
    """The SHA-256 in a blob reference; None for anything else, such as a `data:` URL."""
    match = _REFERENCE.fullmatch(name)
    return match[1] if match is not None else None
