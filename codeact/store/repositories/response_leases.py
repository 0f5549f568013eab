"""The lease collection: which server runs which response, requests addressed to that server, and expired leases."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from codeact.errors import NotFound
from codeact.events import InputMessage
from codeact.store.database.operation import Operations, operation
from codeact.store.database.process import new_name
from codeact.store.repositories.run_writes import owned_by

if TYPE_CHECKING:
    from codeact.store.documents.documents import Documents

__all__ = ["LEASE_S", "MOST_STEERS", "STEERED", "Lease", "Leases", "Steer"]

LEASE_S = 15.0
"""A server that has not said for so long that it lives is taken for dead."""
MOST_STEERS = 16
STEERED = "steered"
"""What becomes of a `Steer` that was taken in; else a code for why not."""


class Steer(msgspec.Struct, frozen=True):
    """What a user says into a response at another server. `outcome` is None until that has looked at it."""

    id: str
    messages: list[InputMessage]
    outcome: str | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """A response that has not ended, and who says that it is at work on it. `beat` grows while that is so.

    `epoch` grows when another server takes over.
    """

    response_id: str
    owner: str
    process: str
    beat: int
    cancel: bool
    steers: Sequence[Steer] = ()
    epoch: int = 0


class Leases:
    """A part of the `Store`. What `Store` promises holds here too. `holder` is this server's name."""

    def __init__(self, documents: "Documents", operations: Operations) -> None:
        self._responses = documents.responses
        self._operations = operations
        self.holder = new_name()

    @operation
    async def all(self) -> list[Lease]:
        """The leases of every process; the index `unfinished` holds only responses under way."""
        return await self._find({"process": {"$gt": ""}})

    @operation
    async def mine(self) -> dict[str, Lease]:
        """The leases of this process, by response."""
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
    async def release(self, response_id: str, *, epoch: int | None = None) -> None:
        """Says that the response is done with; with an `epoch`, if it is still that. Idempotent."""
        change = {"$unset": {"process": "", "beat": "", "cancel": ""}}
        place = {"_id": response_id, "process": self.holder}
        owned = place if epoch is None else owned_by(response_id, self.holder, epoch)
        await self._responses.get_pymongo_collection().update_one(owned, change)

    @operation
    async def take_over(self, lease: Lease) -> bool:
        """Makes this process the one that ends the response, in the next epoch: `RunWrites.adopt` comes next.

        From now on nothing that the other one writes counts. False where the lease is no longer what it was.
        """
        place = {"_id": lease.response_id, "process": lease.process, "beat": lease.beat}
        change = {"$set": {"process": self.holder}, "$inc": {"beat": 1, "epoch": 1}}
        changed = await self._responses.get_pymongo_collection().update_one(place, change)
        return bool(changed.modified_count)

    @operation
    async def ask_to_cancel(self, response_id: str, *, owner: str) -> None:
        """Asks the process at work to stop; it looks twice a second. Nothing happens where the response has ended."""
        place = {"_id": response_id, "owner": owner, "process": {"$gt": ""}}
        await self._responses.get_pymongo_collection().update_one(place, {"$set": {"cancel": True}})

    @operation
    async def ask_to_steer(self, response_id: str, steer: Steer, *, owner: str) -> bool:
        """Leaves it for the process at work. False where the response has ended, or `MOST_STEERS` were left there."""
        place = {"_id": response_id, "owner": owner, "process": {"$gt": ""}, "steers.id": {"$ne": steer.id}}
        place |= {f"steers.{MOST_STEERS - 1}": {"$exists": False}}
        change = {"$push": {"steers": msgspec.to_builtins(steer)}}
        pushed = await self._responses.get_pymongo_collection().update_one(place, change)
        return bool(pushed.matched_count) or await self._steer(response_id, steer.id) is not None

    @operation
    async def answer_steer(self, response_id: str, steer_id: str, outcome: str) -> None:
        """Tells the process that asked what became of it."""
        place = {"_id": response_id, "process": self.holder, "steers.id": steer_id}
        change = {"$set": {"steers.$.outcome": outcome}}
        await self._responses.get_pymongo_collection().update_one(place, change)

    @operation
    async def steer_waits(self, response_id: str, steer_id: str) -> bool:
        """Whether the process at work may still take it in."""
        found = await self._steer(response_id, steer_id)
        return found is not None and found.outcome is None

    @operation
    async def withdraw_steer(self, response_id: str, steer_id: str) -> str | None:
        """Forgets it; returns what had become of it."""
        place, change = {"_id": response_id}, {"$pull": {"steers": {"id": steer_id}}}
        found = await self._responses.get_pymongo_collection().find_one_and_update(place, change, {"steers": 1})
        return next((steer.outcome for steer in _steers(found) if steer.id == steer_id), None)

    async def _steer(self, response_id: str, steer_id: str) -> Steer | None:
        """Finds a steering request; None where it was withdrawn, or where no server runs the response any more."""
        place = {"_id": response_id, "process": {"$gt": ""}}
        found = await self._responses.get_pymongo_collection().find_one(place, {"steers": 1})
        return next((steer for steer in _steers(found) if steer.id == steer_id), None)

    async def _find(self, place: dict[str, object]) -> list[Lease]:
        fields = {"owner": 1, "process": 1, "beat": 1, "epoch": 1, "cancel": 1, "steers": 1}
        found = self._responses.get_pymongo_collection().find(place, fields)
        return [
            Lease(
                found["_id"],
                found["owner"],
                found["process"],
                found.get("beat", 0),
                found.get("cancel", False),
                _steers(found),
                found.get("epoch", 0),
            )
            async for found in found
        ]


def _steers(found: dict[str, Any] | None) -> list[Steer]:
    return msgspec.convert((found or {}).get("steers", []), list[Steer])
