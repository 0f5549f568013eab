"""Finds conversations page by page, and stores what their owners change.

Lists are ordered by the last activity, newest first unless asked otherwise. An index serves each of them.
"""

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from operator import methodcaller
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from codeact.errors import InvalidRequest, StoreUnavailable
from codeact.events import ConversationRef
from codeact.ids import new_id
from codeact.store.database.operation import Operations, operation
from codeact.store.missing import no_conversation
from codeact.store.records import Conversation, StoredResponse
from codeact.store.search.query import Cursor, HistoryQuery, Term, terms, times
from codeact.store.search.search_fields import VERSION
from sandbox_pool.logs import Logger

if TYPE_CHECKING:
    from codeact.store.documents.conversations import ConversationDocument
    from codeact.store.documents.documents import Documents

__all__ = ["MOST_SKIPPED", "History", "Page", "Sum", "leading_term"]

log = Logger(__name__)

COUNTED = 2_000
"""A term that at least this many conversations match is common: counting stops there."""

MOST_SKIPPED = 2_000
Sum = Literal["tokens", "cost", "duration"]
SUMS: Mapping[Sum, str] = {"tokens": "facets.tokens", "cost": "facets.cost_usd", "duration": "facets.duration_s"}

ASKED = {"$or": [{"facets.responses": {"$gt": 0}}, {"title": {"$gt": ""}}]}
MOST_TAGS, TAG_CHARS, TITLE_CHARS, FOLDER_CHARS = 20, 50, 200, 60
BATCH = 100


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list. `next` continues after its last conversation; None if nothing follows."""

    conversations: list[Conversation]
    next: str | None


class History:
    """The part of `Store` that lists and edits conversations."""

    def __init__(self, documents: "Documents", operations: Operations) -> None:
        self._documents = documents
        self._conversations = documents.conversations
        self._operations = operations

    # ---- reading -------------------------------------------------------------------------------------

    @operation
    async def find(
        self,
        query: HistoryQuery,
        *,
        owner: str | None,
        after: str | None = None,
        limit: int = 20,
        order: Literal["asc", "desc"] = "desc",
        asked: bool = False,
    ) -> Page:
        """Finds one page. `owner` None: all, for operators. `after`: the `next` of a page, or a conversation's id.

        `asked`: without conversations in which nobody has asked anything, such as those of pages that were only opened.
        """
        scope = {} if owner is None else {"owner": owner}
        search_terms = terms(query)
        leading = await self._leading(search_terms, scope)
        conditions = [*times(query), *(term.found if term is leading else term.checked for term in search_terms)]
        conditions += [ASKED] if asked else []
        if after is not None:
            conditions.append((await self._cursor(after, scope)).beyond(newest_first=order == "desc"))
        place: dict[str, Any] = {**scope, "deleted": False, **({"$and": conditions} if conditions else {})}
        direction = -1 if order == "desc" else 1
        found = await (
            self._conversations.find(place, hint=_index(leading, scope))
            .sort([("updated_at", direction), ("_id", direction)])  # type: ignore[list-item]
            .limit(limit + 1)
            .to_list()
        )
        page = found[:limit]
        last = Cursor(page[-1].updated_at, page[-1].id) if len(found) > limit else None
        return Page([document.record() for document in page], str(last) if last is not None else None)

    @operation
    async def largest(
        self, query: HistoryQuery, by: Sum, *, owner: str | None, skip: int = 0, limit: int = 20, asked: bool = False
    ) -> list[Conversation]:
        """Like `find`, but the conversations with the largest sums come first; `skip` is at most 2,000."""
        if not 0 <= skip <= MOST_SKIPPED:
            raise InvalidRequest(f"'skip' must be 0 to {MOST_SKIPPED}; add a filter to see others.", param="skip")
        scope = {} if owner is None else {"owner": owner}
        search_terms = terms(query)
        counted = [(await self._count(term, scope), term) for term in search_terms if term.wanted]
        count, rarest = min(counted, key=lambda pair: pair[0], default=(COUNTED, None))
        leading = rarest if count < COUNTED else None
        conditions = [*times(query), *(term.found if term is leading else term.checked for term in search_terms)]
        conditions += [ASKED] if asked else []
        place: dict[str, Any] = {**scope, "deleted": False, **({"$and": conditions} if conditions else {})}
        index = _index(leading, scope) if leading is not None else f"{'owner' if scope else 'all'}_{by}"
        found = self._conversations.find(place, hint=index)
        # The index of this sum, read backwards.
        ordered = found.sort([(SUMS[by], -1), ("updated_at", 1), ("_id", 1)])  # type: ignore[list-item]
        return [document.record() for document in await ordered.skip(skip).limit(limit).to_list()]

    @operation
    async def get(self, conversation_id: str) -> Conversation:
        """Finds the conversation whoever owns it; for operators. Raises `NotFound`."""
        found = await self._conversations.find_one({"_id": conversation_id, "deleted": False})
        return _found(found, conversation_id).record()

    @operation
    async def answers(self, conversation_id: str, *, owner: str, skip: int, limit: int) -> list[StoredResponse]:
        """A part of what `responses` returns."""
        await self._existing(conversation_id, owner)
        return await self._stored(conversation_id, skip=skip, limit=limit)

    @operation
    async def responses(self, conversation_id: str, *, owner: str) -> list[StoredResponse]:
        """All responses of the conversation, of every branch, in the order in which they began."""
        await self._existing(conversation_id, owner)
        return await self._stored(conversation_id)

    # ---- changing ------------------------------------------------------------------------------------

    @operation
    async def edit(
        self,
        conversation_id: str,
        *,
        owner: str,
        title: str | None = None,
        pinned: bool | None = None,
        tags: Sequence[str] | None = None,
        folder: str | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> Conversation:
        """Changes the fields that are not None. The search finds the words of a new title too.

        An empty `folder` takes the conversation out of its folder; `settings` replace the earlier ones.
        """
        title = " ".join(title.split()) if title is not None else None
        if title is not None and not 0 < len(title) <= TITLE_CHARS:
            raise InvalidRequest(f"'title' must have 1 to {TITLE_CHARS} characters.", param="title")
        if tags is not None and (len(tags) > MOST_TAGS or not all(0 < len(tag) <= TAG_CHARS for tag in tags)):
            raise InvalidRequest(
                f"'tags' takes at most {MOST_TAGS}, each of 1 to {TAG_CHARS} characters.", param="tags"
            )

        folder = " ".join(folder.split()) if folder is not None else None
        if folder is not None and len(folder) > FOLDER_CHARS:
            raise InvalidRequest(f"'folder' must have at most {FOLDER_CHARS} characters.", param="folder")

        def change(document: "ConversationDocument") -> None:
            if folder is not None:
                document.folder = folder or None
            if settings is not None:
                document.settings = {name: value for name, value in settings.items() if value}
            if title is not None:
                document.rename(title)
            if pinned is not None:
                document.pinned = pinned
            if tags is not None:
                document.tags = list(dict.fromkeys(tags))

        place = {"_id": conversation_id, "owner": owner, "deleted": False}
        return _found(await self._conversations.change(place, change), conversation_id).record()

    @operation
    async def delete(self, conversation_id: str, *, owner: str) -> None:
        """Hides the conversation at once. `restore` undoes it until `purge` removes the conversation. Idempotent."""
        change = methodcaller("mark_deleted")
        _found(await self._conversations.change({"_id": conversation_id, "owner": owner}, change), conversation_id)

    @operation
    async def restore(self, conversation_id: str, *, owner: str) -> Conversation:
        """Undoes `delete`. Raises `NotFound` once the conversation is purged."""
        place = {"_id": conversation_id, "owner": owner}
        _found(await self._conversations.change(place, methodcaller("mark_restored")), conversation_id)
        return _found(await self._rebuild(conversation_id), conversation_id).record()

    async def add(
        self, responses: Iterable[StoredResponse] | AsyncIterable[StoredResponse], *, owner: str, **about: Any
    ) -> Conversation:
        """Stores a conversation. `about`: `title`, `tags`, `metadata`, `created_at`, `last_response_id`, `container`.

        The responses must have new ids and come in the order in which they began; without `last_response_id`, the
        conversation goes on after the last of them. If this is interrupted, it leaves a deleted conversation. Raises
        `StoreError` for values that MongoDB cannot hold.
        """
        newest: str | None = None
        last_response_id = about.pop("last_response_id", ...)
        conversation_id = await self._begin_adding(owner=owner, **about)
        async for stored in responses if isinstance(responses, AsyncIterable) else _each(responses):
            newest = stored.response.id
            await self._add_response(stored, conversation_id, owner=owner)
        await self._end_adding(conversation_id, newest if last_response_id is ... else last_response_id)
        return await self.restore(conversation_id, owner=owner)

    @operation
    async def _begin_adding(
        self,
        *,
        owner: str,
        title: str | None,
        tags: Sequence[str],
        metadata: Mapping[str, str],
        created_at: float,
        container: Mapping[str, Any] | None = None,
    ) -> str:
        document = self._conversations.pack(
            new_id("conv"), owner=owner, created_at=created_at, metadata=metadata, container=container
        )
        document.title, document.tags = title, list(tags)
        document.updated_at = datetime.now(UTC)
        document.mark_deleted()
        await document.insert()
        return document.id

    @operation
    async def _end_adding(self, conversation_id: str, last_response_id: str | None) -> None:
        change = {"$set": {"last_response_id": last_response_id}}
        await self._conversations.get_pymongo_collection().update_one({"_id": conversation_id}, change)

    @operation
    async def _add_response(self, stored: StoredResponse, conversation_id: str, *, owner: str) -> None:
        response = msgspec.structs.replace(stored.response, conversation=ConversationRef(conversation_id))
        await self._documents.add(response, stored.input, owner=owner)

    # ---- facets --------------------------------------------------------------------------------------

    async def reindex(self, *, everything: bool = False) -> int:
        """Recomputes the search fields of conversations with an old `version`, or of all if `everything`.

        Also of those whose question was never stored, since its server died at that moment: they seem to be answering.
        Returns how many were rebuilt. It may run while the server works; after an interruption, the next call
        continues.
        """
        done = 0
        for find in (partial(self._unindexed, everything=everything), self._never_begun):
            last = ""
            while batch := await find(last):
                for conversation_id in batch:
                    done += await self._rebuilt(conversation_id)
                last = batch[-1]
        return done

    async def _rebuilt(self, conversation_id: str) -> bool:
        """Rebuilds one conversation; returns False and leaves it unchanged if it cannot be read."""
        try:
            await self.rebuild(conversation_id)
        except StoreUnavailable:
            raise
        except Exception:
            log.exception("conversation not indexed: it cannot be read", conversation=conversation_id)
            return False
        return True

    @operation
    async def rebuild(self, conversation_id: str) -> None:
        """Recomputes the search fields of one conversation, after one of its responses was removed or rated."""
        await self._rebuild(conversation_id)

    @operation
    async def _unindexed(self, last: str, *, everything: bool) -> list[str]:
        place = {"_id": {"$gt": last}} | ({} if everything else {"version": {"$ne": VERSION}})
        found = self._conversations.get_pymongo_collection().find(place, {"_id": 1}).sort("_id", 1).limit(BATCH)
        return [str(document["_id"]) async for document in found]

    @operation
    async def _never_begun(self, last: str) -> list[str]:
        """Conversations after `last` that seem to be answering a response that is not there."""
        seems_to_answer = {"labels": {"$in": ["status:queued", "status:in_progress"]}, "_id": {"$gt": last}}
        begun = {"from": "responses", "localField": "begun_id", "foreignField": "_id", "as": "begun"}
        stages: list[dict[str, Any]] = [
            {"$match": seems_to_answer},
            {"$sort": {"_id": 1}},
            {"$project": {"begun_id": 1}},
            {"$lookup": begun | {"pipeline": [{"$project": {"_id": 1}}]}},
            {"$match": {"begun": []}},
            {"$limit": BATCH},
        ]
        found = await self._conversations.get_pymongo_collection().aggregate(stages)
        return [str(document["_id"]) async for document in found]

    async def _rebuild(self, conversation_id: str) -> "ConversationDocument | None":
        place = {"_id": conversation_id}
        while (before := await self._conversations.get_pymongo_collection().find_one(place)) is not None:
            stored = await self._stored(conversation_id)
            same = {**place, "revision": before.get("revision")}
            if (after := await self._conversations.change(same, methodcaller("rebuild", stored))) is not None:
                return after
        return None

    # ---- inside --------------------------------------------------------------------------------------

    async def _existing(self, conversation_id: str, owner: str) -> "ConversationDocument":
        place = {"_id": conversation_id, "owner": owner, "deleted": False}
        return _found(await self._conversations.find_one(place), conversation_id)

    async def _stored(self, conversation_id: str, *, skip: int = 0, limit: int = 0) -> list[StoredResponse]:
        place = {"response.conversation.id": conversation_id, "deleted": {"$ne": True}}
        found = self._documents.responses.find(place).sort("_id").skip(skip).limit(limit)
        return await self._documents.with_items(await found.to_list())

    async def _cursor(self, after: str, scope: dict[str, Any]) -> Cursor:
        if not after.startswith("conv_"):
            return Cursor.read(after)
        document = _found(await self._conversations.find_one({"_id": after, **scope}), after, param="after")
        return Cursor(document.updated_at, document.id)

    async def _leading(self, search_terms: Sequence[Term], scope: dict[str, Any]) -> Term | None:
        wanted = [term for term in search_terms if term.wanted]
        if len(wanted) == 1 and wanted[0].ordered:
            return wanted[0]
        return leading_term([(term, await self._count(term, scope)) for term in wanted])

    async def _count(self, term: Term, scope: dict[str, Any]) -> int:
        collection = self._conversations.get_pymongo_collection()
        return await collection.count_documents({**scope, **term.found}, limit=COUNTED, hint=_index(term, scope))


def leading_term(counted: Sequence[tuple[Term, int]]) -> Term | None:
    """Chooses the term whose index to use, from the counts of all terms (at most `COUNTED`); None: the list of all.

    An index in the list's order gives the first page at once, however common its term is. A common term without such an
    index is found quickly in the list of all.
    """
    if rare := [(count, term) for term, count in counted if count < COUNTED]:
        return min(rare, key=lambda pair: pair[0])[1]
    return next((term for term, _ in counted if term.ordered), None)


def _index(term: Term | None, scope: dict[str, Any]) -> str:
    return f"{'owner' if scope else 'all'}_{term.index if term is not None else 'latest'}"


def _found(
    document: "ConversationDocument | None", conversation_id: str, *, param: str = "conversation"
) -> "ConversationDocument":
    if document is None:
        raise no_conversation(conversation_id, param=param)
    return document


async def _each(responses: Iterable[StoredResponse]) -> AsyncIterator[StoredResponse]:
    for one in responses:
        yield one
