"""Copies a branch of a conversation into a new conversation of the same owner, with the states of its kernel."""

import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
from itertools import count
from typing import Any

import anyio
import msgspec

from codeact.errors import InvalidRequest
from codeact.exports.archive_form import ArchivedResponse
from codeact.exports.archive_ids import Renewal
from codeact.store import Conversation, Store, StoredResponse

__all__ = ["fork", "stored_copy"]

MOST_RESPONSES = 1_000
AT_ONCE = 10
"""How many responses of the branch are in memory at a time."""


async def fork(store: Store, conversation_id: str, response_id: str | None, *, owner: str) -> Conversation:
    """Copies the branch that ends with `response_id` (None: the latest); every id of the copy is new.

    The copy continues with the variables and files that were stored after that response, in a sandbox of its own.
    Raises `NotFound`, and `InvalidRequest` if the response is in another conversation, is still under way, or has too
    many before it. If it is interrupted, it leaves a deleted conversation.
    """
    source = await store.get_conversation(conversation_id, owner=owner)
    last_id = response_id or source.last_response_id
    if last_id is None:
        raise InvalidRequest("The conversation has no answer yet that could be copied.", param="conversation")
    at = await store.threads.of_response(last_id, owner=owner)
    if at.conversation_id != conversation_id or at.previous is None:
        raise InvalidRequest(f"'{last_id}' is not in this conversation.", param="response_id")
    chain = await store.threads.chain(at.previous)
    if len(chain) > MOST_RESPONSES:
        raise InvalidRequest(f"More than {MOST_RESPONSES:,} answers cannot be copied.", param="response_id")
    if (await store.get_response(last_id, owner=owner)).response.status in ("queued", "in_progress"):
        raise InvalidRequest(f"'{last_id}' is under way; copy it when it has ended.", param="response_id")
    renewal = Renewal()
    copy = await stored_copy(
        store,
        _branch(store, chain, owner),
        renewal,
        owner=owner,
        title=source.title,
        tags=source.tags,
        metadata=source.metadata,
        created_at=source.created_at,
        container=source.container,
    )
    for key in await store.checkpoints.keys_of(conversation_id, owner=owner):
        record = await store.checkpoints.get(key.id, owner=owner) if key.response_id in chain else None
        if record is not None:
            new_response_id = renewal.response_id(record.response_id)
            await store.checkpoints.copy(record, conversation_id=copy.id, response_id=new_response_id)
    return copy


async def _branch(store: Store, chain: Sequence[str], owner: str) -> AsyncIterator[StoredResponse]:
    for at in range(0, len(chain), AT_ONCE):
        for stored in await store.some(chain[at : at + AT_ONCE], owner=owner):
            yield stored


async def stored_copy(
    store: Store,
    branch: Iterable[StoredResponse] | AsyncIterable[StoredResponse],
    renewal: Renewal,
    *,
    owner: str,
    title: str | None,
    tags: Sequence[str] = (),
    metadata: Mapping[str, str] | None = None,
    created_at: float | None = None,
    container: Mapping[str, Any] | None = None,
) -> Conversation:
    """Stores a branch, oldest response first, as a new conversation of this owner, with the ids of `renewal`.

    `container` are the options of its sandboxes.
    It changes the responses. Raises `InvalidRequest` for values that cannot be stored.
    """
    numbers = count()

    async def renewed(stored: StoredResponse) -> StoredResponse:
        one = ArchivedResponse(stored.response, stored.input)
        renewal.apply(next(numbers), one)
        copy = StoredResponse(one.response, one.input)
        await store.stored.add(owner, len(msgspec.json.encode(copy)))
        return copy

    async def copies() -> AsyncIterator[StoredResponse]:
        if isinstance(branch, AsyncIterable):
            async for stored in branch:
                yield await renewed(stored)
            return
        for stored in branch:
            yield await renewed(stored)
            await anyio.lowlevel.checkpoint()

    return await store.history.add(
        copies(),
        owner=owner,
        title=title,
        tags=tags,
        metadata=metadata or {},
        created_at=time.time() if created_at is None else created_at,
        container=container or {},
    )
