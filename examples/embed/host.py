"""A page that embeds the chat, and the backend behind it: the API key stays here, browsers get short-lived tokens.

CODEACT_API_KEY=… .venv/bin/python examples/embed/host.py     for a server that runs already (CODEACT_URL) and has
                                                              CODEACT_EMBED_ORIGINS=http://localhost:9000
.venv/bin/python examples/embed/demo.py                       starts that server, too
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Route

HERE = Path(__file__).parent
PORT = int(os.environ.get("HOST_PORT", "9000"))


def create_app(*, codeact_url: str, api_key: str, origin: str) -> Starlette:
    """`codeact_url` is the server's address, `origin` the one of this page: scheme, host and port."""
    codeact = httpx.AsyncClient(base_url=codeact_url, headers={"Authorization": f"Bearer {api_key}"}, trust_env=False)

    async def page(request: Request) -> Response:
        policy = f"default-src 'self'; script-src 'self' {codeact_url}; frame-src {codeact_url}"
        html = (HERE / "page.html").read_text("utf-8").replace("{{codeact}}", codeact_url)
        return HTMLResponse(html, headers={"Content-Security-Policy": policy})

    async def style(request: Request) -> Response:
        return FileResponse(HERE / "style.css")

    async def token(request: Request) -> Response:
        user = "alice"  # in earnest: whoever your own session says that this request comes from
        try:
            reply = await codeact.post("/v1/embed/sessions", json={"origin": origin, "user": user})
            reply.raise_for_status()
        except httpx.HTTPError as error:
            return JSONResponse({"error": f"codeact gave no token: {error}"}, 502)
        return JSONResponse({"token": reply.json()["token"]}, headers={"Cache-Control": "no-store"})

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with codeact:
            yield

    return Starlette(
        routes=[Route("/", page), Route("/style.css", style), Route("/codeact-token", token, methods=["POST"])],
        lifespan=lifespan,
    )


def main(codeact_url: str, api_key: str) -> None:
    app = create_app(codeact_url=codeact_url, api_key=api_key, origin=f"http://localhost:{PORT}")
    print(f"\nThe page that embeds the chat: http://localhost:{PORT}\n", flush=True)
    uvicorn.run(app, port=PORT, log_level="warning")


if __name__ == "__main__":
    main(os.environ.get("CODEACT_URL", "http://localhost:8000"), os.environ["CODEACT_API_KEY"])
