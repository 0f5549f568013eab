"""Which process produces which response: heartbeats and wishes to cancel enter, responses without a process leave."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codeact.errors import NotFound
from codeact.store.operation import operation
from codeact.store.process import new_name

if TYPE_CHECKING:
    from codeact.store.documents import Documents

__all__ = ["LEASE_S", "Lease", "Leases"]

LEASE_S = 15.0
"""A server that has not said for so long that it lives is taken for dead."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A response that has not ended, and who says that it is at work on it. `beat` grows while that is so."""

    response_id: str
    owner: str
    process: str
    beat: int
    cancel: bool


class Leases:
    """A part of the `Store`. What `Store` promises holds here too. `holder` is this server's name."""

    def __init__(self, documents: "Documents", uri: str) -> None:
        self._responses = documents.responses
        self._uri = uri
        self.holder = new_name()

    @operation
    async def all(self) -> list[Lease]:
        """Of every process; the index `unfinished` is as long as responses are under way."""
        return await self._find({"process": {"$gt": ""}})

    @operation
    async def mine(self) -> dict[str, Lease]:
        """Of this process, by response."""
        return {lease.response_id: lease for lease in await self._find({"process": self.holder})}

    @operation
    async def is_under_way(self, response_id: str, *, owner: str) -> bool:
        """Whether the response has not ended yet. Raises `NotFound`."""
        place = {"_id": response_id, "owner": owner, "deleted": {"$ne": True}}
        found = await self._responses.get_pymongo_collection().find_one(place, {"process": 1})
        if found is None:
            raise NotFound(f"There is no response '{response_id}'.", param="response_id")
        return found.get("process") is not None

    @operation
    async def renew(self, response_ids: Collection[str]) -> None:
        """Tells the other processes that this one is still at work on these."""
        place = {"process": self.holder, "_id": {"$in": list(response_ids)}}
        await self._responses.get_pymongo_collection().update_many(place, {"$inc": {"beat": 1}})

    @operation
    async def release(self, response_id: str) -> None:
        """Says that the response is done with. Idempotent."""
        change = {"$unset": {"process": "", "beat": "", "cancel": ""}}
        place = {"_id": response_id, "process": self.holder}
        await self._responses.get_pymongo_collection().update_one(place, change)

    @operation
    async def take_over(self, lease: Lease) -> bool:
        """Makes this process the one that ends the response; False where the lease is no longer what it was."""
        place = {"_id": lease.response_id, "process": lease.process, "beat": lease.beat}
        change = {"$set": {"process": self.holder}, "$inc": {"beat": 1}}
        changed = await self._responses.get_pymongo_collection().update_one(place, change)
        return bool(changed.modified_count)

    @operation
    async def ask_to_cancel(self, response_id: str, *, owner: str) -> None:
        """Asks the process at work to stop; it looks twice a second. Nothing happens where the response has ended."""
        place = {"_id": response_id, "owner": owner, "process": {"$gt": ""}}
        await self._responses.get_pymongo_collection().update_one(place, {"$set": {"cancel": True}})

    async def _find(self, place: dict[str, object]) -> list[Lease]:
        fields = {"owner": 1, "process": 1, "beat": 1, "cancel": 1}
        found = self._responses.get_pymongo_collection().find(place, fields)
        return [
            Lease(found["_id"], found["owner"], found["process"], found.get("beat", 0), found.get("cancel", False))
            async for found in found
        ]
