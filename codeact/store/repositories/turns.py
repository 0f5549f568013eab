"""Reads long conversations in batches of responses, or in pages of items."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from codeact.errors import InvalidRequest, NotFound
from codeact.events import Input, Item, Response
from codeact.store.checkpoint_record import CheckpointKey
from codeact.store.database.operation import Operations, operation
from codeact.store.documents.reading import read_input
from codeact.store.documents.schema import CONVERSATION, FIELD
from codeact.store.missing import no_conversation
from codeact.store.records import StoredResponse

if TYPE_CHECKING:
    from codeact.store.documents.documents import Documents

__all__ = ["BATCH", "Turns"]

BATCH = 4
"""How many responses are in memory at a time. One has at most about 20 MB, usually a few KB."""

Order = Literal["asc", "desc"]


class Turns:
    """The part of `Store` that reads long conversations.

    Its memory use does not grow with a conversation, except for ids.
    """

    def __init__(self, documents: "Documents", operations: Operations) -> None:
        self._documents = documents
        self._operations = operations

    async def stream(self, conversation_id: str, *, owner: str) -> AsyncIterator[StoredResponse]:
        """All responses of the conversation, of every branch, in the order in which they began.

        Raises `NotFound` before it returns. Omits what is deleted while it is read.
        """
        return self._batches(await self._ids(conversation_id, owner))

    async def items(
        self,
        conversation_id: str,
        *,
        owner: str,
        after: str | None,
        limit: int,
        order: Order,
        checkpoints: Mapping[str, CheckpointKey] = MappingProxyType({}),
        shown: Callable[[Response, Item], Item | None] = lambda response, item: item,
    ) -> tuple[list[Input | Item | CheckpointKey], bool]:
        """One page of the latest branch's items, followed by the waiting ones, and whether more follows.

        `after` is an item's id. Of `checkpoints`, each follows the items of the response that is its key. `shown`
        returns each item of a response's output as the list has it, with the same id, or None if it has not; `after`
        may be one that is not in the list. Raises `NotFound`, and `InvalidRequest` if the conversation has no item
        `after`.
        """
        chain, waiting = await self._branch(conversation_id, owner)
        direction = 1 if order == "asc" else -1
        places: list[str | None] = [*chain, None][::direction]  # None stands for the waiting items.
        if after is not None:
            of_checkpoint = (name for name in chain if name in checkpoints and checkpoints[name].id == after)
            place_of_after = next(of_checkpoint, None)
            if place_of_after is None and not any(item.id == after for item in waiting):
                place_of_after = await self._holder(chain, after)
            places = places[places.index(place_of_after) :]
        page: list[Input | Item | CheckpointKey] = []
        while places and len(page) <= limit:
            batch, places = places[:BATCH], places[BATCH:]
            stored = {one.response.id: one for one in await self._read([each for each in batch if each is not None])}
            for place in batch:
                one = stored.get(place or "")
                items: list[Input | Item | CheckpointKey] = [*waiting] if place is None else []
                hidden: set[str] = set()
                if place is not None and one is not None:
                    output = [(item, shown(one.response, item)) for item in one.response.output]
                    hidden = {item.id for item, as_listed in output if as_listed is None}
                    items = [*one.input, *(as_listed or item for item, as_listed in output)]
                    items += [checkpoints[place]] if place in checkpoints else []
                items = items[::direction]
                ids = [item.id for item in items]
                if after in ids:
                    del items[: ids.index(after) + 1]
                    after = None
                page += [item for item in items if item.id not in hidden]
        return page[:limit], len(page) > limit

    async def item(self, conversation_id: str, item_id: str, *, owner: str) -> Input | Item:
        """One item of the latest branch, or a waiting one. Raises `NotFound`."""
        chain, waiting = await self._branch(conversation_id, owner)
        found = next((item for item in waiting if item.id == item_id), None) or await self._input_item(chain, item_id)
        if found is not None:
            return found
        raise NotFound(f"There is no item '{item_id}' in this conversation.", param="item_id")

    async def response_of(self, conversation_id: str, item_id: str, *, owner: str) -> str:
        """The id of the latest branch's response that has the item. Raises `NotFound`, and `InvalidRequest`."""
        chain, _ = await self._branch(conversation_id, owner)
        return await self._holder(chain, item_id)

    # ---- inside --------------------------------------------------------------------------------------

    async def _batches(self, ids: Sequence[str]) -> AsyncIterator[StoredResponse]:
        for start in range(0, len(ids), BATCH):
            for stored in await self._read(ids[start : start + BATCH]):
                yield stored

    @operation
    async def _ids(self, conversation_id: str, owner: str) -> list[str]:
        await self._existing(conversation_id, owner)
        place = {"response.conversation.id": conversation_id}
        found = self._documents.responses.get_pymongo_collection().find(place, {"_id": 1}).sort("_id", 1)
        return [str(each["_id"]) async for each in found]

    @operation
    async def _branch(self, conversation_id: str, owner: str) -> tuple[list[str], list[Input | Item]]:
        """The ids of the latest branch's responses, oldest first, and the waiting items."""
        found = await self._existing(conversation_id, owner)
        waiting = read_input(found.get("pending", []))
        last_id = found.get("last_response_id")
        link = await self._documents.responses.link(last_id, owner=owner) if last_id is not None else None
        return await self._documents.responses.ancestors(link) if link is not None else [], [*waiting]

    @operation
    async def _read(self, ids: Sequence[str]) -> list[StoredResponse]:
        place = {"_id": {"$in": list(ids)}, "deleted": {"$ne": True}}
        found = {document.id: document async for document in self._documents.responses.find(place)}
        return await self._documents.with_items([found[each] for each in ids if each in found])

    @operation
    async def _input_item(self, chain: Sequence[str], item_id: str) -> Input | Item | None:
        """Finds the item in the outputs or inputs of these responses, without reading the others."""
        responses = self._documents.responses.get_pymongo_collection()
        output = await self._documents.items.find_one({"_id": item_id, "response_id": {"$in": list(chain)}})
        if output is not None:
            counts = {"_id": output.response_id, "deleted": {"$ne": True}, "adopted": {"$not": {"$gt": output.epoch}}}
            return output.read() if await responses.find_one(counts, {"_id": 1}) is not None else None
        of_input = {"_id": {"$in": list(chain)}, "deleted": {"$ne": True}, "input.id": item_id}
        found = await responses.find_one(of_input, {"input": {"$elemMatch": {"id": item_id}}, FIELD: 1})
        if found is None:
            return None
        return next(iter(read_input(self._documents.responses.readable(found).get("input", []))), None)

    @operation
    async def _holder(self, chain: Sequence[str], item_id: str) -> str:
        """The id of the response whose input or output contains the item. Raises `InvalidRequest`."""
        of_output = {"_id": item_id, "response_id": {"$in": list(chain)}}
        found = await self._documents.items.get_pymongo_collection().find_one(of_output, {"response_id": 1})
        if found is not None:
            return str(found["response_id"])
        of_input = {"_id": {"$in": list(chain)}, "input.id": item_id}
        found = await self._documents.responses.get_pymongo_collection().find_one(of_input, {"_id": 1})
        if found is None:
            raise InvalidRequest(f"'{item_id}' is not in this list.", param="after")
        return str(found["_id"])

    async def _existing(self, conversation_id: str, owner: str) -> dict[str, Any]:
        place = {"_id": conversation_id, "owner": owner, "deleted": False}
        fields = {"pending": 1, "last_response_id": 1, FIELD: 1}
        found = await self._documents.conversations.get_pymongo_collection().find_one(place, fields)
        if found is None:
            raise no_conversation(conversation_id)
        return CONVERSATION.upgrade(found)
