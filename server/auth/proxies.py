"""Finds a client's address behind trusted proxies, from `X-Forwarded-For`.

The header is used only if a proxy listed in CODEACT_TRUSTED_PROXIES has sent it. uvicorn's own handling of such headers
is off.
"""

import ipaddress
import re
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from codeact.networks import Network, is_in
from codeact.server.auth.current_caller import begin_request
from codeact.server.base_url import set_base_url

__all__ = ["FROM_PROXY", "Proxies", "client_address"]

HOST = re.compile(r"([A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?")

FROM_PROXY = "codeact.from_proxy"
"""Set in the scope of a request that a trusted proxy has sent."""

MOST_HOPS = 20
"""Nobody has more proxies than that."""


class Proxies:
    """ASGI middleware that sets `scope["client"]` and `scope["scheme"]` to what the trusted proxies saw.

    URLs begin with `public_url`, or else with the address that the request was sent to.
    """

    def __init__(self, app: ASGIApp, trusted: Sequence[Network], public_url: str | None = None) -> None:
        self._app = app
        self._trusted = tuple(trusted)
        self._public_url = public_url

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        host = ""
        if scope["type"] in ("http", "websocket") and self._trusted and scope.get("client"):
            peer, port = scope["client"]
            if is_in(peer, self._trusted):
                scope[FROM_PROXY] = True
                headers = Headers(scope=scope)
                address = client_address(peer, headers.getlist("x-forwarded-for"), self._trusted)
                scope["client"] = (address, port if address == peer else 0)
                host = headers.get("x-forwarded-host", "").strip()
                proto = headers.get("x-forwarded-proto", "").strip().lower()
                if proto in ("http", "https"):
                    secure = proto == "https"
                    kinds = ("http", "https") if scope["type"] == "http" else ("ws", "wss")
                    scope["scheme"] = kinds[secure]
        if scope["type"] in ("http", "websocket"):
            base_url = self._public_url or _base_url(scope["scheme"], host or Headers(scope=scope).get("host", ""))
            set_base_url(base_url.rstrip("/"))
            begin_request(scope["client"][0] if scope.get("client") else "")
        await self._app(scope, receive, send)


def _base_url(scheme: str, host: str) -> str:
    """The address that the client asked; empty if the name is malformed."""
    return f"{'https' if scheme in ('https', 'wss') else 'http'}://{host}" if HOST.fullmatch(host) else ""


def client_address(peer: str, forwarded: Sequence[str], trusted: Sequence[Network]) -> str:
    """The nearest address that is not a trusted proxy's. Anybody may have written what is to the left of it.

    Stops at an invalid address and after the twentieth hop.
    """
    address = peer
    hops = [hop.strip() for line in forwarded for hop in line[-2_000:].split(",")]
    for hop in reversed(hops[-MOST_HOPS:]):
        if not is_in(address, trusted) or (known := _address(hop)) is None:
            break
        address = known
    return address


def _address(text: str) -> str | None:
    """Parses `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1` and `[2001:db8::1]:80`; returns the address."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None
