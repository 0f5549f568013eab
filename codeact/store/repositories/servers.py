"""The servers collection: where each living server process can be reached by the others."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from codeact.store.database.operation import Operations, operation
from codeact.store.documents.schema import FIELD, SERVER

if TYPE_CHECKING:
    from codeact.store.documents.documents import Documents

__all__ = ["LivingServer", "Servers"]


@dataclass(frozen=True, slots=True)
class LivingServer:
    """Where a server is reached, and how many requests of each owner were open there when it was seen last."""

    url: str
    open_requests: Mapping[str, int]


class Servers:
    """The part of `Store` with server processes. `holder` is this server's name."""

    def __init__(self, documents: "Documents", operations: Operations, *, holder: str) -> None:
        self._servers = documents.servers
        self._holder = holder
        self._operations = operations

    @operation
    async def announce(self, url: str, open_requests: Mapping[str, int]) -> datetime:
        """Tells the other servers that this one lives at `url`; returns the time of the database's clock.

        Repeat it within the lease's time.
        """
        from pymongo import ReturnDocument

        change = {
            # Pairs, since the name of an owner need not be a valid name of a field.
            "$set": {"url": url, "open_requests": [[owner, number] for owner, number in open_requests.items()]},
            "$currentDate": {"seen_at": True},
            "$setOnInsert": {FIELD: SERVER.version},
        }
        found = await self._servers.get_pymongo_collection().find_one_and_update(
            {"_id": self._holder}, change, upsert=True, return_document=ReturnDocument.AFTER
        )
        assert found is not None  # because of `upsert`
        seen_at: datetime = found["seen_at"]
        return seen_at

    @operation
    async def others(self, since: datetime) -> dict[str, LivingServer]:
        """The other servers that were alive at `since` or later, by name."""
        place = {"seen_at": {"$gte": since}, "_id": {"$ne": self._holder}}
        found = self._servers.get_pymongo_collection().find(place)
        return {one["_id"]: LivingServer(one["url"], dict(one.get("open_requests", ()))) async for one in found}

    async def living(
        self, url: str, open_requests: Mapping[str, int], *, within_s: float
    ) -> tuple[datetime, dict[str, LivingServer]]:
        """Announces this server, and returns the database's time and the servers seen in the last `within_s`."""
        now = await self.announce(url, open_requests)
        return now, await self.others(now - timedelta(seconds=within_s))

    @operation
    async def leave(self) -> None:
        """Removes this server: nothing more is to be passed to it."""
        await self._servers.get_pymongo_collection().delete_one({"_id": self._holder})
