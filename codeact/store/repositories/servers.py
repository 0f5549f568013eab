"""The servers collection: where each living server process can be reached by the others."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from codeact.store.database.operation import Operations, operation
from codeact.store.documents.schema import FIELD, SERVER

if TYPE_CHECKING:
    from codeact.store.documents.documents import Documents

__all__ = ["Servers"]


class Servers:
    """The part of `Store` with server processes. `holder` is this server's name."""

    def __init__(self, documents: "Documents", operations: Operations, *, holder: str) -> None:
        self._servers = documents.servers
        self._holder = holder
        self._operations = operations

    @operation
    async def announce(self, url: str) -> datetime:
        """Tells the other servers that this one lives at `url`; returns the time of the database's clock.

        Repeat it within the lease's time.
        """
        from pymongo import ReturnDocument

        change = {
            "$set": {"url": url},
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
    async def others(self, since: datetime) -> dict[str, str]:
        """The addresses of the other servers that were alive at `since` or later, by name."""
        place = {"seen_at": {"$gte": since}, "_id": {"$ne": self._holder}}
        return {one["_id"]: one["url"] async for one in self._servers.get_pymongo_collection().find(place)}

    async def living(self, url: str, *, within_s: float) -> tuple[datetime, dict[str, str]]:
        """Announces this server, and returns the database's time and the servers seen in the last `within_s`."""
        now = await self.announce(url)
        return now, await self.others(now - timedelta(seconds=within_s))

    @operation
    async def leave(self) -> None:
        """Removes this server: nothing more is to be passed to it."""
        await self._servers.get_pymongo_collection().delete_one({"_id": self._holder})
