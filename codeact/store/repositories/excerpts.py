"""Finds where conversations have the words of a query, and returns the text around the first such place."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from codeact.concurrency.slices import Slices
from codeact.store.database.operation import Operations, operation
from codeact.store.search.query import beginnings
from codeact.store.search.search_terms import place_of

if TYPE_CHECKING:
    from codeact.store.documents.documents import Documents

__all__ = ["Excerpts"]

MOST_RESPONSES = 400
"""Of all conversations together, the newest ones."""
MOST_ITEMS = 1_600
TEXT_CHARS = 4_000
"""How much of each text is searched."""
BEFORE_CHARS, AFTER_CHARS = 40, 100


class Excerpts:
    """The part of `Store` that shows why a search found a conversation."""

    def __init__(self, documents: "Documents", operations: Operations) -> None:
        self._documents = documents
        self._operations = operations

    @operation
    async def find(self, conversation_ids: Sequence[str], query: str, *, owner: str | None) -> dict[str, str]:
        """Returns a line of text for each conversation in which it finds a word of the query, newest texts first.

        `owner` None: whoever owns the conversations, for operators. A conversation is missing in the result if only
        its title has the words, or if they stand beyond the bounds of this search.
        """
        words, slices = beginnings(query), Slices()
        found: dict[str, str] = {}
        if not words:
            return found
        async for conversation_id, text in self._texts(conversation_ids, owner):
            if conversation_id not in found and (place := place_of(text, words)) is not None:
                found[conversation_id] = _around(text, *place)
            await slices.pause()
        return found

    async def _texts(self, conversation_ids: Sequence[str], owner: str | None) -> AsyncIterator[tuple[str, str]]:
        """Yields the ids of conversations with texts that were said in them: first what users said, then answers."""
        place: dict[str, Any] = {"response.conversation.id": {"$in": list(conversation_ids)}}
        if owner is not None:
            place["owner"] = owner
        fields = {"conversation": "$response.conversation.id", "texts": _texts_of_all("$input")}
        conversations: dict[str, str] = {}
        responses = self._documents.responses.get_pymongo_collection()
        stages: list[dict[str, Any]] = [
            {"$match": place},
            {"$sort": {"_id": -1}},
            {"$limit": MOST_RESPONSES},
            {"$project": fields},
        ]
        async for one in await responses.aggregate(stages):
            conversations[str(one["_id"])] = str(one["conversation"])
            for text in _strings(one["texts"]):
                yield str(one["conversation"]), text
        items = self._documents.items.get_pymongo_collection()
        stages = [
            {"$match": {"response_id": {"$in": list(conversations)}}},
            {"$sort": {"response_id": -1, "output_index": -1}},
            {"$limit": MOST_ITEMS},
            {"$project": {"response_id": 1, "code": _beginning("$item.code"), "texts": _texts_of("$item.content")}},
        ]
        async for one in await items.aggregate(stages):
            for text in _strings([*_strings(one["texts"]), one["code"]]):
                yield conversations[str(one["response_id"])], text


def _texts_of(content: str) -> Mapping[str, Any]:
    """An expression for the beginnings of the texts of the parts in `content`; null for a part without one."""
    return {
        "$cond": [
            {"$eq": [{"$type": content}, "array"]},
            {"$map": {"input": content, "as": "part", "in": _beginning("$$part.text")}},
            [],
        ]
    }


def _beginning(path: str) -> Mapping[str, Any]:
    return {"$cond": [{"$eq": [{"$type": path}, "string"]}, {"$substrCP": [path, 0, TEXT_CHARS]}, None]}


def _texts_of_all(items: str) -> Mapping[str, Any]:
    """An expression for the texts of all messages in `items`, as a flat list."""
    lists = {"$map": {"input": items, "as": "item", "in": _texts_of("$$item.content")}}
    return {"$reduce": {"input": lists, "initialValue": [], "in": {"$concatArrays": ["$$value", "$$this"]}}}


def _strings(values: Sequence[Any]) -> list[str]:
    return [value for value in values if isinstance(value, str)]


def _around(text: str, start: int, end: int) -> str:
    """One line with the place in it; an ellipsis stands where the text goes on."""
    first, last = max(0, start - BEFORE_CHARS), min(len(text), end + AFTER_CHARS)
    words = " ".join(text[first:last].split())
    return f"{'…' if first else ''}{words}{'…' if last < len(text) else ''}"
