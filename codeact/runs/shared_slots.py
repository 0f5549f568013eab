"""Limits how many answers of an account are under way at once, over all servers of a database."""

from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress

import anyio

from codeact.errors import StoreError
from codeact.ids import new_id
from codeact.runs.new_run import Account
from codeact.store import Store
from sandbox_pool.logs import Logger

__all__ = ["SharedSlots", "Taken"]

log = Logger(__name__)

GIVE_BACK_TIMEOUT_S = 5.0


class SharedSlots:
    """Takes slots in the database. `alive` looks for the names of the other living servers."""

    def __init__(
        self, get_store: Callable[[], Awaitable[Store]], alive: Callable[[Store], Awaitable[Collection[str]]]
    ) -> None:
        self._get_store = get_store
        self._alive = alive

    async def take(self, account: Account, taken: "Taken") -> bool:
        """Takes a slot of the account and notes that in `taken`; False if all are taken.

        What a dead server had taken is given back first.
        """
        name, limits = account
        most = limits.concurrent_responses
        if most is None:
            return True
        store = await self._get_store()
        slots = store.slots
        taken.accounts.append(name)
        if await slots.take(name, taken.id, most=most):
            return True
        if await slots.drop_dead(name, await self._alive(store)) and await slots.take(name, taken.id, most=most):
            return True
        taken.accounts.remove(name)
        return False

    async def give_back(self, taken: "Taken") -> None:
        """Gives back what was taken, even if the caller is cancelled. Never raises; idempotent."""
        with anyio.move_on_after(GIVE_BACK_TIMEOUT_S, shield=True), suppress(StoreError):
            while taken.accounts:
                await (await self._get_store()).slots.give_back(taken.accounts[-1], taken.id)
                taken.accounts.pop()
        if taken.accounts:
            log.warning("slots of an answer stay taken until this server ends", accounts=taken.accounts)


class Taken:
    """The slots of one answer."""

    def __init__(self) -> None:
        self.id = new_id("slot")
        self.accounts: list[str] = []
