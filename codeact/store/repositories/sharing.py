"""Stores feedback on answers and shared links, and reads them for those who may see them."""

import secrets
from collections.abc import Collection
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from codeact.concurrency.slices import Slices
from codeact.errors import NotFound
from codeact.store.database.operation import Operations, operation
from codeact.store.documents.schema import FIELD, SHARE
from codeact.store.missing import no_response
from codeact.store.records import Feedback, Share, StoredResponse

if TYPE_CHECKING:
    from codeact.store.documents.documents import Documents

__all__ = ["Sharing"]

TOKEN_BYTES = 24
BATCH = 100
"""How many comments the driver decodes at a time."""


class Sharing:
    """The part of `Store` with feedback and shared links."""

    def __init__(self, documents: "Documents", operations: Operations) -> None:
        self._documents = documents
        self._feedback = documents.feedback
        self._shares = documents.shares
        self._operations = operations

    # ---- feedback ------------------------------------------------------------------------------------

    @operation
    async def rate(
        self, response_id: str, rating: Literal["up", "down"] | None, comment: str | None, *, owner: str
    ) -> Feedback | None:
        """Stores the owner's rating of a response, replacing an earlier one; None removes it."""
        place = {"_id": response_id, "owner": owner, "deleted": {"$ne": True}}
        document = await self._documents.responses.find_one(place)
        conversation = document.response["conversation"] if document is not None else None
        if conversation is None:
            raise no_response(response_id)
        feedback = None
        if rating is None:
            await self._feedback.find({"_id": response_id}).delete()
        else:
            feedback = self._feedback(
                id=response_id,
                owner=owner,
                conversation_id=conversation["id"],
                rating=rating,
                comment=comment,
                created_at=datetime.now(UTC),
            )
            await feedback.save()
        feedback_of_all = self._feedback.get_pymongo_collection()
        ratings = sorted(await feedback_of_all.distinct("rating", {"conversation_id": conversation["id"]}))
        await self._documents.conversations.change(
            {"_id": conversation["id"]}, lambda document: setattr(document, "ratings", ratings)
        )
        return feedback.record() if feedback is not None else None

    @operation
    async def feedback_of(self, conversation_id: str, *, owner: str) -> list[Feedback]:
        """The feedback on the answers of one conversation, in their order."""
        slices = Slices()
        found: list[Feedback] = []
        place = {"conversation_id": conversation_id, "owner": owner}
        async for document in self._feedback.find(place, batch_size=BATCH).sort("_id"):
            found.append(document.record())
            await slices.pause()
        return found

    @operation
    async def latest_feedback(
        self, *, owner: str | None, limit: int, before: tuple[float, str] | None = None
    ) -> list[Feedback]:
        """The newest feedback first; `owner` None: of all owners.

        `before` is time and id of the previous page's last one.
        """
        place = {} if owner is None else {"owner": owner}
        if before is not None:
            time, response_id = datetime.fromtimestamp(before[0], UTC), before[1]
            earlier = [{"created_at": {"$lt": time}}, {"created_at": time, "_id": {"$lt": response_id}}]
            place |= {"created_at": {"$lte": time}, "$or": earlier}  # type: ignore[dict-item]
        found = self._feedback.find(place).sort("-created_at", "-_id").limit(limit)
        return [document.record() for document in await found.to_list()]

    # ---- shares --------------------------------------------------------------------------------------

    @operation
    async def share(
        self, conversation_id: str, thread: list[StoredResponse], *, images: Collection[str], owner: str
    ) -> Share:
        """Shares the conversation up to the last response of `thread`. Sharing again keeps the token.

        The caller must have checked the owner of `thread`. `images` are the SHA-256 sums of all images that the link
        may show.
        """
        shown = sorted(images)
        values = {
            "response_id": thread[-1].response.id,
            "blobs": shown,
            "images": shown,
            "owner": owner,
            FIELD: SHARE.version,
        }
        first = {"_id": secrets.token_urlsafe(TOKEN_BYTES), "created_at": datetime.now(UTC)}
        await self._shares.get_pymongo_collection().update_one(
            {"conversation_id": conversation_id}, {"$set": values, "$setOnInsert": first}, upsert=True
        )
        return await self._share({"conversation_id": conversation_id})

    @operation
    async def share_of(self, conversation_id: str, *, owner: str) -> Share:
        """The conversation's share. Raises `NotFound` if it is not shared."""
        return await self._share({"conversation_id": conversation_id, "owner": owner})

    @operation
    async def shared(self, token: str) -> Share:
        """Finds a share by its token.

        Raises `NotFound`, also while its conversation is deleted or its owner's account is disabled.
        """
        share = await self._share({"_id": token})
        place = {"_id": share.conversation_id, "deleted": False}
        is_there = await self._documents.conversations.find_one(place) is not None
        if not is_there or await self._documents.is_disabled(share.owner):
            raise NotFound("There is no such share.", param="token")
        return share

    @operation
    async def revoke(self, conversation_id: str, *, owner: str) -> None:
        """Disables the link; sharing again makes a new one. Idempotent."""
        await self._shares.find({"conversation_id": conversation_id, "owner": owner}).delete()

    async def _share(self, place: dict[str, str]) -> Share:
        document = await self._shares.find_one(place)
        if document is None:
            raise NotFound("There is no such share.", param="token")
        return document.record()
