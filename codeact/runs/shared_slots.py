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
        self._owed: list[tuple[str, str]] = []

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
        await self._pay(store)
        taken.accounts.append(name)
        if await slots.take(name, taken.id, most=most):
            return True
        if await slots.drop_dead(name, await self._alive(store)) and await slots.take(name, taken.id, most=most):
            return True
        taken.accounts.remove(name)
        return False

    async def give_back(self, taken: "Taken") -> None:
        """Gives back what was taken, even if the caller is cancelled. Never raises; idempotent.

        While the database is not available, it is given back with the next answer instead.
        """
        self._owed += [(name, taken.id) for name in taken.accounts]
        taken.accounts.clear()
        with anyio.move_on_after(GIVE_BACK_TIMEOUT_S, shield=True), suppress(StoreError):
            await self._pay(await self._get_store())
        if self._owed:
            log.warning("slots of answers are not given back yet", slots=len(self._owed))

    async def _pay(self, store: Store) -> None:
        while self._owed:
            account, slot_id = owed = self._owed[0]
            await store.slots.give_back(account, slot_id)
            with suppress(ValueError):  # Another task may have done it meanwhile.
                self._owed.remove(owed)


class Taken:
    """The slots of one answer."""

    def __init__(self) -> None:
        self.id = new_id("slot")
        self.accounts: list[str] = []
