"""The lease collection: which server runs which response, requests addressed to that server, and expired leases."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from codeact.events import InputMessage
from codeact.store.database.operation import Operations, operation
from codeact.store.database.process import new_name
from codeact.store.missing import no_response
from codeact.store.repositories.run_writes import owned_by

if TYPE_CHECKING:
    from codeact.store.documents.documents import Documents

__all__ = ["LEASE_S", "MOST_STEERS", "STEERED", "Lease", "Leases", "Steer"]

LEASE_S = 6.0
"""A server that has not renewed its leases for this long is considered dead."""
MOST_STEERS = 16
STEERED = "steered"
"""The outcome of a `Steer` that the run has accepted; any other outcome is the error code of a refusal."""


class Steer(msgspec.Struct, frozen=True):
    """A user's message for a response that runs on another server. `outcome` is None until that server has answered."""

    id: str
    messages: list[InputMessage]
    outcome: str | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """The lease of a running response: which server runs it. That server increases `beat` regularly.

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
    """The part of `Store` with leases. The guarantees of `Store` hold here too. `holder` is this server's name."""

    def __init__(self, documents: "Documents", operations: Operations) -> None:
        self._responses = documents.responses
        self._operations = operations
        self.holder = new_name()

    @operation
    async def all(self) -> list[Lease]:
        """The leases of every process. The index `unfinished` contains only running responses."""
        return await self._find({"process": {"$gt": ""}})

    @operation
    async def mine(self) -> dict[str, Lease]:
        """The leases of this process, by response."""
        return {lease.response_id: lease for lease in await self._find({"process": self.holder})}

    @operation
    async def is_under_way(self, response_id: str, *, owner: str) -> bool:
        """Whether the response is still running. Raises `NotFound`."""
        place = {"_id": response_id, "owner": owner, "deleted": {"$ne": True}}
        found = await self._responses.get_pymongo_collection().find_one(place, {"process": 1})
        if found is None:
            raise no_response(response_id)
        return found.get("process") is not None

    @operation
    async def renew(self, response_ids: Collection[str]) -> None:
        """Tells the other processes that this one still runs these responses."""
        place = {"process": self.holder, "_id": {"$in": list(response_ids)}}
        await self._responses.get_pymongo_collection().update_many(place, {"$inc": {"beat": 1}})

    @operation
    async def release(self, response_id: str, *, epoch: int | None = None) -> None:
        """Gives up the lease of a response that has ended; with an `epoch`, only if that is still current.

        Idempotent.
        """
        change = {"$unset": {"process": "", "beat": "", "cancel": ""}}
        place = {"_id": response_id, "process": self.holder}
        owned = place if epoch is None else owned_by(response_id, self.holder, epoch)
        await self._responses.get_pymongo_collection().update_one(owned, change)

    @operation
    async def take_over(self, lease: Lease) -> bool:
        """Makes this process the owner of the response, in the next epoch. Call `RunWrites.adopt` next.

        From now on, nothing that the previous owner writes counts. Returns False if the lease has changed meanwhile.
        """
        place = {"_id": lease.response_id, "process": lease.process, "beat": lease.beat}
        change = {"$set": {"process": self.holder}, "$inc": {"beat": 1, "epoch": 1}}
        changed = await self._responses.get_pymongo_collection().update_one(place, change)
        return bool(changed.modified_count)

    @operation
    async def ask_to_cancel(self, response_id: str, *, owner: str) -> None:
        """Asks the process that runs it to stop; that one looks twice a second.

        Does nothing if the response has ended.
        """
        place = {"_id": response_id, "owner": owner, "process": {"$gt": ""}}
        await self._responses.get_pymongo_collection().update_one(place, {"$set": {"cancel": True}})

    @operation
    async def ask_to_steer(self, response_id: str, steer: Steer, *, owner: str) -> bool:
        """Adds the request for the process that runs it.

        Returns False if the response has ended or has `MOST_STEERS` requests.
        """
        place = {"_id": response_id, "owner": owner, "process": {"$gt": ""}, "steers.id": {"$ne": steer.id}}
        place |= {f"steers.{MOST_STEERS - 1}": {"$exists": False}}
        change = {"$push": {"steers": msgspec.to_builtins(steer)}}
        pushed = await self._responses.get_pymongo_collection().update_one(place, change)
        return bool(pushed.matched_count) or await self._steer(response_id, steer.id) is not None

    @operation
    async def answer_steer(self, response_id: str, steer_id: str, outcome: str) -> None:
        """Stores the outcome of a request, for the process that made it."""
        place = {"_id": response_id, "process": self.holder, "steers.id": steer_id}
        change = {"$set": {"steers.$.outcome": outcome}}
        await self._responses.get_pymongo_collection().update_one(place, change)

    @operation
    async def steer_waits(self, response_id: str, steer_id: str) -> bool:
        """Whether the request has no outcome yet, so that the run may still accept it."""
        found = await self._steer(response_id, steer_id)
        return found is not None and found.outcome is None

    @operation
    async def withdraw_steer(self, response_id: str, steer_id: str) -> str | None:
        """Removes the request; returns its outcome."""
        place, change = {"_id": response_id}, {"$pull": {"steers": {"id": steer_id}}}
        found = await self._responses.get_pymongo_collection().find_one_and_update(place, change, {"steers": 1})
        return next((steer.outcome for steer in _steers(found) if steer.id == steer_id), None)

    async def _steer(self, response_id: str, steer_id: str) -> Steer | None:
        """Finds a steering request. None if it was withdrawn, or if no server runs the response any more."""
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
                _steers(found) if "steers" in found else (),
                found.get("epoch", 0),
            )
            async for found in found
        ]


def _steers(found: dict[str, Any] | None) -> list[Steer]:
    return msgspec.convert((found or {}).get("steers", []), list[Steer])
