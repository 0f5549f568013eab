"""The chat page and the embed: serves the files built by `web/build.py`, with a strict content security policy."""

import base64
import hashlib
import mimetypes
import re
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from codeact.settings import Settings

__all__ = ["routes"]

STATIC = Path(__file__).parent.parent / "static"
NOT_BUILT = """<!doctype html><html lang="en"><title>codeact</title>
<p>The page is not built. <code>make page</code> builds it; the API works without it.</p></html>"""
MAY_NOT_EMBED = """<!doctype html><html lang="en"><title>codeact</title>
<p>This page may not embed the chat. <code>CODEACT_EMBED_ORIGINS</code> lists the origins that may, exactly as browsers
write them; <code>embed.js</code> names the one that it is on.</p></html>"""
EMBED_IS_OFF = (
    "The embed is off. CODEACT_EMBED_ORIGINS, of the server, lists the origins whose pages may embed the chat.\n"
)

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
        "require-trusted-types-for 'script'",
        "trusted-types codeact dompurify",
    )
)
ALONE = {"Content-Security-Policy": f"{POLICY}; frame-ancestors 'none'"}
HEADERS = {"Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff"} | ALONE
REVALIDATED = {"Cache-Control": "no-cache"}
ANY_ORIGIN = {"Cache-Control": "public, max-age=300", "Cross-Origin-Resource-Policy": "cross-origin"}
FOR_MODULES = {"Access-Control-Allow-Origin": "*"}
IMMUTABLE = {"Cache-Control": "public, max-age=31536000, immutable"}


async def index(request: Request) -> Response:
    """`GET /` and the pages whose addresses the chat creates itself."""
    return _document(request, "index.html", ALONE)


async def panel(request: Request) -> Response:
    """`GET /embed.html?origin=…`: the chat in a frame on a page of this origin if the settings list
    it; otherwise 403.
    """
    origins = request.query_params.getlist("origin")
    settings: Settings = request.app.state.settings
    origin = next((origin for origin in settings.embed_origins if origins == [origin]), None)
    if origin is None:
        return HTMLResponse(MAY_NOT_EMBED, 403, HEADERS | REVALIDATED)
    return _document(request, "embed.html", {"Content-Security-Policy": f"{POLICY}; frame-ancestors {origin}"})


async def loader(request: Request) -> Response:
    """`GET /embed.js`, for pages of any origin. It is public, and useless without the frame above."""
    settings: Settings = request.app.state.settings
    if not settings.embed_origins:
        return PlainTextResponse(EMBED_IS_OFF, 404)
    return _file(request, STATIC / "embed.js", HEADERS | ANY_ORIGIN)


async def icon(request: Request) -> Response:
    """`GET /icon.svg`, and `GET /icon-news.svg` for a tab in which something has happened."""
    return _file(request, STATIC / request.url.path.removeprefix("/"), HEADERS | REVALIDATED)


async def asset(request: Request) -> Response:
    """`GET /assets/{name}`: files whose names change with their content."""
    return _file(request, STATIC / "assets" / request.path_params["name"], HEADERS | IMMUTABLE)


async def frame(request: Request) -> Response:
    """`GET /frame.html`, which shows a kernel's HTML: with its own origin, no network, inline styles and one script."""
    path = STATIC / "frame.html"
    if not path.exists():
        raise HTTPException(404)
    script = re.search(r"<script>(.*?)</script>", path.read_text("utf-8"), re.DOTALL)
    digest = hashlib.sha256(script[1].encode() if script else b"").digest()
    ancestors = " ".join(("'self'", *request.app.state.settings.embed_origins))
    policy = (
        f"sandbox allow-scripts; default-src 'none'; script-src 'sha256-{base64.b64encode(digest).decode()}';"
        f" style-src 'unsafe-inline'; img-src data:; frame-ancestors {ancestors}"
    )
    return _file(request, path, HEADERS | REVALIDATED | {"Content-Security-Policy": policy})


async def artifact_frame(request: Request) -> Response:
    """`GET /artifact.html`, which shows pages and charts that code or a model made, with their scripts.

    It has an origin of its own and no network but our copies of chart libraries (`/vendor/`).
    """
    settings: Settings = request.app.state.settings
    ancestors = " ".join(("'self'", *settings.embed_origins))
    policy = (
        "sandbox allow-scripts; default-src 'none'; script-src 'self' 'unsafe-inline' 'unsafe-eval';"
        " style-src 'unsafe-inline'; img-src data: blob:; font-src data:; media-src data: blob:; worker-src blob:;"
        f" frame-ancestors {ancestors}"
    )
    return _file(request, STATIC / "artifact.html", HEADERS | REVALIDATED | {"Content-Security-Policy": policy})


async def vendor(request: Request) -> Response:
    """`GET /vendor/{name}`: chart libraries and the reader of PDF files, for frames without our origin."""
    return _file(request, STATIC / "vendor" / request.path_params["name"], HEADERS | ANY_ORIGIN | FOR_MODULES)


def _document(request: Request, name: str, policy: dict[str, str]) -> Response:
    if not (STATIC / name).exists():
        return HTMLResponse(NOT_BUILT, 503, HEADERS | policy)
    return _file(request, STATIC / name, HEADERS | REVALIDATED | policy)


def _file(request: Request, path: Path, headers: dict[str, str]) -> Response:
    if path.name.startswith(".") or not _is_file(path):
        raise HTTPException(404)
    media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    packed = path.with_name(f"{path.name}.gz")
    if "gzip" in request.headers.get("accept-encoding", "") and packed.exists():
        path, headers = packed, headers | {"Content-Encoding": "gzip"}
    return FileResponse(path, media_type=media_type, headers=headers | {"Vary": "Accept-Encoding"})


def _is_file(path: Path) -> bool:
    """Whether this is a file; False also for a name that no file can have."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


routes = [
    Route("/", index, methods=["GET"]),
    Route("/c/{conversation_id}", index, methods=["GET"]),
    Route("/share/{token}", index, methods=["GET"]),
    Route("/profile/{token}", index, methods=["GET"]),
    Route("/embed.html", panel, methods=["GET"]),
    Route("/embed.js", loader, methods=["GET"]),
    Route("/icon.svg", icon, methods=["GET"]),
    Route("/icon-news.svg", icon, methods=["GET"]),
    Route("/frame.html", frame, methods=["GET"]),
    Route("/artifact.html", artifact_frame, methods=["GET"]),
    Route("/vendor/{name}", vendor, methods=["GET"]),
    Route("/assets/{name}", asset, methods=["GET"]),
]
