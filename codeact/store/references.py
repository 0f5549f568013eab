"""Names of blobs in stored documents: the SHA-256 of their content, of which transports make URLs."""

import re

__all__ = ["reference", "sha256_of"]

SCHEME = "blob:"
_REFERENCE = re.compile(r"blob:([0-9a-f]{64})")


def reference(sha256: str) -> str:
    """The name of the blob with this content."""
    return f"{SCHEME}{sha256}"


def sha256_of(name: str) -> str | None:
    """The SHA-256 of the blob that this names; None for anything else, such as a `data:` URL."""
    match = _REFERENCE.fullmatch(name)
    return match[1] if match is not None else None
