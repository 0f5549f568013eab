"""The plain page: the files of `server/page` enter, a route for each leaves, under a policy without inline code."""

import base64
import hashlib
import re
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

__all__ = ["routes"]

PAGE = Path(__file__).parent.parent / "page"
FRAME = "frame.html"
HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'self'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def _frame_headers() -> dict[str, str]:
    """For the frame of a kernel's HTML: an origin of its own, no network, styles as they come, one script."""
    script = re.search(r"<script>(.*?)</script>", (PAGE / FRAME).read_text("utf-8"), re.DOTALL)
    digest = hashlib.sha256(script[1].encode() if script else b"").digest()
    policy = (
        f"sandbox allow-scripts; default-src 'none'; script-src 'sha256-{base64.b64encode(digest).decode()}';"
        " style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"
    )
    return HEADERS | {"Content-Security-Policy": policy}


def _file(path: Path) -> Route:
    headers = _frame_headers() if path.name == FRAME else HEADERS

    async def serve(request: Request) -> Response:
        return FileResponse(path, headers=headers)

    return Route("/" if path.name == "index.html" else f"/{path.name}", serve, methods=["GET"])


routes = [_file(path) for path in sorted(PAGE.iterdir())]
