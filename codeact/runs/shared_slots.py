"""Limits how many answers of an account are under way at once, over all servers of a database."""

from collections.abc import Awaitable, Callable, Collection

from codeact.ids import new_id
from codeact.runs.new_run import Account
from codeact.store import Store
from codeact.store.shared_places import SharedPlaces

__all__ = ["SharedSlots", "Taken"]

GIVE_BACK_TIMEOUT_S = 5.0


class SharedSlots:
    """Takes slots in the database. `alive` looks for the names of the other living servers."""

    def __init__(
        self, get_store: Callable[[], Awaitable[Store]], alive: Callable[[Store], Awaitable[Collection[str]]]
    ) -> None:
        self._places = SharedPlaces("answers", get_store, alive, give_back_s=GIVE_BACK_TIMEOUT_S)

    async def take(self, account: Account, taken: "Taken") -> bool:
        """Takes a slot of the account and notes that in `taken`; False if all are taken. Raises `StoreError`."""
        name, limits = account
        most = limits.concurrent_responses
        if most is None:
            return True
        taken.accounts.append(name)
        if await self._places.take(name, taken.id, most=most):
            return True
        taken.accounts.remove(name)
        return False

    async def give_back(self, taken: "Taken") -> None:
        """Gives back what was taken; see `SharedPlaces.give_back`."""
        places = [(name, taken.id) for name in taken.accounts]
        taken.accounts.clear()
        await self._places.give_back(places)


class Taken:
    """The slots of one answer."""

    def __init__(self) -> None:
        self.id = new_id("slot")
        self.accounts: list[str] = []
