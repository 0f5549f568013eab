"""Keeps responses with `store: false` in memory for the connection that made them, so that it can continue them."""

from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec

from codeact.errors import NotFound, Overloaded
from codeact.events import ClientCall, Input, Item, Response
from codeact.events.last_code import LastCode, last_code
from codeact.runs.held_bytes import ConnectionMemory, ConnectionMemoryFull
from codeact.store import Blob, StoredResponse
from codeact.store.repositories.threads import Attachment
from codeact.store.run_store import RunStore
from codeact.store.search.search_fields import blobs_in

__all__ = ["EphemeralResponses", "ResumePoint"]

MAX_RESPONSES = 64
MOST_BYTES = 32_000_000


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """The point where a request continues: after the unstored responses `ephemeral` (oldest first), which follow `at`.

    `workspace_id` is the id of the workspace to use, None for a new one. `branched`: the conversation has already
    continued after this point, perhaps with the same kernel. `resent`: the request itself repeats the history.
    `unstored_container` has the options of the sandbox of an unstored conversation (`ContainerOptions.shown`).
    """

    at: Attachment = field(default_factory=Attachment)
    ephemeral: list[StoredResponse] = field(default_factory=list)
    workspace_id: str | None = None
    branched: bool = False
    resent: bool = False
    unstored_container: Mapping[str, Any] = field(default_factory=dict)

    @property
    def container(self) -> Mapping[str, Any]:
        """The options that the conversation's sandboxes had."""
        return self.unstored_container or self.at.container

    @property
    def previous_response_id(self) -> str | None:
        if self.ephemeral:
            return self.ephemeral[-1].response.id
        return self.at.previous.response_id if self.at.previous is not None else None

    @property
    def is_at_end(self) -> bool:
        """Whether the request is the next question of a stored conversation, which what waits there belongs to."""
        return self.at.conversation is not None and not (self.ephemeral or self.branched or self.resent)

    @property
    def code_response_id(self) -> str | None:
        """The last stored response before this point in which code ran; None if none is known."""
        if self.ephemeral or self.at.previous is None:
            return None
        return self.at.previous.code_response_id

    async def history(self, store: RunStore, *, has_begun: bool = False) -> list[Input | Item]:
        """Returns the input and output before this point, oldest first, without displayed outputs of code.

        `has_begun`: a response has just been stored after this point, so that only what is new must be read.
        Raises `StoreError`.
        """
        if self.at.previous is None:
            return self._items()
        begun_in = self.at.conversation_id if has_begun else None
        return [*await store.threads.history(self.at.previous, begun_in=begun_in), *self._items()]

    @property
    def knows_last_code(self) -> bool:
        """Whether `last_code` needs no database call."""
        return self.at.previous is None or self.at.previous.last_code is not None

    async def last_code(self, store: RunStore) -> LastCode | None:
        """Returns in which kernel code ran last; None if no code ran. Rarely needs a database call.

        Raises `StoreError`.
        """
        if (found := last_code(self._items())) is not None or self.at.previous is None:
            return found
        return await store.threads.last_code(self.at.previous)

    def calls(self) -> set[str]:
        """Returns the ids of the calls of client functions that the unstored responses made."""
        return set(self.made_by())

    def made_by(self) -> dict[str, str]:
        """Returns, by call id, which of the unstored responses called a client's function."""
        return {
            item.call_id: stored.response.id
            for stored in self.ephemeral
            for item in stored.response.output
            if isinstance(item, ClientCall)
        }

    def _items(self) -> list[Input | Item]:
        return [item for stored in self.ephemeral for item in (*stored.input, *stored.response.output)]


class EphemeralResponses:
    """The unstored responses of one connection, with their images and files.

    The oldest are dropped if there are more than 64, or more than 32 MB. `memory` limits the sum of all connections of
    a process.
    """

    def __init__(self, memory: ConnectionMemory | None = None, *, most_bytes: int = MOST_BYTES) -> None:
        self.closed = False
        self.blobs: dict[str, Blob] = {}
        self.decided: set[str] = set()
        """The ids of approvals in unstored responses that were decided."""
        self._memory = memory if memory is not None else ConnectionMemory()
        self._most_bytes = most_bytes
        self._resume_points: OrderedDict[str, ResumePoint] = OrderedDict()
        self._sizes: dict[str, int] = {}
        self._blobs_of: dict[str, frozenset[str]] = {}
        self._outgrown: OrderedDict[str, frozenset[str]] = OrderedDict()
        """Responses that were dropped because there was no room for their output, with their calls of functions."""
        self._pending: set[str] = set()
        self._beginning = 0
        self.bytes = 0

    @contextmanager
    def beginning(self) -> Iterator[None]:
        """Surrounds the preparation of a request; at its end, drops blobs that no response uses."""
        self._beginning += 1
        try:
            yield
        finally:
            self._beginning -= 1
            if not self._beginning and self._pending:
                self._pending.clear()
                self._free_unused()

    def keep_blob(self, sha256: str, blob: Blob) -> None:
        """Keeps an image or a file of a starting request, unless `close` was called.

        Raises `ConnectionMemoryFull` and `Overloaded`.
        """
        if self.closed:
            return
        self._pending.add(sha256)
        if sha256 not in self.blobs:
            self._take(sha256, len(blob.data))
            self.blobs[sha256] = blob

    def add(
        self,
        response: Response,
        messages: list[Input],
        resume_point: ResumePoint,
        *,
        workspace_id: str,
        container: Mapping[str, Any] | None = None,
    ) -> None:
        """Keeps a response that begins, unless `close` was called; it can be continued once it has ended successfully.

        Call `ended` at its end. Raises `ConnectionMemoryFull` and `Overloaded`.
        """
        if self.closed:
            return
        used = frozenset(blobs_in(messages))
        self._pending.update(used)
        self._take(response.id, len(msgspec.json.encode(messages)))
        self._pending -= used
        self._blobs_of[response.id] = used
        ephemeral = [*resume_point.ephemeral, StoredResponse(response, messages)]
        point = ResumePoint(resume_point.at, ephemeral, workspace_id, unstored_container=container or {})
        self._resume_points[response.id] = point
        if len(self._resume_points) > MAX_RESPONSES:
            self._drop_oldest()

    def ended(self, response: Response) -> None:
        """Counts the output of a response that has ended. The oldest responses make room for it.

        If there is not enough room, the response is dropped, and the request that wants to continue it is told so.
        """
        if response.id not in self._resume_points:
            return
        try:
            self._take(f"{response.id}/output", len(msgspec.json.encode(response.output)))
        except (ConnectionMemoryFull, Overloaded):
            self._resume_points.pop(response.id, None)
            calls = frozenset(item.call_id for item in response.output if isinstance(item, ClientCall))
            self._outgrown[response.id] = calls
            if len(self._outgrown) > MAX_RESPONSES:
                self._outgrown.popitem(last=False)
        self._free_unused()

    @property
    def is_in_use(self) -> bool:
        """Whether a request is being prepared or answered."""
        return self._beginning > 0 or any(
            point.ephemeral[-1].response.status in ("queued", "in_progress") for point in self._resume_points.values()
        )

    def find(self, response_id: str) -> ResumePoint | None:
        """Returns the point after this response, or None if the response is not kept here.

        Raises `NotFound` if the response failed or was cancelled, and `ConnectionMemoryFull` if it was too large.
        """
        if response_id in self._outgrown:
            raise _too_large(response_id)
        resume_point = self._resume_points.get(response_id)
        if resume_point is not None and resume_point.ephemeral[-1].response.status in ("failed", "cancelled"):
            raise NotFound(
                f"The response '{response_id}' did not end well and cannot be continued.",
                param="previous_response_id",
                code="previous_response_not_found",
            )
        return resume_point

    def of_call(self, call_id: str) -> ResumePoint | None:
        """Returns the point after the response that made this call of a client's function, or None.

        Raises `ConnectionMemoryFull` if that response was too large to be kept.
        """
        for response_id, calls in self._outgrown.items():
            if call_id in calls:
                raise _too_large(response_id)
        return next(
            (
                resume_point
                for resume_point in reversed(self._resume_points.values())
                if any(
                    isinstance(item, ClientCall) and item.call_id == call_id
                    for item in resume_point.ephemeral[-1].response.output
                )
            ),
            None,
        )

    def with_call(self, call_id: str) -> ResumePoint | None:
        """Returns the newest point after a call of a client's function, however many responses came since; or None."""
        seen: set[str] = set()  # Responses that did not make it, nor did those before them.
        for point in reversed(self._resume_points.values()):
            for stored in reversed(point.ephemeral):
                if stored.response.id in seen:
                    break
                seen.add(stored.response.id)
                if any(isinstance(item, ClientCall) and item.call_id == call_id for item in stored.response.output):
                    return point
        return None

    def has_any(self, names: Collection[str]) -> bool:
        """Whether one of these is the id of a response, of an item of its output, or of a call of a function."""
        if any(name == large or name in calls for large, calls in self._outgrown.items() for name in names):
            return True
        return any(
            response.id in names
            or any(
                item.id in names or (isinstance(item, ClientCall) and item.call_id in names) for item in response.output
            )
            for response in (resume_point.ephemeral[-1].response for resume_point in self._resume_points.values())
        )

    def with_item(self, item_id: str | None) -> ResumePoint | None:
        """Returns the point after the response that has this item, or None."""
        for resume_point in reversed(self._resume_points.values()):
            if any(item.id == item_id for item in resume_point.ephemeral[-1].response.output):
                return resume_point
        return None

    def forget(self, response_id: str) -> None:
        """Drops a response that a failed request wanted to continue, as the Responses API requires. Idempotent."""
        if self._resume_points.pop(response_id, None) is not None:
            self._free_unused()

    def close(self) -> None:
        """Drops everything when the connection has ended."""
        self.closed = True
        self._resume_points.clear()
        self._pending.clear()
        self._free_unused()

    def _take(self, name: str, size_bytes: int) -> None:
        while self.bytes + size_bytes > self._most_bytes and len(self._resume_points) > 1:
            self._drop_oldest()
        if self.bytes + size_bytes > self._most_bytes:
            raise ConnectionMemoryFull(
                f"Responses with 'store': false may hold {self._most_bytes:,} bytes on one connection. Send smaller"
                " images and files, begin anew on another connection, or leave 'store': false out."
            )
        self._memory.take(size_bytes)
        self._sizes[name] = self._sizes.get(name, 0) + size_bytes
        self.bytes += size_bytes

    def _drop_oldest(self) -> None:
        self._resume_points.popitem(last=False)
        self._free_unused()

    def _free_unused(self) -> None:
        """Drops what is not needed by any response that can be continued; those need all responses before them."""
        used = {one.response.id for resume_point in self._resume_points.values() for one in resume_point.ephemeral}
        for response_id in self._blobs_of.keys() - used:
            del self._blobs_of[response_id]
        used |= self._pending.union(*self._blobs_of.values())
        for name in [name for name in self._sizes if name.partition("/")[0] not in used]:
            self.blobs.pop(name, None)
            size_bytes = self._sizes.pop(name)
            self.bytes -= size_bytes
            self._memory.give_back(size_bytes)

    @property
    def workspace_ids(self) -> set[str]:
        return {
            resume_point.workspace_id
            for resume_point in self._resume_points.values()
            if resume_point.workspace_id is not None
        }


def _too_large(response_id: str) -> ConnectionMemoryFull:
    return ConnectionMemoryFull(
        f"The response '{response_id}' cannot be continued: it has 'store': false, and its output did not fit the"
        " memory for such responses. Send the conversation again in 'input', or leave 'store': false out.",
        param="previous_response_id",
    )
