"""Headers for files that others made, so that browsers download them instead of rendering them."""

import re
from urllib.parse import quote

__all__ = ["download_headers"]


def download_headers(filename: str) -> dict[str, str]:
    """Headers of a file that is saved under this name and never rendered as one of our pages (RFC 6266, RFC 5987)."""
    name = re.sub(r"[\x00-\x1f\x7f]", "_", filename.replace("\\", "/").rsplit("/", 1)[-1]).strip() or "file"
    plain = re.sub(r"[^A-Za-z0-9 ._()-]", "_", name)[:150]
    return {
        "Content-Disposition": f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name[:150], safe='')}",
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "private, no-store",
    }
