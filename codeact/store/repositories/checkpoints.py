"""Stores checkpoints: the state of a conversation's kernel and files after a response, as a manifest and blobs."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from codeact.errors import NotFound
from codeact.ids import new_id
from codeact.store.checkpoint_record import STATE_TYPE, CheckpointKey, CheckpointRecord
from codeact.store.database.operation import Operations, operation
from codeact.store.documents.schema import BLOB, FIELD
from codeact.store.repositories.stored_bytes import StoredBytes
from codeact.store.values import time_of

if TYPE_CHECKING:
    from codeact.store.documents.checkpoints import CheckpointDocument
    from codeact.store.documents.documents import Documents

__all__ = ["Checkpoints"]

MOST_BLOCKS = 200
MOST_BEFORE = 8
"""How many checkpoints before blocks that wait a conversation keeps, beside the others."""
OF_RESPONSES = {"before": None}
"""The checkpoints after responses: those before blocks of code serve these blocks alone."""


class Checkpoints:
    """The part of `Store` with checkpoints. The guarantees of `Store` hold here too."""

    def __init__(self, documents: "Documents", operations: Operations, stored: StoredBytes) -> None:
        self._documents = documents
        self._checkpoints = documents.checkpoints
        self._operations = operations
        self._stored = stored

    @operation
    async def begin(self, record: CheckpointRecord) -> None:
        """Announces a checkpoint whose parts are stored next. Nobody reads it before `complete`. May be repeated."""
        fields = asdict(record) | {"created_at": time_of(record.created_at)}
        fields |= {"parts": list(record.parts), "placed": [list(each) for each in record.placed]}
        await self._documents.insert(self._checkpoints(**fields))

    @operation
    async def put_parts(self, checkpoint_id: str, parts: Mapping[str, bytes], *, owner: str) -> None:
        """Stores parts of a checkpoint that has begun, by their SHA-256, each at most once. May be repeated.

        Raises `NotFound` if the checkpoint has been removed meanwhile, with its conversation for example.
        """
        from pymongo import UpdateOne

        # The checkpoint names them before they are there, so that nobody removes them as unused.
        checkpoints = self._checkpoints.get_pymongo_collection()
        named = await checkpoints.update_one({"_id": checkpoint_id}, {"$push": {"parts": {"$each": list(parts)}}})
        if not named.matched_count:
            raise _removed(checkpoint_id)
        first = {"part": 0, "parts": 1, "media_type": STATE_TYPE, FIELD: BLOB.version}
        puts = [
            UpdateOne(
                {"owner": owner, "sha256": sha256, "part": 0},
                {
                    "$setOnInsert": {"data": content} | {name: first[name] for name in first if name != "part"},
                    "$unset": {"unused_at": ""},
                },
                upsert=True,
            )
            for sha256, content in parts.items()
        ]
        put = await self._documents.blobs.get_pymongo_collection().bulk_write(puts, ordered=False)
        sizes = [len(content) for content in parts.values()]
        new_bytes = sum(sizes[number] for number in (put.upserted_ids or {}))
        if new_bytes:
            await self._stored.add_within(owner, new_bytes)

    @operation
    async def complete(self, record: CheckpointRecord) -> bool:
        """Makes a checkpoint valid, as the conversation's newest one, after its parts are stored. May be repeated.

        Returns False if a part that it shares with an earlier checkpoint is not stored any more. A checkpoint of a
        response that another server has taken over stays invalid. Raises `NotFound`, and keeps nothing, if the
        response was deleted meanwhile.
        """
        checkpoints, blobs = (each.get_pymongo_collection() for each in (self._checkpoints, self._documents.blobs))
        content = {"manifest": record.manifest, "parts": list(record.parts), "size_bytes": record.size_bytes}
        # It uses the parts from now on; only then is it certain that they stay.
        named = await checkpoints.update_one({"_id": record.id}, {"$set": content})
        if not named.matched_count:
            await self._documents.mark_parts_unused(record.owner, record.parts, but=record.id)
            raise _removed(record.id)
        place = {"owner": record.owner, "sha256": {"$in": list(record.parts)}, "part": 0}
        # Whoever has just found one of them unused deletes it only if it is still marked.
        await blobs.update_many(place | {"unused_at": {"$exists": True}}, {"$unset": {"unused_at": ""}})
        if await blobs.count_documents(place) < len(record.parts):
            return False
        is_newest = record.before is None
        await checkpoints.update_one({"_id": record.id}, {"$set": {"complete": True, "newest": is_newest}})
        if is_newest:
            earlier = {"conversation_id": record.conversation_id, "_id": {"$lt": record.id}, "newest": True}
            await checkpoints.update_many(earlier, {"$set": {"newest": False}})
        await self._stored.add_within(record.owner, len(record.manifest))
        if not await self._has_response(record):  # What has deleted it may not have found this checkpoint yet.
            await self._remove_by_id(record.id)
            raise _removed(record.id)
        return True

    @operation
    async def discard(self, checkpoint_id: str) -> None:
        """Removes a checkpoint that could not be completed. Idempotent."""
        await self._remove_by_id(checkpoint_id)

    async def _remove_by_id(self, checkpoint_id: str) -> None:
        if (document := await self._checkpoints.get(checkpoint_id)) is not None:
            await self._documents.remove_checkpoint(document)

    @operation
    async def of_responses(self, response_ids: Sequence[str], *, owner: str) -> CheckpointRecord | None:
        """The newest complete checkpoint of the last of these responses that has one; None if none has.

        `response_ids` is a chain, oldest first. Checkpoints of responses that were taken over do not count.
        """
        place = {"response_id": {"$in": list(response_ids)}, "owner": owner, "complete": True, **OF_RESPONSES}
        order = {response_id: number for number, response_id in enumerate(response_ids)}
        names = self._checkpoints.get_pymongo_collection().find(place, {"response_id": 1})
        found = [(order[one["response_id"]], one["_id"]) async for one in names]
        for _, checkpoint_id in sorted(found, reverse=True):
            document = await self._checkpoints.get(checkpoint_id)
            if document is not None and await self._counts(document):
                record: CheckpointRecord = document.record()
                return record
        return None

    @operation
    async def before(self, item_id: str, *, conversation_id: str, owner: str) -> CheckpointRecord | None:
        """The complete checkpoint of the state before the code of this item; None without one."""
        place = {"conversation_id": conversation_id, "owner": owner, "before": item_id, "complete": True}
        document = await self._checkpoints.find_one(place)
        return document.record() if document is not None and await self._counts(document) else None

    @operation
    async def forget_before(self, item_id: str, *, conversation_id: str, owner: str) -> None:
        """Removes the checkpoint before this item, if there is one: its code has ended. Idempotent."""
        place = {"conversation_id": conversation_id, "owner": owner, "before": item_id}
        async for document in self._checkpoints.find(place):
            await self._documents.remove_checkpoint(document)

    @operation
    async def newest(self, conversation_id: str, *, owner: str) -> CheckpointRecord | None:
        """The checkpoint of this conversation that was completed last; None without one."""
        place = {"conversation_id": conversation_id, "owner": owner, "complete": True, **OF_RESPONSES}
        async for document in self._checkpoints.find(place).sort("-_id"):
            if await self._counts(document):
                record: CheckpointRecord = document.record()
                return record
        return None

    @operation
    async def keys_of(self, conversation_id: str, *, owner: str) -> list[CheckpointKey]:
        """The complete checkpoints of this conversation, oldest first. Read one by one with `get`."""
        place = {"conversation_id": conversation_id, "owner": owner, "complete": True, **OF_RESPONSES}
        found = self._checkpoints.get_pymongo_collection().find(place, {"response_id": 1, "container_id": 1})
        return [CheckpointKey(one["_id"], one["response_id"], one["container_id"]) async for one in found.sort("_id")]

    @operation
    async def get(self, checkpoint_id: str, *, owner: str) -> CheckpointRecord | None:
        """A complete checkpoint; None if it was removed."""
        document = await self._checkpoints.find_one({"_id": checkpoint_id, "owner": owner, "complete": True})
        return document.record() if document is not None else None

    async def copy(self, record: CheckpointRecord, *, conversation_id: str, response_id: str) -> None:
        """Makes the checkpoint one of another conversation of the same owner, too. Its parts are shared."""
        copied = replace(record, id=new_id("ckpt"), conversation_id=conversation_id, response_id=response_id, epoch=0)
        await self.begin(copied)
        if not await self.complete(copied):
            await self.discard(copied.id)

    @operation
    async def codes(self, response_ids: Sequence[str], *, owner: str) -> list[tuple[str, str]]:
        """The latest 200 blocks of code of these responses, oldest first, each with the id of its response."""
        responses, items = self._documents.responses, self._documents.items.get_pymongo_collection()
        place: dict[str, Any] = {"_id": {"$in": list(response_ids)}, "owner": owner, "deleted": {"$ne": True}}
        adopted = {
            one["_id"]: one.get("adopted", 0)
            async for one in responses.get_pymongo_collection().find(place, {"adopted": 1})
        }
        place = {"response_id": {"$in": list(adopted)}, "item.type": "code_interpreter_call", "item.code": {"$gt": ""}}
        fields = {"response_id": 1, "item.code": 1, "epoch": 1}
        found = await items.find(place, fields, sort=[("_id", -1)], limit=MOST_BLOCKS).to_list()
        valid = [one for one in found if one.get("epoch", 0) >= adopted[one["response_id"]]]
        return [(one["response_id"], one["item"]["code"]) for one in reversed(valid)]

    @operation
    async def forget(self, conversation_id: str, *, owner: str) -> None:
        """Removes all checkpoints of a conversation. Idempotent."""
        async for document in self._checkpoints.find({"conversation_id": conversation_id, "owner": owner}):
            await self._documents.remove_checkpoint(document)

    @operation
    async def prune(self, conversation_id: str, *, keep: int) -> None:
        """Removes the conversation's oldest complete checkpoints, so that `keep` of them are left.

        Of those before blocks of code, the latest 8 are left.
        """
        async for document in self._older({"conversation_id": conversation_id, **OF_RESPONSES}, keep):
            await self._documents.remove_checkpoint(document)
        async for document in self._older({"conversation_id": conversation_id, "before": {"$ne": None}}, MOST_BEFORE):
            await self._documents.remove_checkpoint(document)

    async def expire(self, *, before: datetime, pending_before: datetime) -> int:
        """Removes checkpoints older than `before`, but never a conversation's newest; returns how many.

        Also removes those that were begun before `pending_before` and never completed.
        """
        expired = 0
        superseded = {"newest": False, "complete": True, "created_at": {"$lt": before}}
        pending = {"newest": False, "complete": False, "created_at": {"$lt": pending_before}}
        for place in (superseded, pending):
            while await self._expire_one(place):
                expired += 1
        return expired

    @operation
    async def _expire_one(self, place: dict[str, Any]) -> bool:
        document = await self._checkpoints.find_one(place)
        if document is not None:
            await self._documents.remove_checkpoint(document)
        return document is not None

    async def _older(self, place: dict[str, Any], keep: int) -> "AsyncIterator[CheckpointDocument]":
        async for document in self._checkpoints.find(place | {"complete": True}).sort("-_id").skip(keep):
            yield document

    async def _has_response(self, record: CheckpointRecord) -> bool:
        place = {"_id": record.response_id, "owner": record.owner, "deleted": {"$ne": True}}
        return await self._documents.responses.get_pymongo_collection().find_one(place, {"_id": 1}) is not None

    async def _counts(self, document: "CheckpointDocument") -> bool:
        """Whether its response exists, and no other server has taken that over since."""
        place = {"_id": document.response_id, "owner": document.owner}
        found = await self._documents.responses.get_pymongo_collection().find_one(place, {"epoch": 1})
        return found is not None and (found.get("epoch") or 0) == document.epoch


def _removed(checkpoint_id: str) -> NotFound:
    return NotFound(f"The checkpoint '{checkpoint_id}' was removed while it was taken.", param="checkpoint_id")
