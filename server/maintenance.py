"""Maintains the history in the background: updates old conversations and purges deleted ones."""

from datetime import UTC, datetime, timedelta

import anyio
import structlog

from codeact.errors import StoreError
from codeact.store import Store

__all__ = ["maintain"]

log = structlog.get_logger(__name__)

PAUSE_S = 3600.0


async def maintain(store: Store, *, retention: timedelta) -> None:
    """Runs until cancelled: updates old conversations, purges those deleted longer ago than `retention`, recounts
    bytes.

    Several servers of one database may do this at the same time. After a database error it tries again later. A
    conversation that cannot be read is skipped.
    """
    while True:
        try:
            if rebuilt := await store.history.reindex():
                log.info("older conversations indexed", conversations=rebuilt)
            if purged := await store.purging.purge(before=datetime.now(UTC) - retention):
                log.info("deleted conversations purged", conversations=purged)
            await store.stored.measure()
        except StoreError as error:
            log.warning("upkeep of the history failed", reason=error.message)
        await anyio.sleep(PAUSE_S)
