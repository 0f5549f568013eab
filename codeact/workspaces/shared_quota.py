"""Limits how many sandboxes an owner has over all servers of a database, where that number has a limit."""

from collections.abc import Awaitable, Callable, Collection

from codeact.ids import new_id
from codeact.store import Store
from codeact.store.shared_places import SharedPlaces
from sandbox_pool.errors import QuotaExceeded

__all__ = ["AskForIdle", "SharedQuota"]

STORE_TIMEOUT_S = 2.0
RETRY_S = 2.0
PREFIX = "sandboxes\n"
"""No owner's name has a line break, so no account of answers has the name of an account of sandboxes."""

AskForIdle = Callable[[str, Collection[str]], Awaitable[bool]]
"""Asks these servers to release an idle sandbox of the owner; returns whether one of them did. Never raises."""


class SharedQuota:
    """Counts sandboxes in the database. `most` is the limit for one owner; `alive` looks for the other living servers.

    Each sandbox costs two round trips to the database: one before it is claimed, and one after it was released. Set
    `ask_for_idle` once the other servers can be asked.
    """

    def __init__(
        self,
        most: int,
        get_store: Callable[[], Awaitable[Store]],
        *,
        alive: Callable[[Store], Awaitable[Collection[str]]],
    ) -> None:
        self.ask_for_idle: AskForIdle = _nobody
        self._most = most
        self._places = SharedPlaces("sandboxes", get_store, alive, give_back_s=STORE_TIMEOUT_S)

    async def take(self, owner: str, release_idle: Callable[[], Awaitable[bool]]) -> str:
        """Takes a place for one more sandbox of the owner; returns its id, for `give_back`.

        If there is none, idle sandboxes of the owner are released: first here, by `release_idle`, which returns whether
        it found one, then at other servers. Raises `QuotaExceeded` and `StoreError`.
        """
        place, account = new_id("slot"), PREFIX + owner
        try:
            if await self._places.take(account, place, most=self._most):
                return place
            while await self._released(owner, release_idle):
                if await self._places.take(account, place, most=self._most):
                    return place
        except BaseException:
            await self.give_back(owner, place)  # What was cancelled or failed may have taken it nevertheless.
            raise
        raise self._exceeded()

    def _exceeded(self) -> QuotaExceeded:
        return QuotaExceeded(
            f"{self._most} sandboxes are in use for you already, over all servers, and that is the limit. End one of"
            f" them, or try again in {RETRY_S:.0f} s.",
            retry_after_s=RETRY_S,
        )

    async def make_room(self, owner: str, release_idle: Callable[[], Awaitable[bool]]) -> None:
        """Releases an idle sandbox as `take` does if there is no place, and takes none. Raises as `take`.

        Costs one round trip if there is one.
        """
        account = PREFIX + owner
        has_place = await self._places.number(account) < self._most or await self._places.drop_dead(account)
        if not has_place and not await self._released(owner, release_idle):
            raise self._exceeded()

    async def give_back(self, owner: str, place: str) -> None:
        """Gives back what `take` has returned, even if the caller is cancelled. Never raises; it tries again later."""
        await self._places.give_back([(PREFIX + owner, place)])

    async def _released(self, owner: str, release_idle: Callable[[], Awaitable[bool]]) -> bool:
        """Whether an idle sandbox of the owner was released, by this server or by another one."""
        return await release_idle() or await self.ask_for_idle(owner, await self._places.holders(PREFIX + owner))


async def _nobody(owner: str, servers: Collection[str]) -> bool:
    return False
