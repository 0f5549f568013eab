"""Reads and names our cookies.

Where the page is on https, their names begin with `__Host-`: the browser then takes them from this host alone, so that
no page of a sibling domain can plant one (RFC 6265bis, 4.1.3.2).
"""

from typing import Any

from starlette.requests import HTTPConnection
from starlette.responses import Response

from codeact.login_settings import SECURE_PREFIX
from codeact.server.base_url import base_url

__all__ = ["cookie_of", "delete_cookie", "set_cookie"]


def cookie_of(connection: HTTPConnection, name: str) -> str:
    """The value of the cookie; empty if there is none. Our values are never quoted.

    Parsed here, because `http.cookies`, which Starlette uses, takes a minute for 64 KB of escapes on some Pythons.
    """
    name = _full(name)
    for header in connection.headers.getlist("cookie"):
        for pair in header.split(";"):
            key, _, value = pair.partition("=")
            if key.strip() == name:
                return value.strip()
    return ""


def set_cookie(response: Response, name: str, value: str, *, max_age_s: int, same_site: Any) -> None:
    """Sets a cookie that scripts cannot read."""
    response.set_cookie(
        _full(name), value, max_age=max_age_s, httponly=True, samesite=same_site, secure=_is_secure(), path="/"
    )


def delete_cookie(response: Response, name: str) -> None:
    """Has the browser forget the cookie."""
    response.delete_cookie(_full(name), secure=_is_secure(), httponly=True, path="/")


def _full(name: str) -> str:
    return f"{SECURE_PREFIX}{name}" if _is_secure() else name


def _is_secure() -> bool:
    return base_url().startswith("https:")
