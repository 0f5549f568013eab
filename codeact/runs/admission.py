"""Checks a new response against the limits of each account that it counts for, and counts it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial

import anyio

from codeact.concurrency.concurrently import gathered
from codeact.errors import CodeActError, RateLimited, StoreError
from codeact.runs.disk_floor import DiskFloor
from codeact.runs.new_run import Account
from codeact.runs.shared_slots import SharedSlots, Taken
from codeact.store import OwnerLimits
from codeact.store.allowance import Allowance, Allowances
from codeact.store.run_store import RunStore
from sandbox_pool.logs import Logger

__all__ = ["Admission", "StorageQuotaExceeded", "check_concurrency", "check_room"]

log = Logger(__name__)

UNCOUNT_TIMEOUT_S = 5.0
MB = 1024 * 1024


def check_concurrency(accounts: Sequence[Account], *, live_of: Callable[[str], int]) -> None:
    """Raises `RateLimited` if an account has too many running responses; `live_of` returns their number per owner."""
    for owner, limits in accounts:
        live = live_of(owner)
        if limits.concurrent_responses is not None and live >= limits.concurrent_responses:
            raise too_many_at_once(live, limits.concurrent_responses)


def too_many_at_once(live: int | None, most: int | None) -> RateLimited:
    """The error for an account with too many running responses."""
    return RateLimited(
        f"{live} responses are under way, and at most {most} may be at once; wait for one to end or cancel it.",
        code="concurrent_responses_exceeded",
        retry_after_s=1,
    )


class StorageQuotaExceeded(CodeActError):
    """Raised if an owner has stored as many bytes as allowed."""

    code = "storage_quota_exceeded"
    status = 413


async def check_stored(owner: str, limit_mb: int, store: RunStore) -> int:
    """Returns how many bytes the owner has stored; an account's sum includes its users.

    Raises `StorageQuotaExceeded` if the limit is reached.
    """
    used = await store.stored.used(owner)
    if used >= limit_mb * MB:
        raise StorageQuotaExceeded(
            f"{used // MB} MB of {limit_mb} MB are stored. Delete conversations with large outputs, images or files:"
            " their bytes are free once deleted conversations are purged (CODEACT_DELETED_RETENTION_DAYS)."
        )
    return used


async def check_room(accounts: Sequence[Account], store: RunStore, disk: DiskFloor) -> None:
    """Raises `DiskFull` or `StorageQuotaExceeded` if nothing new may be stored for these accounts."""
    disk.check()
    for owner, limits in accounts:
        if limits.stored_mb is not None:
            await check_stored(owner, limits.stored_mb, store)


class Admission:
    """Counts one more response for each account, and takes it back if the response is refused later.

    The database counts per minute and per day, over all server processes. A running response may exceed the day's
    tokens, since its tokens are known only at its end.
    """

    def __init__(self, accounts: Sequence[Account], store: RunStore, slots: SharedSlots | None = None) -> None:
        self._slots = slots
        self.taken = Taken()
        self._accounts = accounts
        self._store = store
        self._at = datetime.now(UTC)
        self._counted: list[str] = []
        self._used_bytes: dict[str, int] = {}

    @classmethod
    @asynccontextmanager
    async def open(
        cls, accounts: Sequence[Account], store: RunStore, slots: SharedSlots | None = None
    ) -> AsyncIterator["Admission"]:
        """Yields an admission. If the `with` block raises, the response is not counted.

        Only an account whose own limit per minute refused the response keeps it counted. With `slots`, `ask` takes a
        slot of all servers, and `give_back` must be called when the response has ended.
        """
        admission = cls(accounts, store, slots)
        try:
            yield admission
        except BaseException:
            await admission._uncount()
            await admission.give_back()
            raise

    @property
    def has_limits(self) -> bool:
        """Whether `ask` has any limit to check."""
        return any(
            limit is not None
            for _, limits in self._accounts
            for limit in (
                limits.tokens_per_day,
                limits.responses_per_minute,
                limits.stored_mb,
                limits.concurrent_responses if self._slots is not None else None,
            )
        )

    async def ask(self) -> None:
        """Checks all limits concurrently, and counts the response. Raises `RateLimited` and `StorageQuotaExceeded`."""
        checks: list[Callable[[], Awaitable[None]]] = []
        for owner, limits in self._accounts:
            if limits.concurrent_responses is not None and self._slots is not None:
                checks.append(partial(self._take_slot, self._slots, owner, limits))
            if limits.tokens_per_day is not None:
                checks.append(partial(self._check_tokens, owner, limits.tokens_per_day))
            if limits.responses_per_minute is not None:
                checks.append(partial(self._count, owner, limits.responses_per_minute))
            if limits.stored_mb is not None:
                checks.append(partial(self._check_stored, owner, limits.stored_mb))
        await gathered(checks)

    def allowance(self, allowances: Allowances) -> Allowance:
        """Returns how many bytes the answer may store, from the sums that `ask` has read."""
        limits = {owner: limits.stored_mb * MB for owner, limits in self._accounts if limits.stored_mb}
        return allowances.of(limits, self._used_bytes)

    async def give_back(self) -> None:
        """Gives back the slots that `ask` has taken."""
        if self._slots is not None and self.taken.accounts:
            await self._slots.give_back(self.taken)

    async def _take_slot(self, slots: SharedSlots, owner: str, limits: OwnerLimits) -> None:
        if not await slots.take((owner, limits), self.taken):
            raise too_many_at_once(limits.concurrent_responses, limits.concurrent_responses)

    async def _check_stored(self, owner: str, limit_mb: int) -> None:
        self._used_bytes[owner] = await check_stored(owner, limit_mb, self._store)

    async def _check_tokens(self, owner: str, limit: int) -> None:
        used = await self._store.access.tokens_used(owner, self._at)
        if used >= limit:
            midnight = (self._at + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
            raise RateLimited(
                f"{used} tokens of {limit} for this day (UTC) are used; it goes on at midnight.",
                code="insufficient_quota",
                retry_after_s=(midnight - self._at).total_seconds(),
            )

    async def _count(self, owner: str, limit: int) -> None:
        count = await self._store.access.count_response(owner, self._at)
        if count > limit:
            wait_s = 60 - self._at.second
            raise RateLimited(
                f"{limit} responses in a minute are the limit; try again in {wait_s} s.",
                code="rate_limit_exceeded",
                retry_after_s=wait_s,
            )
        self._counted.append(owner)

    async def _uncount(self) -> None:
        counted, self._counted = self._counted, []
        calls = [partial(self._store.access.uncount_response, owner, self._at) for owner in counted]
        with anyio.move_on_after(UNCOUNT_TIMEOUT_S, shield=True):
            try:
                await gathered(calls)
            except StoreError as error:
                log.warning("a refused response stays counted", owners=counted, reason=error.message)
