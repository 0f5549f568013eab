"""A store in the memory of this process, for agents that need no database. It has the parts of `Store` that runs use.

Items keep their images and long texts, and large files are stored on disk. Everything is gone when the process ends.
"""

import hashlib
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import anyio

from codeact.events import ClientCall, Input, Item, Response
from codeact.events.last_code import LastCode, last_code
from codeact.sealing import KEY_BYTES, Sealer
from codeact.store.memory_approvals import MemoryApprovals
from codeact.store.memory_files import MemoryBlobs, MemoryFiles
from codeact.store.missing import no_container, no_conversation, no_response_to_continue
from codeact.store.records import Blob, StoredResponse
from codeact.store.repositories.event_batches import EventBatch, RunWrite
from codeact.store.repositories.threads import Attachment, Link

__all__ = ["MemoryStore"]


@dataclass(slots=True)
class _Thread:
    """A conversation: its responses by id, in the order in which they began, and the id of the one that ended last.

    `container` has the options of its sandboxes.
    """

    owner: str
    responses: dict[str, StoredResponse] = field(default_factory=dict)
    last_id: str | None = None
    container: Mapping[str, Any] = field(default_factory=dict)


class MemoryThreads:
    """The conversations; the methods are described at `codeact.store.repositories.threads`."""

    def __init__(self) -> None:
        self.conversations: dict[str, _Thread] = {}

    def known(
        self, *, response_id: str | None = None, conversation_id: str | None = None, owner: str
    ) -> Attachment | None:
        return None

    async def of_conversation(self, conversation_id: str, *, owner: str) -> Attachment:
        thread = self._find(conversation_id, owner)
        return self._after(conversation_id, thread, thread.last_id)

    async def of_response(self, response_id: str, *, owner: str) -> Attachment:
        for conversation_id, thread in self._of(owner):
            if response_id in thread.responses:
                return self._after(conversation_id, thread, response_id)
        raise no_response_to_continue(response_id)

    async def of_call(self, call_id: str, *, owner: str) -> Attachment | None:
        response_id = (await self.called([call_id], owner=owner)).get(call_id)
        return None if response_id is None else await self.of_response(response_id, owner=owner)

    async def of_item(self, item_id: str, *, owner: str) -> Attachment | None:
        for conversation_id, thread in self._of(owner):
            if any(item.id == item_id for stored in thread.responses.values() for item in stored.response.output):
                return Attachment(None, self._document(conversation_id, thread))
        return None

    async def of_container(self, container_id: str, *, owner: str) -> tuple[str, Attachment | None]:
        raise no_container(container_id)

    async def called(self, call_ids: Collection[str], *, owner: str) -> dict[str, str]:
        return {
            item.call_id: stored.response.id
            for _, thread in self._of(owner)
            for stored in thread.responses.values()
            for item in stored.response.output
            if isinstance(item, ClientCall) and item.call_id in call_ids
        }

    async def items(self, item_ids: Collection[str], *, owner: str) -> dict[str, Item]:
        return {
            item.id: item
            for _, thread in self._of(owner)
            for stored in thread.responses.values()
            for item in stored.response.output
            if item.id in item_ids
        }

    async def history(self, link: Link, *, begun_in: str | None = None) -> list[Input | Item]:
        return [
            item for stored in self.ancestors(link.response_id) for item in (*stored.input, *stored.response.output)
        ]

    async def chain(self, link: Link) -> list[str]:
        return [stored.response.id for stored in self.ancestors(link.response_id)]

    async def last_code(self, link: Link) -> LastCode | None:
        return last_code(await self.history(link))

    async def begin(
        self,
        response: Response,
        input: list[Input],
        *,
        owner: str,
        at: Attachment,
        last_code: LastCode | None = None,
        client_metadata: Mapping[str, str] | None = None,
        container: Mapping[str, Any] | None = None,
        also: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        assert response.conversation is not None
        thread = self.conversations.setdefault(response.conversation.id, _Thread(owner))
        thread.responses[response.id] = StoredResponse(response, input)
        thread.container = thread.container if container is None else container

    def end(self, response: Response) -> None:
        """Makes this response the conversation's last one."""
        if response.conversation is not None and response.conversation.id in self.conversations:
            self.conversations[response.conversation.id].last_id = response.id

    def put(self, conversation_id: str, stored: Iterable[StoredResponse], *, owner: str) -> None:
        """Adds a conversation whose responses have all ended, oldest first. Replaces an earlier one with this id."""
        thread = self.conversations[conversation_id] = _Thread(owner)
        for each in stored:
            thread.responses[each.response.id] = each
            thread.last_id = each.response.id

    def ancestors(self, response_id: str | None) -> list[StoredResponse]:
        """The response and its ancestors, oldest first."""
        found: list[StoredResponse] = []
        for thread in self.conversations.values():
            if response_id in thread.responses:
                while (stored := thread.responses.get(response_id or "")) is not None:
                    found.append(stored)
                    response_id = stored.response.previous_response_id
                break
        return found[::-1]

    def _find(self, conversation_id: str, owner: str) -> _Thread:
        thread = self.conversations.get(conversation_id)
        if thread is None or thread.owner != owner:
            raise no_conversation(conversation_id)
        return thread

    def _of(self, owner: str) -> list[tuple[str, _Thread]]:
        return [(name, thread) for name, thread in self.conversations.items() if thread.owner == owner]

    def _after(self, conversation_id: str, thread: _Thread, response_id: str | None) -> Attachment:
        document = self._document(conversation_id, thread)
        if response_id is None:
            return Attachment(None, document)
        thread_before = self.ancestors(response_id)
        found = ((stored.response.id, last_code(stored.response.output)) for stored in reversed(thread_before))
        code_id, code = next(((name, code) for name, code in found if code is not None), (None, None))
        link = Link(response_id, thread_before[0].response.id, asdict(code) if code is not None else {}, code_id)
        return Attachment(link, document)

    def _document(self, conversation_id: str, thread: _Thread) -> dict[str, Any]:
        return {"_id": conversation_id, "last_response_id": thread.last_id, "container": thread.container}


class _Writes:
    """Stores nothing: a run changes the same `Response` object that `MemoryThreads` holds."""

    async def put(self, writes: Sequence[RunWrite], *, ttl_s: float) -> set[str]:
        return set()

    async def read(self, response_id: str, start: int) -> AsyncGenerator[EventBatch, None]:
        nothing: tuple[EventBatch, ...] = ()
        for event_batch in nothing:
            yield event_batch


class _Leases:
    """Does nothing: no other process could take a response over."""

    async def release(self, response_id: str, *, epoch: int | None = None) -> None: ...


class _Use:
    """Counts tokens and responses of each owner."""

    def __init__(self) -> None:
        self.tokens: dict[str, int] = {}
        self._responses: dict[str, int] = {}

    async def tokens_used(self, owner: str, at: datetime) -> int:
        return self.tokens.get(owner, 0)

    async def add_tokens(self, owner: str, tokens: int, at: datetime) -> None:
        self.tokens[owner] = self.tokens.get(owner, 0) + tokens

    async def count_response(self, owner: str, at: datetime) -> int:
        self._responses[owner] = self._responses.get(owner, 0) + 1
        return self._responses[owner]

    async def uncount_response(self, owner: str, at: datetime) -> None:
        self._responses[owner] = self._responses.get(owner, 0) - 1


class _Bytes:
    """Counts the stored bytes of each owner."""

    def __init__(self) -> None:
        self._bytes: dict[str, int] = {}

    async def used(self, owner: str) -> int:
        return self._bytes.get(owner, 0)

    async def add(self, owner: str, size_bytes: int) -> dict[str, int]:
        self._bytes[owner] = self._bytes.get(owner, 0) + size_bytes
        return {owner: self._bytes[owner]}


class _Sealing:
    """Encrypts with a random key that lasts as long as the process."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(KEY_BYTES)

    async def sealer(self) -> Sealer:
        return Sealer(self._key)


class MemoryStore:
    """Holds conversations in memory. Use it in one event loop; any number of agents may share it."""

    silent_s = 0.0
    in_memory = True

    def __init__(self) -> None:
        self.threads = MemoryThreads()
        self.events = self.run_writes = _Writes()
        self.leases = _Leases()
        self.access = _Use()
        self.stored = _Bytes()
        self.files = MemoryFiles()
        self.sealing = _Sealing()
        self.approvals = MemoryApprovals()
        self._blobs = MemoryBlobs()

    async def ping(self) -> None: ...

    async def put_blob(self, data: bytes, media_type: str, *, owner: str) -> str:
        sha256 = await anyio.to_thread.run_sync(lambda: hashlib.sha256(data).hexdigest())
        await self._blobs.put(sha256, Blob(data, media_type))
        return sha256

    async def get_blob(self, sha256: str, *, owner: str) -> Blob:
        return await self._blobs.get(sha256)

    async def offload(self, item: Item, *, owner: str) -> None:
        """Leaves the item as it is: nothing limits its size in memory."""

    async def finish_response(self, response: Response, *, epoch: int = 0) -> None:
        self.threads.end(response)
