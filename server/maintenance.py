"""Maintains the history in the background: updates old conversations and purges deleted ones."""

from datetime import UTC, datetime, timedelta

import anyio
import structlog

from codeact.errors import StoreError
from codeact.store import Store

__all__ = ["maintain"]

log = structlog.get_logger(__name__)

PAUSE_S = 3600.0
INCOMPLETE_FOR = timedelta(hours=1)
"""A checkpoint that is not complete after this time never will be: its server has died."""


async def maintain(store: Store, *, retention: timedelta, checkpoints_for: timedelta) -> None:
    """Runs until cancelled: updates old conversations, purges those deleted longer ago than `retention`, removes
    checkpoints older than `checkpoints_for`, recounts bytes.

    Several servers of one database may do this at the same time. After a database error it tries again later. A
    conversation that cannot be read is skipped.
    """
    while True:
        try:
            if rebuilt := await store.history.reindex():
                log.info("older conversations indexed", conversations=rebuilt)
            if purged := await store.purging.purge(before=datetime.now(UTC) - retention):
                log.info("deleted conversations purged", conversations=purged)
            now = datetime.now(UTC)
            if expired := await store.checkpoints.expire(
                before=now - checkpoints_for, pending_before=now - INCOMPLETE_FOR
            ):
                log.info("old checkpoints removed", checkpoints=expired)
            await store.stored.measure()
        except StoreError as error:
            log.warning("upkeep of the history failed", reason=error.message)
        await anyio.sleep(PAUSE_S)
