"""Places of an account that count over all servers of a database, and are given back even if the database was away."""

from collections.abc import Awaitable, Callable, Collection, Iterable
from contextlib import suppress

import anyio

from codeact.errors import StoreError
from codeact.store.store import Store
from sandbox_pool.logs import Logger

__all__ = ["SharedPlaces"]

log = Logger(__name__)


class SharedPlaces:
    """Takes places in the database. `alive` looks for the names of the other living servers.

    `of` says in the log what the places are for. `give_back_s` is how long `give_back` may take.
    """

    def __init__(
        self,
        of: str,
        get_store: Callable[[], Awaitable[Store]],
        alive: Callable[[Store], Awaitable[Collection[str]]],
        *,
        give_back_s: float,
    ) -> None:
        self._of = of
        self._get_store = get_store
        self._alive = alive
        self._give_back_s = give_back_s
        self._owed: list[tuple[str, str]] = []

    async def take(self, account: str, place: str, *, most: int) -> bool:
        """Takes the place as one of the account's `most`; False if all are taken. Raises `StoreError`.

        What was not given back yet, and what a dead server had taken, is given back first.
        """
        slots = (await self._store()).slots
        if await slots.take(account, place, most=most):
            return True
        return await self.drop_dead(account) and await slots.take(account, place, most=most)

    async def number(self, account: str) -> int:
        """How many places of the account are taken. Raises `StoreError`."""
        return await (await self._get_store()).slots.number(account)

    async def holders(self, account: str) -> set[str]:
        """The names of the other servers that have places of the account. Raises `StoreError`."""
        return await (await self._get_store()).slots.holders(account)

    async def drop_dead(self, account: str) -> bool:
        """Gives back what dead servers had taken; returns whether they had anything. Raises `StoreError`."""
        store = await self._get_store()
        return await store.slots.drop_dead(account, await self._alive(store))

    async def give_back(self, places: Iterable[tuple[str, str]]) -> None:
        """Gives back places, as pairs of account and place, even if the caller is cancelled. Never raises; idempotent.

        While the database is not available, they are given back when the next one is taken.
        """
        self._owed += places
        with anyio.move_on_after(self._give_back_s, shield=True), suppress(StoreError):
            await self._store()
        if self._owed:
            log.warning("places are not given back yet", of=self._of, places=len(self._owed))

    async def _store(self) -> Store:
        """Returns the store, after giving back there what was not given back yet."""
        store = await self._get_store()
        while self._owed:
            account, place = owed = self._owed[0]
            await store.slots.give_back(account, place)
            with suppress(ValueError):  # Another task may have done it meanwhile.
                self._owed.remove(owed)
        return store
