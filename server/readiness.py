"""Decides who may read the details of `/readyz`."""

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
    """Whether the request carries an operator's key or, where no keys are needed, comes from this machine itself.

    Never waits for a database that is down: its readers are told less then, and in time.
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
    """A proxy on this machine comes from loopback too, so that everybody would seem to be here: where
    CODEACT_PUBLIC_URL or a header tells of one, nobody is.
    """
    peer = request.client.host if request.client is not None else ""
    forwarded = any(name in request.headers for name in FORWARDED)
    by_name = is_loopback(host_name(request.headers.get("host", "")))
    return by_name and is_loopback(peer) and not forwarded and services.settings.public_url is None
