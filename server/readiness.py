"""Decides who may see the details of `/readyz`."""

import anyio
from starlette.requests import Request

from codeact.errors import CodeActError
from codeact.loopback import is_loopback
from codeact.server.auth.auth import identify, key_of, keys_are_needed, session_of
from codeact.server.auth.origin_check import host_name
from codeact.server.services import Services
from sandbox_pool.errors import SandboxError

__all__ = ["sees_details"]

ASK_WITHIN_S = 1.0
FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip")


async def sees_details(request: Request) -> bool:
    """Whether the request has an operator's key or, if no keys are required, comes from this machine.

    Never waits for a database that is down: the answer then has fewer details, but is in time.
    """
    services: Services = request.app.state.codeact
    if not keys_are_needed(services.settings):
        return _is_local(request, services)
    if services.store.started is None:
        return False
    try:
        with anyio.move_on_after(ASK_WITHIN_S):
            caller = await identify(services, key=key_of(request), session=session_of(request))
            return caller.operator
    except (CodeActError, SandboxError):
        pass
    return False


def _is_local(request: Request, services: Services) -> bool:
    """Whether the request comes from this machine.

    Requests through a proxy on this machine also come from loopback. So if CODEACT_PUBLIC_URL or a header indicates a
    proxy, no request counts as local.
    """
    peer = request.client.host if request.client is not None else ""
    forwarded = any(name in request.headers for name in FORWARDED)
    by_name = is_loopback(host_name(request.headers.get("host", "")))
    return by_name and is_loopback(peer) and not forwarded and services.settings.public_url is None
