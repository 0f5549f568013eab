"""The page that a person sees if a sign-in did not work: what was wrong, and a link to begin again."""

import base64
import hashlib
from html import escape

from starlette.responses import HTMLResponse

from codeact.server.base_url import base_url

__all__ = ["error_page"]

STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:34em;margin:15vh auto 0;padding:0 1.5em;color-scheme:light dark}"
    "h1{font-size:1.3em}a{color:inherit}"
)
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Sign in · codeact</title>
<meta name="viewport" content="width=device-width"><style>{style}</style>
<h1>You are not signed in</h1>
<p>{message}</p>
<p><a href="{again}">Try again</a> · <a href="{page}">Back to the chat</a></p></html>"""
DIGEST = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{DIGEST}'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def error_page(message: str, status: int) -> HTMLResponse:
    """The page; the message is shown as text."""
    root = escape(base_url())
    text = PAGE.format(style=STYLE, message=escape(message), again=f"{root}/login", page=f"{root}/")
    return HTMLResponse(text, status, HEADERS)
