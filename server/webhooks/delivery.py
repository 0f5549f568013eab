"""Delivers webhooks from the database: retried with pauses that grow, by one server at a time, each event once."""

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import anyio
import structlog

from codeact.errors import StoreError
from codeact.server.auth.audit_log import AuditLog
from codeact.server.webhooks.endpoints import Webhook, wanted_by
from codeact.server.webhooks.signing import body_of, signed_headers
from codeact.store import Store
from codeact.store.records import Delivery
from codeact.store.repositories.deliveries import CLAIM_S
from codeact.thread_imports import import_in_thread

if TYPE_CHECKING:
    import aiohttp

__all__ = ["PAUSES_S", "deliver_webhooks"]

log = structlog.get_logger(__name__)

POLL_S = 1.0
ANSWER_S = 15.0
"""How long an endpoint may take. Below `CLAIM_S`, after which another server may try."""
AT_ONCE, AT_ONCE_TO_ONE = 64, 2
"""How many attempts may be under way at once; to one endpoint, so that a slow one does not delay the others."""
MOST_WAITING = 10_000
"""Deliveries to one endpoint that may wait. Further events for it are dropped, which the audit log tells."""
PAUSES_S = (5.0, 30.0, 120.0, 600.0, 1_800.0, 7_200.0, 21_600.0, 43_200.0, 86_400.0, 86_400.0)
"""The pauses after failed attempts, three days together. After the last one an event is given up."""
GONE = 410
"""The endpoint says by this status that it wants no more."""

assert ANSWER_S < CLAIM_S


class _Attempts:
    """Counts the attempts under way, by the endpoint's key."""

    def __init__(self) -> None:
        self._under_way: Counter[str] = Counter()
        self._has_room = anyio.Event()

    @property
    def are_most(self) -> bool:
        return self._under_way.total() >= AT_ONCE

    @property
    def full(self) -> list[str]:
        """The endpoints to which no further attempt may begin."""
        return [endpoint for endpoint, number in self._under_way.items() if number >= AT_ONCE_TO_ONE]

    def begin(self, endpoint: str) -> None:
        self._under_way[endpoint] += 1

    def end(self, endpoint: str) -> None:
        if self.are_most or self._under_way[endpoint] >= AT_ONCE_TO_ONE:
            self._has_room.set()
        self._under_way[endpoint] -= 1
        if not self._under_way[endpoint]:
            del self._under_way[endpoint]

    async def wait(self) -> None:
        """Waits until an attempt may begin that could not before, but not longer than `POLL_S`."""
        with anyio.move_on_after(POLL_S):
            await self._has_room.wait()
        self._has_room = anyio.Event()


async def deliver_webhooks(
    webhooks: Sequence[Webhook], get_store: Callable[[], Awaitable[Store]], audit: AuditLog
) -> None:
    """Runs until cancelled. Any number of servers with the same database may run it.

    A delivery that was under way when its server died is repeated, with the same `webhook-id`.
    """
    await import_in_thread("codeact.public_connections")
    from codeact.public_connections import public_session

    by_key = {webhook.key: webhook for webhook in webhooks}
    attempts = _Attempts()
    async with (
        public_session(timeout_s=ANSWER_S, allow_private=False) as public,
        public_session(timeout_s=ANSWER_S, allow_private=True) as private,
        anyio.create_task_group() as tasks,
    ):
        store = await get_store()
        while True:
            try:
                await _announce(webhooks, store, audit)
                while not attempts.are_most:
                    delivery = await store.deliveries.claim(without=attempts.full)
                    if delivery is None:
                        break
                    attempts.begin(delivery.endpoint)
                    webhook = by_key.get(delivery.endpoint)
                    session = private if webhook is not None and webhook.allow_private else public
                    tasks.start_soon(partial(_deliver, delivery, webhook, session, store, audit, attempts))
            except StoreError as error:
                log.warning("webhooks wait for the database", reason=error.message)
            await attempts.wait()


async def _announce(webhooks: Sequence[Webhook], store: Store, audit: AuditLog) -> None:
    """Makes deliveries of the responses that have ended."""
    for ended in await store.deliveries.ended():
        event = f"response.{ended.status}"
        for webhook in wanted_by(webhooks, owner=ended.owner, event=event, background=ended.background):
            if await store.deliveries.add(ended, webhook.key, event, most=MOST_WAITING):
                continue
            log.error("webhook dropped: too many wait for its endpoint", url=webhook.url, response=ended.response_id)
            audit.count("webhook.dropped", webhook.key, status=429, owner=ended.owner)
        await store.deliveries.announced(ended.response_id)


async def _deliver(
    delivery: Delivery,
    webhook: Webhook | None,
    session: "aiohttp.ClientSession",
    store: Store,
    audit: AuditLog,
    attempts: "_Attempts",
) -> None:
    """Makes one attempt, and stores its outcome. Never raises."""
    try:
        status, reason = await _attempt(delivery, webhook, session)
        is_last = status == GONE or delivery.attempts > len(PAUSES_S)
        if 200 <= status < 300:
            audit.record_for(delivery.owner, "webhook.delivered", delivery.response_id, status=status)
            await store.deliveries.done(delivery)
        elif is_last:
            log.error("webhook given up", response=delivery.response_id, reason=reason, attempts=delivery.attempts)
            audit.record_for(delivery.owner, "webhook.failed", delivery.response_id, status=status)
            await store.deliveries.done(delivery)
        else:
            log.warning("webhook failed", response=delivery.response_id, reason=reason, attempts=delivery.attempts)
            await store.deliveries.again(delivery, after_s=PAUSES_S[delivery.attempts - 1])
    except StoreError as error:
        log.warning("outcome of a webhook not stored", response=delivery.response_id, reason=error.message)
    except Exception:
        log.exception("webhook failed because of an internal error", response=delivery.response_id)
    finally:
        attempts.end(delivery.endpoint)


async def _attempt(delivery: Delivery, webhook: Webhook | None, session: "aiohttp.ClientSession") -> tuple[int, str]:
    """The status of the endpoint's answer, which is not read; 502 or 504 with a reason if there is none."""
    import aiohttp

    if webhook is None:
        return 502, "its endpoint is not in CODEACT_WEBHOOKS any more"
    body = body_of(delivery.id, delivery.event, delivery.response_id, created_at=int(delivery.ended_at.timestamp()))
    headers = signed_headers(delivery.id, body, secret=webhook.secret, now=int(time.time()))
    try:
        async with session.post(webhook.url, data=body, headers=headers, allow_redirects=False) as answer:
            return answer.status, f"{webhook.key} answered {answer.status}"
    except TimeoutError:
        return 504, f"{webhook.key} did not answer within {ANSWER_S:g} s"
    except (aiohttp.ClientError, OSError) as error:
        return 502, f"{webhook.key} cannot be reached: {type(error).__name__}"
