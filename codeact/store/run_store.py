"""The protocols through which runs use a store.

`codeact.store.Store` implements them in a database, `codeact.store.memory.MemoryStore` in this process. Only the
database supports several servers (watched leases, requests from other servers).
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, Protocol

from codeact.events import Input, Item, Response
from codeact.events.last_code import LastCode
from codeact.sealing import Sealer
from codeact.store.decisions import Decision
from codeact.store.records import ApprovalRecord, Blob, Container, ContainerFile
from codeact.store.repositories.event_batches import EventBatch, RunWrite
from codeact.store.repositories.threads import Attachment, Link

__all__ = ["RunStore"]


class ThreadStore(Protocol):
    """Finds and stores the conversations of runs. `codeact.store.repositories.threads` describes the methods."""

    def known(
        self, *, response_id: str | None = None, conversation_id: str | None = None, owner: str
    ) -> Attachment | None: ...
    async def of_conversation(self, conversation_id: str, *, owner: str) -> Attachment: ...
    async def of_response(self, response_id: str, *, owner: str) -> Attachment: ...
    async def of_call(self, call_id: str, *, owner: str) -> Attachment | None: ...
    async def of_item(self, item_id: str, *, owner: str) -> Attachment | None: ...
    async def of_container(self, container_id: str, *, owner: str) -> tuple[str, Attachment | None]: ...
    async def called(self, call_ids: Collection[str], *, owner: str) -> dict[str, str]: ...
    async def items(self, item_ids: Collection[str], *, owner: str) -> dict[str, Item]: ...
    async def history(self, link: Link, *, begun_in: str | None = None) -> list[Input | Item]: ...
    async def chain(self, link: Link) -> list[str]: ...
    async def last_code(self, link: Link) -> LastCode | None: ...
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
    ) -> None: ...


class EventStore(Protocol):
    """The events of responses that are no longer in memory."""

    def read(self, response_id: str, start: int) -> AsyncGenerator[EventBatch, None]: ...


class RunWriteStore(Protocol):
    """Stores what runs write while they answer."""

    async def put(self, writes: Sequence[RunWrite], *, ttl_s: float) -> set[str]: ...


class LeaseStore(Protocol):
    """Releases the leases of running responses."""

    async def release(self, response_id: str, *, epoch: int | None = None) -> None: ...


class UseStore(Protocol):
    """Counts what owners use."""

    async def tokens_used(self, owner: str, at: datetime) -> int: ...
    async def add_tokens(self, owner: str, tokens: int, at: datetime) -> None: ...
    async def count_response(self, owner: str, at: datetime) -> int: ...
    async def uncount_response(self, owner: str, at: datetime) -> None: ...


class ByteStore(Protocol):
    """Counts the bytes that owners store."""

    async def used(self, owner: str) -> int: ...
    async def add(self, owner: str, size_bytes: int) -> dict[str, int]: ...


class FileStore(Protocol):
    """The files of sandboxes."""

    async def touch(
        self,
        container_id: str,
        *,
        owner: str,
        conversation_id: str,
        name: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Container: ...
    async def held(self, conversation_id: str, *, owner: str) -> list[Container]: ...
    async def files(self, container_id: str, *, owner: str) -> list[ContainerFile]: ...
    async def file(self, file_id: str, *, container_id: str | None = None, owner: str) -> ContainerFile: ...
    async def add(
        self,
        container: Container,
        path: str,
        *,
        size_bytes: int,
        modified_at: float,
        source: Literal["user", "assistant"],
        sha256: str | None,
    ) -> ContainerFile: ...
    async def drop(self, file_id: str, *, container_id: str) -> None: ...
    async def delete(self, container_id: str, *, owner: str) -> None: ...


class ApprovalStore(Protocol):
    """What waits for approval. `codeact.store.repositories.approvals` describes the methods."""

    async def add(self, *approvals: ApprovalRecord) -> None: ...
    async def get(self, approval_id: str, *, owner: str) -> ApprovalRecord: ...
    async def decide(self, approval_id: str, decision: Decision, *, owner: str) -> ApprovalRecord: ...
    async def take_back(self, decision_id: str, *, owner: str) -> None: ...
    async def withdraw(self, approval_ids: Collection[str], *, owner: str) -> None: ...
    async def move(self, approval_ids: Collection[str], response_id: str, *, owner: str) -> None: ...
    async def answer(
        self, call_ids: Collection[str], given: Collection[str], *, owner: str, conversation_id: str, response_id: str
    ) -> None: ...


class SealingStore(Protocol):
    """Provides the key that encrypts history which clients hold themselves."""

    async def sealer(self) -> Sealer: ...


class RunStore(Protocol):
    """A store for runs. Every method raises `StoreError` if it fails, and `NotFound` for what does not exist."""

    @property
    def threads(self) -> ThreadStore: ...
    @property
    def events(self) -> EventStore: ...
    @property
    def run_writes(self) -> RunWriteStore: ...
    @property
    def leases(self) -> LeaseStore: ...
    @property
    def access(self) -> UseStore: ...
    @property
    def stored(self) -> ByteStore: ...
    @property
    def files(self) -> FileStore: ...
    @property
    def sealing(self) -> SealingStore: ...
    @property
    def approvals(self) -> ApprovalStore: ...
    @property
    def silent_s(self) -> float: ...
    @property
    def in_memory(self) -> bool:
        """Whether `threads.begin` alone retains a response, so that nothing else needs to be written or awaited."""

    async def ping(self) -> None: ...
    async def put_blob(self, data: bytes, media_type: str, *, owner: str) -> str: ...
    async def get_blob(self, sha256: str, *, owner: str) -> Blob: ...
    async def offload(self, item: Item, *, owner: str) -> None:
        """Makes a finished item small enough to be stored, in place.

        A store without a size limit leaves it unchanged.
        """

    async def finish_response(self, response: Response, *, epoch: int = 0) -> None: ...
