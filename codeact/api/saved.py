"""Saves an agent's conversation as a notebook, or as the JSON that servers export and import; loads such JSON."""

from collections.abc import AsyncIterator, Sequence
from copy import deepcopy
from functools import partial

import anyio
import msgspec

from codeact.errors import NotFound
from codeact.exports import notebook
from codeact.exports.archive import archive_pieces, read_archive
from codeact.ids import new_id
from codeact.store import Store
from codeact.store.blobs import offload
from codeact.store.memory import MemoryStore
from codeact.store.records import Blob, Conversation, StoredResponse
from codeact.store.run_store import RunStore
from codeact.store.search.search_fields import SearchFields, blobs_in

__all__ = ["load_into", "saved", "thread_of", "written_notebook"]

Thread = Sequence[StoredResponse]


async def thread_of(store: RunStore, conversation_id: str, *, owner: str) -> list[StoredResponse]:
    """Returns the conversation's responses, up to the one that ended last. Raises `NotFound`."""
    at = await store.threads.of_conversation(conversation_id, owner=owner)
    if at.previous is None:
        return []
    if isinstance(store, Store):
        return await store.thread(at.previous.response_id, owner=owner)
    if isinstance(store, MemoryStore):
        return store.threads.ancestors(at.previous.response_id)
    raise TypeError(f"Conversations of a {type(store).__name__} can be continued, and not saved.")


async def saved(thread: Thread, store: RunStore, *, owner: str) -> bytes:
    """Returns the conversation as JSON. Images, files and long texts are stored as blobs and included."""
    put = partial(store.put_blob, owner=owner)
    small = [StoredResponse(deepcopy(each.response), each.input) for each in thread]
    for stored in small:
        for item in stored.response.output:
            await offload(item, put)
    blobs = blobs_in([item for stored in small for item in (*stored.input, *stored.response.output)])
    first = thread[0].response.created_at if thread else 0.0
    last_id = thread[-1].response.id if thread else None
    conversation = Conversation("", owner, first, first, {}, last_id, facets=SearchFields(blobs=blobs))

    async def get_blob(sha256: str) -> Blob | None:
        try:
            return await store.get_blob(sha256, owner=owner)
        except NotFound:
            return None

    async def responses() -> AsyncIterator[StoredResponse]:
        for each in small:
            yield each

    return b"".join([piece async for piece in archive_pieces(conversation, responses(), get_blob)])


async def load_into(store: RunStore, body: bytes, *, owner: str) -> str:
    """Stores a saved conversation with new ids; returns its id. Raises `InvalidRequest` for anything else."""
    archive = await anyio.to_thread.run_sync(read_archive, body)
    for blob in archive.blobs():
        await store.put_blob(blob.data, blob.media_type, owner=owner)
    responses = [StoredResponse(each.response, each.input) for each in archive.responses]
    if isinstance(store, MemoryStore):
        conversation_id = new_id("conv")
        store.threads.put(conversation_id, responses, owner=owner)
        return conversation_id
    if isinstance(store, Store):
        about = msgspec.structs.asdict(archive.conversation)
        return (await store.history.add(responses, owner=owner, **about)).id
    raise TypeError(f"A {type(store).__name__} takes no saved conversations.")


async def written_notebook(thread: Thread, store: RunStore, *, title: str, owner: str) -> bytes:
    """Returns the conversation as a Jupyter notebook."""

    async def get_blob(sha256: str) -> Blob | None:
        try:
            return await store.get_blob(sha256, owner=owner)
        except NotFound:
            return None

    def get_blob_from_thread(sha256: str) -> Blob | None:
        return anyio.from_thread.run(get_blob, sha256)

    return await anyio.to_thread.run_sync(notebook, title, thread, get_blob_from_thread)
