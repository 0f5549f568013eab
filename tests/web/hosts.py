"""Serves host pages of other origins that embed the chat, with a backend that gets tokens for them."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import uvicorn
from playwright.sync_api import FrameLocator, Page, expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from tests.ports import listen
from tests.server.conftest import Running
from tests.web.chat import Chat

__all__ = ["LISTEN", "OPEN_ROOTS", "Embed", "Host", "Servers", "serving", "until"]

OPEN_ROOTS = """
const attach = Element.prototype.attachShadow;
Element.prototype.attachShadow = function () { return attach.call(this, {mode: "open"}); };
"""
"""Opens the launcher's shadow root, which is closed otherwise, for the tests."""

LISTEN = """
window.heard = [];
for (const name of ["ready", "open", "close", "message", "unread", "error"]) {
    codeact.on(name, (detail) => heard.push([name, detail]));
}
null;  // Playwright would call a function that comes back
"""

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Shop</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">{head}</head>
<body><main><h1>Shop</h1><button id="before">Before</button>{body}</main></body></html>"""


@dataclass
class Host:
    """One origin with one user. `minted` has the embed sessions that its backend has created."""

    port: int
    name: str = "localhost"
    codeact: str = ""
    key: str = "secret"
    html: str = ""
    user: str = "alice"
    lasts_s: int = 600
    minted: list[dict[str, Any]] = field(default_factory=list)

    @property
    def origin(self) -> str:
        """The origin. Its host name makes it another site than the server's."""
        return f"http://{self.name}:{self.port}"

    def shows(self, attributes: str = 'data-token-url="/token"', *, body: str = "", style: str = "") -> str:
        """Sets the page to one with the embed script and these attributes. Returns its address."""
        script = f'<script src="{self.codeact}/embed.js" {attributes}></script>'
        self.html = PAGE.format(head=f"<style>{style}</style>{script}", body=body)
        return self.origin

    def mint(self) -> str:
        """Creates a token as the host's backend does for its page."""
        body = {"origin": self.origin, "user": self.user, "expires_in_s": self.lasts_s}
        headers = {"Authorization": f"Bearer {self.key}"}
        reply = httpx.post(f"{self.codeact}/v1/embed/sessions", json=body, headers=headers, trust_env=False)
        self.minted.append(reply.raise_for_status().json())
        return str(self.minted[-1]["token"])

    def app(self) -> Starlette:
        def page(request: Request) -> Response:
            # This is the strictest policy that the documentation allows, plus the page's own inline style and scripts.
            policy = (
                f"default-src 'self'; script-src 'self' 'unsafe-inline' {self.codeact}; frame-src {self.codeact};"
                " style-src 'self' 'unsafe-inline'; img-src data:; connect-src 'self'"
            )
            return HTMLResponse(self.html, headers={"Content-Security-Policy": policy})

        def free(request: Request) -> Response:
            """The same page without a policy, for tests of attacks."""
            return HTMLResponse(self.html)

        def token(request: Request) -> Response:
            return JSONResponse({"token": self.mint()})

        return Starlette(routes=[Route("/", page), Route("/free", free), Route("/token", token, methods=["POST"])])


@dataclass
class Servers:
    """A server and three origins. `shop` and `other` may embed the chat, `foreign` may not."""

    running: Running
    shop: Host
    other: Host
    foreign: Host

    @property
    def claimed(self) -> set[str]:
        """The containers that the shop's user has: the server is shared, and other users' may still be on their way."""
        workspaces = [*self.running.state.workspaces._workspaces.values()]
        theirs = [each for each in workspaces if each.owner.endswith(f"/{self.shop.user}")]
        return {name for workspace in theirs for name in workspace.container_ids}


class Embed:
    """A host page with the embed in it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.launcher = page.locator(".launcher")
        self.panel = page.locator(".panel")
        self.frame: FrameLocator = page.frame_locator("codeact-embed iframe")
        self.chat = Chat(page, self.frame)

    def opened(self) -> Chat:
        """Opens the chat by a click on the launcher and returns it."""
        self.launcher.click()
        expect(self.chat.box).to_be_visible()
        return self.chat

    def heard(self, name: str) -> list[Any]:
        """Returns the events of this name that the page's handlers received."""
        return [detail for said, detail in self.page.evaluate("heard") if said == name]

    def hears(self, name: str, count: int = 1) -> list[Any]:
        """Waits until the page has received `count` events of this name, and returns them."""
        self.page.wait_for_function(
            "([name, count]) => heard.filter(([n]) => n === name).length >= count", arg=[name, count]
        )
        return self.heard(name)


def until(page: Page, condition: Callable[[], bool]) -> None:
    """Waits for a condition on the server, for which the browser has no event."""
    while not condition():
        page.wait_for_timeout(50)


@contextmanager
def serving(app: Any, port: int) -> Iterator[None]:
    """Serves an ASGI application on loopback in its own thread."""
    listener = listen(port)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name=f"host {port}")
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()
