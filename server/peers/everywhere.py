"""Asks several servers of the database for the same thing at once."""

from collections.abc import Sequence
from typing import TypeVar

import anyio
import httpx
import msgspec
import structlog

from codeact.errors import CodeActError
from codeact.server.auth.caller import Caller
from codeact.server.peers.client import Peers, PeerUnreachable
from codeact.server.peers.spool import Spool

__all__ = ["ask_each"]

log = structlog.get_logger(__name__)

MOST_SERVERS = 100
WITHIN_S = 2.0

T = TypeVar("T")


async def ask_each(
    peers: Peers, names: Sequence[str], path: str, answer_type: type[T], *, caller: Caller
) -> dict[str, T | None]:
    """Posts to `path` of these servers, at most 100; returns their decoded answers by name, in order of the names.

    None for a server that has not answered within 2 s, or not with that type. Never raises.
    """
    found: dict[str, T | None] = {}

    async def ask(name: str) -> None:
        try:
            with anyio.fail_after(WITHIN_S), Spool.open() as body:
                answer = await peers.send(name, "POST", path.encode(), caller=caller, body=body)
                try:
                    found[name] = msgspec.json.decode(await answer.aread(), type=answer_type)
                finally:
                    await answer.aclose()
        except (PeerUnreachable, CodeActError, TimeoutError, httpx.HTTPError, msgspec.DecodeError) as error:
            log.warning("another server does not answer", server=name, path=path, reason=repr(error))

    asked = sorted(names)[:MOST_SERVERS]
    async with anyio.create_task_group() as tasks:
        for name in asked:
            tasks.start_soon(ask, name)
    return {name: found.get(name) for name in asked}
