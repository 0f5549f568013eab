"""The slots collection: which answers of an owner are under way, over all servers, where that number has a limit."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from codeact.store.database.operation import Operations, operation
from codeact.store.documents.schema import FIELD, SLOTS

if TYPE_CHECKING:
    from codeact.store.documents.documents import Documents

__all__ = ["Slots"]


class Slots:
    """The part of `Store` with the answers under way of each account. `holder` is this server's name."""

    def __init__(self, documents: "Documents", operations: Operations, *, holder: str) -> None:
        self._slots = documents.slots
        self._holder = holder
        self._operations = operations

    @operation
    async def take(self, account: str, slot_id: str, *, most: int) -> bool:
        """Takes one of the account's `most` slots for an answer of this server; False if all are taken. Atomic."""
        from pymongo.errors import DuplicateKeyError

        place: dict[str, Any] = {"_id": account, f"taken.{most - 1}": {"$exists": False}, "taken.id": {"$ne": slot_id}}
        change = {
            "$push": {"taken": {"id": slot_id, "process": self._holder}},
            "$setOnInsert": {FIELD: SLOTS.version},
        }
        slots = self._slots.get_pymongo_collection()
        try:
            await slots.update_one(place, change, upsert=True)
        except DuplicateKeyError:  # It exists, and does not fit: it is full, or has this slot already.
            return await slots.find_one({"_id": account, "taken.id": slot_id}, {"_id": 1}) is not None
        return True

    @operation
    async def give_back(self, account: str, slot_id: str) -> None:
        """Idempotent."""
        await self._slots.get_pymongo_collection().update_one({"_id": account}, {"$pull": {"taken": {"id": slot_id}}})

    @operation
    async def drop_dead(self, account: str, alive: Collection[str]) -> bool:
        """Gives back the slots of servers that are not among `alive`; returns whether there were any."""
        names = [*alive, self._holder]
        change = {"$pull": {"taken": {"process": {"$nin": names}}}}
        changed = await self._slots.get_pymongo_collection().update_one({"_id": account}, change)
        return bool(changed.modified_count)
