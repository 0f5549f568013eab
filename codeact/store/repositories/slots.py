"""The slots collection: answers and sandboxes that an owner has at once, over all servers, where that is limited."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from codeact.store.database.operation import Operations, operation
from codeact.store.documents.schema import FIELD, SLOTS

if TYPE_CHECKING:
    from codeact.store.documents.documents import Documents

__all__ = ["Slots"]


class Slots:
    """The part of `Store` with what each account has at once. `holder` is this server's name."""

    def __init__(self, documents: "Documents", operations: Operations, *, holder: str) -> None:
        self._slots = documents.slots
        self._holder = holder
        self._operations = operations

    @operation
    async def take(self, account: str, slot_id: str, *, most: int) -> bool:
        """Takes one of the account's `most` slots for this server; False if all are taken. Atomic."""
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
    async def number(self, account: str) -> int:
        """How many slots of the account are taken."""
        found = await self._slots.get_pymongo_collection().find_one({"_id": account}, {"taken.id": 1})
        return len((found or {}).get("taken", ()))

    @operation
    async def holders(self, account: str) -> set[str]:
        """The names of the other servers that have slots of the account."""
        found = await self._slots.get_pymongo_collection().find_one({"_id": account}, {"taken.process": 1})
        return {each["process"] for each in (found or {}).get("taken", ())} - {self._holder}

    @operation
    async def drop_dead(self, account: str, alive: Collection[str]) -> bool:
        """Gives back the slots of servers that are not among `alive`; returns whether there were any."""
        names = [*alive, self._holder]
        change = {"$pull": {"taken": {"process": {"$nin": names}}}}
        changed = await self._slots.get_pymongo_collection().update_one({"_id": account}, change)
        return bool(changed.modified_count)
