"""The chat page: the files that `web/build.py` made enter, routes under a strict policy leave."""

import base64
import hashlib
import mimetypes
import re
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Route

__all__ = ["routes"]

STATIC = Path(__file__).parent.parent / "static"
NOT_BUILT = """<!doctype html><html lang="en"><title>codeact</title>
<p>The page is not built. <code>make page</code> builds it; the API works without it.</p></html>"""

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "font-src 'self'",
        "connect-src 'self'",
        "frame-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'self'",
        "require-trusted-types-for 'script'",
        "trusted-types codeact dompurify",
    )
)
HEADERS = {"Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff", "Content-Security-Policy": POLICY}
ASKED_AGAIN = {"Cache-Control": "no-cache"}
KEPT = {"Cache-Control": "public, max-age=31536000, immutable"}


async def index(request: Request) -> Response:
    """`GET /` and the pages whose addresses the chat makes itself."""
    if not (STATIC / "index.html").exists():
        return HTMLResponse(NOT_BUILT, 503)
    return _file(request, STATIC / "index.html", HEADERS | ASKED_AGAIN)


async def icon(request: Request) -> Response:
    """`GET /icon.svg`."""
    return _file(request, STATIC / "icon.svg", HEADERS | ASKED_AGAIN)


async def asset(request: Request) -> Response:
    """`GET /assets/{name}`; names change with the content."""
    return _file(request, STATIC / "assets" / request.path_params["name"], HEADERS | KEPT)


async def frame(request: Request) -> Response:
    """`GET /frame.html`, for a kernel's HTML: an origin of its own, no network, styles as they come, one script."""
    path = STATIC / "frame.html"
    if not path.exists():
        raise HTTPException(404)
    script = re.search(r"<script>(.*?)</script>", path.read_text("utf-8"), re.DOTALL)
    digest = hashlib.sha256(script[1].encode() if script else b"").digest()
    policy = (
        f"sandbox allow-scripts; default-src 'none'; script-src 'sha256-{base64.b64encode(digest).decode()}';"
        " style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"
    )
    return _file(request, path, HEADERS | ASKED_AGAIN | {"Content-Security-Policy": policy})


def _file(request: Request, path: Path, headers: dict[str, str]) -> Response:
    if path.name.startswith(".") or not path.is_file():
        raise HTTPException(404)
    media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    packed = path.with_name(f"{path.name}.gz")
    if "gzip" in request.headers.get("accept-encoding", "") and packed.exists():
        path, headers = packed, headers | {"Content-Encoding": "gzip"}
    return FileResponse(path, media_type=media_type, headers=headers | {"Vary": "Accept-Encoding"})


routes = [
    Route("/", index, methods=["GET"]),
    Route("/c/{conversation_id}", index, methods=["GET"]),
    Route("/share/{token}", index, methods=["GET"]),
    Route("/icon.svg", icon, methods=["GET"]),
    Route("/frame.html", frame, methods=["GET"]),
    Route("/assets/{name}", asset, methods=["GET"]),
]
