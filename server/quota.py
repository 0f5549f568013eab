"""How much an owner may ask for: a caller enters; it may go on, or an error says which limit is reached."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from codeact.errors import RateLimited
from codeact.store import OwnerLimits, Store
from server.auth import Caller

__all__ = ["admit", "check_concurrency"]


def check_concurrency(caller: Caller, *, live_of: Callable[[str], int]) -> None:
    """`live_of` says how many of an owner's are under way in this process. Raises `RateLimited`."""
    for owner, limits in caller.accounts:
        live = live_of(owner)
        if limits.concurrent_responses is not None and live >= limits.concurrent_responses:
            raise RateLimited(
                f"{live} responses are under way, and at most {limits.concurrent_responses} may be at once; wait for"
                " one to end or cancel it.",
                code="concurrent_responses_exceeded",
                retry_after_s=1,
            )


async def admit(caller: Caller, *, store: Store) -> None:
    """Counts one more response.

    Minutes and days are counted in the database, so over all server processes. A response under way may pass
    the day's tokens: they are known when it has ended. Raises `RateLimited`.
    """
    for owner, limits in caller.accounts:
        await _admit(owner, limits, store=store)


async def _admit(owner: str, limits: OwnerLimits, *, store: Store) -> None:
    now = datetime.now(UTC)
    if limits.tokens_per_day is not None:
        used = await store.access.tokens_used(owner, now)
        if used >= limits.tokens_per_day:
            midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
            raise RateLimited(
                f"{used} tokens of {limits.tokens_per_day} for this day (UTC) are used; it goes on at midnight.",
                code="insufficient_quota",
                retry_after_s=(midnight - now).total_seconds(),
            )
    if limits.responses_per_minute is not None:
        count = await store.access.count_response(owner, now)
        if count > limits.responses_per_minute:
            wait_s = 60 - now.second
            raise RateLimited(
                f"{limits.responses_per_minute} responses in a minute are the limit; try again in {wait_s} s.",
                code="rate_limit_exceeded",
                retry_after_s=wait_s,
            )
