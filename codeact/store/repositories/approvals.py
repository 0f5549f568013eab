"""Stores what waits for approval or for a client's value.

Decisions are made by compare-and-set: of two, one wins and the other is told.
"""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from codeact.store.database.operation import Operations, operation
from codeact.store.decisions import Decision, no_approval, too_late
from codeact.store.records import ApprovalRecord

if TYPE_CHECKING:
    from codeact.store.documents.approvals import ApprovalDocument
    from codeact.store.documents.documents import Documents

__all__ = ["Approvals"]

LOST_AFTER = timedelta(seconds=60)
"""A decision whose response was never stored, because its server died, counts as not made after this time."""


class Approvals:
    """The part of `Store` with approvals. The guarantees of `Store` hold here too."""

    def __init__(self, documents: "Documents", operations: Operations) -> None:
        self._documents = documents
        self._operations = operations

    @operation
    async def add(self, *approvals: ApprovalRecord) -> None:
        """Stores what waits from now on."""
        for approval in approvals:
            await self._documents.insert(self._documents.approvals.pack(approval))

    @operation
    async def get(self, approval_id: str, *, owner: str) -> ApprovalRecord:
        """Raises `NotFound`."""
        return (await self._find(approval_id, owner)).record()

    @operation
    async def page(
        self, *, owner: str, status: str | None, after: str | None, limit: int, kind: str | None = None
    ) -> tuple[list[ApprovalRecord], str | None]:
        """One page, newest first, beginning behind the id `after`, and the id behind which the next one begins.

        A page has less than `limit` entries where those of deleted conversations are left out. `status` may also be
        `expired`; None: all, as for `kind`. Raises `NotFound` if there is nothing under the id `after`.
        """
        now = datetime.now(UTC)
        place: dict[str, Any] = {"owner": owner}
        if status is not None:
            place["status"] = "waiting" if status == "expired" else status
        if kind is not None:
            place["kind"] = kind
        if status in ("waiting", "expired"):
            place["expires_at"] = {"$gt": now} if status == "waiting" else {"$lte": now}
        if after is not None:
            last = await self._find(after, owner)
            earlier = [{"created_at": {"$lt": last.created_at}}, {"created_at": last.created_at, "_id": {"$lt": after}}]
            place |= {"created_at": {"$lte": last.created_at}, "$or": earlier}
        found = await self._documents.approvals.find(place).sort("-created_at", "-_id").limit(limit + 1).to_list()
        following = found[limit - 1].id if len(found) > limit else None
        found = found[:limit]
        of_them = {"_id": {"$in": [document.conversation_id for document in found]}, "deleted": True}
        conversations = self._documents.conversations.get_pymongo_collection().find(of_them, {"_id": 1})
        deleted = {conversation["_id"] async for conversation in conversations}
        return [document.record() for document in found if document.conversation_id not in deleted], following

    @operation
    async def decide(self, approval_id: str, decision: Decision, *, owner: str) -> ApprovalRecord:
        """Decides, if nobody else has, and returns what waited. May be repeated for the same response.

        Raises `NotFound`, and `ApprovalDecided`, which says who has decided.
        """
        now = datetime.now(UTC)
        change = {
            "status": decision.status,
            "edited": decision.edited,
            "reason": decision.reason,
            "decided_at": now,
            "decided_by": decision.by,
            "decision_id": decision.response_id,
        }
        place: dict[str, Any] = {"_id": approval_id, "owner": owner}
        waiting = place | {"status": "waiting", "expires_at": {"$gt": now}}
        collection = self._documents.approvals.get_pymongo_collection()
        changed = await collection.update_one(waiting, {"$set": change})
        found = await self._find(approval_id, owner)
        if not changed.matched_count and await self._is_lost(found):
            changed = await collection.update_one(place | {"decision_id": found.decision_id}, {"$set": change})
            found = await self._find(approval_id, owner)
        if not changed.matched_count and found.decision_id != decision.response_id:
            raise too_late(found.record())
        return found.record()

    @operation
    async def take_back(self, decision_id: str, *, owner: str) -> None:
        """Undoes the decisions of a response that could not be stored."""
        place = {"owner": owner, "decision_id": decision_id}
        nothing = {"status": "waiting", "edited": False, "reason": None}
        nothing |= {"decided_at": None, "decided_by": None, "decision_id": None}
        await self._documents.approvals.get_pymongo_collection().update_many(place, {"$set": nothing})

    @operation
    async def withdraw(self, approval_ids: Collection[str], *, owner: str) -> None:
        """Ends the waiting of those that still wait, without a decision."""
        place = {"_id": {"$in": list(approval_ids)}, "owner": owner, "status": "waiting"}
        change = {"$set": {"status": "withdrawn", "decided_at": datetime.now(UTC)}}
        await self._documents.approvals.get_pymongo_collection().update_many(place, change)

    @operation
    async def move(self, approval_ids: Collection[str], response_id: str, *, owner: str) -> None:
        """Lets those that still wait continue after another response: the one in which their code waits again."""
        place = {"_id": {"$in": list(approval_ids)}, "owner": owner, "status": "waiting"}
        change = {"$set": {"response_id": response_id}}
        await self._documents.approvals.get_pymongo_collection().update_many(place, change)

    @operation
    async def answer(
        self, call_ids: Collection[str], given: Collection[str], *, owner: str, conversation_id: str, response_id: str
    ) -> None:
        """Ends the waiting of these calls of a client's functions in a conversation.

        The response with this id has brought values for those in `given`; the user went on without the others.
        """
        now, collection = datetime.now(UTC), self._documents.approvals.get_pymongo_collection()
        place = {"conversation_id": conversation_id, "owner": owner, "kind": "function", "status": "waiting"}
        for ids, status in (
            ([each for each in call_ids if each in given], "answered"),
            ([each for each in call_ids if each not in given], "withdrawn"),
        ):
            change: dict[str, Any] = {"status": status, "decided_at": now}
            if status == "answered":
                change["decision_id"] = response_id
            if ids:
                await collection.update_many(place | {"call_id": {"$in": ids}}, {"$set": change})

    async def _find(self, approval_id: str, owner: str) -> "ApprovalDocument":
        document = await self._documents.approvals.find_one({"_id": approval_id, "owner": owner})
        if document is None:
            raise no_approval(approval_id)
        return document

    async def _is_lost(self, approval: "ApprovalDocument") -> bool:
        """Whether its decision was made by a server that died before it stored the response."""
        if approval.decision_id is None or approval.decided_at is None:
            return False
        if datetime.now(UTC) - approval.decided_at < LOST_AFTER:
            return False
        responses = self._documents.responses.get_pymongo_collection()
        return await responses.find_one({"_id": approval.decision_id}, {"_id": 1}) is None
