"""Records in the audit log what somebody opens, exports or follows in the dashboard."""

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime

import streamlit as st
import structlog

from codeact.dashboard import login
from codeact.dashboard.bridge import ask
from codeact.dashboard.proxied import proxied
from codeact.errors import CodeActError
from codeact.store import AuditEntry, Store

__all__ = ["Reader", "opened", "reader"]

REPEATED_S = 600.0
"""If a session reads the same thing again within this time, no entry is added: each click runs a page again."""
MOST_REMEMBERED = 200
DEADLINE_S = 2.0
"""How long a page waits at most until its entry is stored."""
MOST_CHARS = 300
KEY = "trail_of_reads"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Reader:
    """The reader in a session, usable outside of its script. `key` is a key or a session; None: none was required.

    `person` is the owner of somebody whom a proxy has signed in.
    """

    key: str | None
    address: str
    person: str | None = None

    def record(self, action: str, subject: str, *, owner: str) -> None:
        """Stores one entry, unless the reader is the owner. Never raises: what cannot be stored is logged."""

        async def store_it(store: Store) -> None:
            credential = await store.access.find(self.key) if self.key is not None else None
            if owner in (self.person, credential.owner if credential is not None else None):
                return
            key_id = credential.id if credential is not None else self.person
            now = datetime.now(UTC)
            entry = AuditEntry(now, owner, key_id, action, subject[:MOST_CHARS], 200, self.address[:MOST_CHARS])
            async with asyncio.timeout(DEADLINE_S):
                await store.access.record([entry])

        try:
            ask(store_it)
        except (CodeActError, TimeoutError) as error:
            log.warning("audit entry not stored", action=action, owner=owner, subject=subject, reason=str(error))


def reader() -> Reader:
    """The reader of this session. Streamlit gives no address for connections from this machine."""
    address = st.context.ip_address
    key, person = login.given_key() or login.session_secret(), proxied()
    by_proxy = person.owner if person is not None and key is None else None
    return Reader(key, address if isinstance(address, str) else "", by_proxy)


def opened(action: str, subject: str, *, owner: str) -> None:
    """Records what this session shows now, at most once in ten minutes. Remembers the latest 200 reads."""
    recent: OrderedDict[tuple[str, str], float] = st.session_state.setdefault(KEY, OrderedDict())
    now = time.monotonic()
    last = recent.get((action, subject))
    if last is not None and now - last < REPEATED_S:
        return
    recent.pop((action, subject), None)
    recent[action, subject] = now
    while len(recent) > MOST_REMEMBERED:
        recent.popitem(last=False)
    reader().record(action, subject, owner=owner)
