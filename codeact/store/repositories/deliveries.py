"""The outbox of webhooks: an event is stored with the end of its response, and removed once it is delivered."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from codeact.store.database.operation import Operations, operation
from codeact.store.records import Delivery, EndedResponse

if TYPE_CHECKING:
    from codeact.store.documents.documents import Documents

__all__ = ["CLAIM_S", "Deliveries"]

CLAIM_S = 60.0
"""For how long an attempt belongs to one server. If that server dies, another one repeats the attempt."""
WAITING, MADE = "waiting", "made"
BATCH = 100


class Deliveries:
    """The part of `Store` with webhooks. The guarantees of `Store` hold here too. Several servers may call it."""

    def __init__(self, documents: "Documents", operations: Operations) -> None:
        self._documents = documents
        self._deliveries = documents.deliveries
        self._operations = operations

    @operation
    async def mark(self, response_id: str) -> None:
        """Records that webhooks are to be told of this response as soon as it has ended. Only the first call counts."""
        place = {"_id": response_id, "webhook": None}
        change = {"$set": {"webhook": {"state": WAITING, "at": datetime.now(UTC)}}}
        await self._documents.responses.get_pymongo_collection().update_one(place, change)

    @operation
    async def ended(self) -> list[EndedResponse]:
        """Responses that have ended and for which `announced` has not been called, the oldest first."""
        place = {"webhook.state": WAITING, "response.status": {"$nin": ["queued", "in_progress"]}}
        fields = {"owner": 1, "response.status": 1, "response.background": 1, "webhook": 1}
        found = self._documents.responses.get_pymongo_collection().find(place, fields).sort("_id", 1).limit(BATCH)
        return [
            EndedResponse(
                each["_id"],
                each["owner"],
                each["response"]["status"],
                bool(each["response"].get("background")),
                each["webhook"]["at"],
            )
            async for each in found
        ]

    @operation
    async def announced(self, response_id: str) -> None:
        """Records that all deliveries of the response exist. Idempotent."""
        change = {"$set": {"webhook.state": MADE}}
        await self._documents.responses.get_pymongo_collection().update_one({"_id": response_id}, change)

    @operation
    async def add(self, ended: EndedResponse, endpoint: str, event: str, *, most: int) -> bool:
        """Adds a delivery that is due now, once. Returns False if `most` deliveries wait for the endpoint already."""
        deliveries = self._deliveries.get_pymongo_collection()
        if await deliveries.count_documents({"endpoint": endpoint}, limit=most) >= most:
            return False
        document = self._deliveries(
            id=f"evt_{ended.response_id.removeprefix('resp_')}_{endpoint}",
            endpoint=endpoint,
            event=event,
            response_id=ended.response_id,
            owner=ended.owner,
            ended_at=ended.ended_at,
            due_at=datetime.now(UTC),
        )
        await self._documents.insert(document)
        return True

    @operation
    async def claim(self, *, without: Collection[str] = ()) -> Delivery | None:
        """A delivery that is due, for one attempt of this server within `CLAIM_S`; None if there is none.

        `without`: the keys of endpoints whose deliveries wait.
        """
        from pymongo import ReturnDocument

        now = datetime.now(UTC)
        change = {"$set": {"due_at": now + timedelta(seconds=CLAIM_S)}, "$inc": {"attempts": 1}}
        place = {"due_at": {"$lte": now}, "endpoint": {"$nin": list(without)}}
        found = await self._deliveries.get_pymongo_collection().find_one_and_update(
            place,
            change,
            sort=[("due_at", 1)],
            return_document=ReturnDocument.AFTER,
        )
        return None if found is None else self._deliveries.model_validate(found).record()

    @operation
    async def done(self, delivery: Delivery) -> None:
        """Removes the delivery. Idempotent."""
        await self._deliveries.get_pymongo_collection().delete_one({"_id": delivery.id})

    @operation
    async def again(self, delivery: Delivery, *, after_s: float) -> None:
        """Makes the delivery due after this time, unless another server has begun an attempt meanwhile."""
        place = {"_id": delivery.id, "attempts": delivery.attempts}
        change = {"$set": {"due_at": datetime.now(UTC) + timedelta(seconds=after_s)}}
        await self._deliveries.get_pymongo_collection().update_one(place, change)
