"""Asks other servers of the database to release an idle sandbox of an owner who has as many as allowed."""

from collections.abc import Collection

import httpx
import msgspec
import structlog

from codeact.errors import CodeActError
from codeact.server.auth.caller import Caller
from codeact.server.peers.client import Peers, PeerUnreachable
from codeact.server.peers.spool import Spool
from codeact.store import OwnerLimits

__all__ = ["IDLE", "ask_for_idle"]

log = structlog.get_logger(__name__)

IDLE = "/internal/v1/idle-sandboxes"
MOST_ASKED = 10
"""How many servers are asked for one sandbox."""


async def ask_for_idle(peers: Peers, owner: str, servers: Collection[str]) -> bool:
    """Asks one server after the other, until one has released an idle sandbox of the owner. Never raises."""
    caller = Caller(owner, operator=False, credential_id=None, limits=OwnerLimits(), own_limits=OwnerLimits())
    for name in list(servers)[:MOST_ASKED]:
        try:
            with Spool.open() as body:
                answer = await peers.send(name, "POST", IDLE.encode(), caller=caller, body=body)
            try:
                if msgspec.json.decode(await answer.aread(), type=int) > 0:
                    return True
            finally:
                await answer.aclose()
        except (PeerUnreachable, CodeActError, httpx.HTTPError, msgspec.DecodeError) as error:
            log.warning("a server was asked for an idle sandbox in vain", server=name, reason=str(error))
    return False
