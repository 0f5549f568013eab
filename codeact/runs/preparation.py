"""Prepares a run: finds the point where its question continues, and converts its messages into what is stored."""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from msgspec.structs import replace as replace_struct

from codeact.concurrency.concurrently import concurrently
from codeact.errors import InvalidRequest, NotFound
from codeact.events import Approval, CodeApproval, Compaction, FunctionCallOutput, Input, InputMessage, ToolSearchOutput
from codeact.runs.code_of_history import with_code
from codeact.runs.input_items import (
    FunctionCallItem,
    Given,
    InputItem,
    ItemReference,
    as_messages,
    as_text,
    from_item,
)
from codeact.runs.media import Blobs, blobs_of, find_media, is_plain, put_media, store_media
from codeact.runs.new_run import NewRun
from codeact.runs.resume_points import EphemeralResponses, ResumePoint
from codeact.runs.sealed_compaction import conversation_of, opened_compactions
from codeact.runs.sealed_reasoning import opened
from codeact.store import Blob
from codeact.store.missing import no_conversation
from codeact.store.repositories.threads import Attachment
from codeact.store.run_store import RunStore

__all__ = ["Preparation", "received"]

ForWaiting = FunctionCallOutput | Approval | CodeApproval
"""What code waits for."""


class Preparation:
    """Prepares one run. The caller first calls `read`, then `messages`."""

    def __init__(self, store: RunStore, new_run: NewRun, ephemeral: EphemeralResponses | None) -> None:
        self._store = store
        self._new_run = new_run
        self._owner = new_run.owner
        self._ephemeral = ephemeral or EphemeralResponses()
        self._sent_items: Sequence[Given] = new_run.messages
        self._only_trailing = False
        self._repeated: ResumePoint | None = None
        """The point after the responses that the request repeats, if it is known."""
        self._calls_are_known = new_run.previous_response_id is not None or new_run.conversation_id is not None
        self._referenced: Mapping[str, Any] = {}
        self._called: Mapping[str, str] = {}

    async def read(self) -> ResumePoint:
        """Returns the point where the request continues, and reads everything else that is needed at the same time.

        Raises `NotFound` for ids that do not exist or belong to another owner, and `InvalidRequest` if the request
        names a container of another conversation than the one it continues.
        """
        messages, blobs = self._new_run.messages, self._blobs()
        if all(map(is_plain, messages)):
            return await self._resume_point()
        resume_point, (self._referenced, self._called), self._sent_items = await concurrently(
            self._resume_point,
            partial(concurrently, self._references, self._calls),
            partial(find_media, messages, blobs),
        )
        return resume_point

    # ---- the resume point ----------------------------------------------------------------------------

    async def _resume_point(self) -> ResumePoint:
        new_run = self._new_run
        container_id = new_run.container_id
        if container_id is None:
            return await self._named()
        read_container = partial(self._store.threads.of_container, container_id, owner=self._owner)
        if new_run.previous_response_id is None and new_run.conversation_id is None:
            conversation_id, at = await read_container()
            if at is None:
                raise no_conversation(conversation_id)
            return ResumePoint(at, workspace_id=conversation_id)
        (conversation_id, _), resume_point = await concurrently(read_container, self._named)
        if resume_point.workspace_id != conversation_id:
            raise InvalidRequest(f"'{container_id}' is the sandbox of another conversation.", param="tools")
        return resume_point

    async def _named(self) -> ResumePoint:
        new_run, threads = self._new_run, self._store.threads
        if new_run.previous_response_id is not None:
            known = None if new_run.store else self._ephemeral.find(new_run.previous_response_id)
            if known is not None:
                return known
            # Only what is stored is checked against what others have changed.
            at = threads.known(response_id=new_run.previous_response_id, owner=self._owner) if new_run.store else None
            return _after(at or await threads.of_response(new_run.previous_response_id, owner=self._owner))
        if new_run.conversation_id is not None:
            at = threads.known(conversation_id=new_run.conversation_id, owner=self._owner) if new_run.store else None
            at = at or await threads.of_conversation(new_run.conversation_id, owner=self._owner)
            return ResumePoint(at, workspace_id=at.conversation_id)
        if self._decides(new_run.messages):
            return await self._find_pending() or ResumePoint()
        if (compacted := await self._compacted()) is not None:
            return compacted
        if not any((new_run.answer_id, new_run.answer_container_id, new_run.history_container_id)):
            return await self._find_pending() or await self._find_called()
        pending, resent = await concurrently(self._find_pending, self._find_resent)
        return pending or (resent if resent.workspace_id is not None else await self._find_called())

    async def _compacted(self) -> ResumePoint | None:
        """Finds the conversation of an encrypted compaction in the request, to use its sandbox but not its history."""
        conversation_id = await conversation_of(self._new_run.messages, self._store, owner=self._owner)
        if conversation_id is None:
            return None
        try:
            found = await self._store.threads.of_conversation(conversation_id, owner=self._owner)
        except NotFound:
            return None
        return ResumePoint(replace(found, previous=None), workspace_id=conversation_id, resent=True)

    async def _find_resent(self) -> ResumePoint:
        """If the client resends a complete history that we produced, ignores our stored copy but keeps that sandbox."""
        item_id, container_id, threads = self._new_run.answer_id, self._new_run.answer_container_id, self._store.threads
        if (named := self._new_run.history_container_id) is not None:
            conversation_id, at = await threads.of_container(named, owner=self._owner)
            if at is None:
                raise no_conversation(conversation_id)
            return ResumePoint(at, workspace_id=conversation_id, resent=True)
        if not self._new_run.store and (known := self._ephemeral.with_item(item_id)) is not None:
            return _in_sandbox_of(known)
        found = None if item_id is None else await threads.of_item(item_id, owner=self._owner)
        if found is not None:
            return self._repeating(found)
        if container_id is not None:
            with suppress(NotFound):
                _, found = await threads.of_container(container_id, owner=self._owner)
        return ResumePoint() if found is None else ResumePoint(found, workspace_id=found.conversation_id, resent=True)

    def _repeating(self, at: Attachment) -> ResumePoint:
        """Returns the point for a request that repeats the responses up to `at`: only their sandbox is used again."""
        self._repeated = ResumePoint(at)
        return ResumePoint(replace(at, previous=None), workspace_id=at.conversation_id, resent=True)

    def _decides(self, sent_items: Sequence[Given]) -> bool:
        """Whether the items end with decisions about what waits for approval."""
        return any(isinstance(item, Approval | CodeApproval) for item in _trailing(sent_items))

    async def _find_pending(self) -> ResumePoint | None:
        """Finds what waits for the last decision or function value of the request.

        It is for clients that resend a whole conversation without its id, or decide about something in a list. Raises
        `NotFound` for a decision about nothing.
        """
        decided = [item for item in _trailing(self._new_run.messages) if isinstance(item, Approval | CodeApproval)]
        if decided:
            waiting = await self._store.approvals.get(decided[-1].approval_request_id, owner=self._owner)
            self._only_trailing = self._calls_are_known = True
            return _after(await self._store.threads.of_response(waiting.response_id, owner=self._owner))
        outputs = [item for item in _trailing(self._new_run.messages) if isinstance(item, FunctionCallOutput)]
        if not outputs:
            return None
        known = None if self._new_run.store else self._ephemeral.of_call(outputs[-1].call_id)
        found = None if known else await self._store.threads.of_call(outputs[-1].call_id, owner=self._owner)
        resume_point = known if found is None else _after(found)
        if resume_point is not None:
            self._only_trailing = self._calls_are_known = True  # The earlier items are in that thread.
        return resume_point

    async def _find_called(self) -> ResumePoint:
        """If a history without ids has a call that we made, and its answer, ignores our copy but keeps that sandbox."""
        outputs = [item for item in self._new_run.messages if isinstance(item, FunctionCallOutput)]
        if not outputs:
            return ResumePoint()
        call_id = outputs[-1].call_id
        known = None if self._new_run.store else self._ephemeral.with_call(call_id)
        if known is not None:
            self._repeated = known
            return _in_sandbox_of(known)
        found = None
        with suppress(NotFound):  # Its conversation may be deleted: the client still has the whole history.
            found = await self._store.threads.of_call(call_id, owner=self._owner)
        return ResumePoint() if found is None else self._repeating(found)

    # ---- the messages --------------------------------------------------------------------------------

    async def messages(self, resume_point: ResumePoint) -> list[Input]:
        """Returns the request's messages, with references replaced by their items, and images and files by blobs.

        Raises `InvalidRequest`, for example for the value of a call that no code made, and `NotFound` for unknown ids.
        """
        new_run = self._new_run
        sent_items = self._unanswered(resume_point) if self._only_trailing else self._sent_items
        sent_items = await opened_compactions(sent_items, self._store, owner=self._owner)
        sent_items = await opened(sent_items, self._store, owner=self._owner)
        messages = _resolved(sent_items, self._referenced, calls_are_known=self._calls_are_known)
        if self._decides(sent_items) and not self._calls_are_known:
            raise InvalidRequest(
                "A decision continues the response that waits for it: send 'previous_response_id', or no container.",
                param="input",
            )
        # A client that gets no items of code cannot send them back.
        if self._repeated is not None and (self._repeated.ephemeral or not new_run.gets_code):
            messages = with_code(messages, await self._repeated.history(self._store))
        await self._check_outputs(messages, resume_point)
        messages = await put_media(messages, self._blobs())
        if new_run.store and resume_point.is_at_end:
            known = {message.id for message in messages}
            messages = [*(item for item in resume_point.at.waiting if item.id not in known), *messages]
        if not messages and new_run.generate and not new_run.compact_only:
            raise InvalidRequest("'input' is empty: send the user's text.", param="input")
        return messages

    def _unanswered(self, resume_point: ResumePoint) -> Sequence[Given]:
        """Returns the values at the end of the input without those of calls that an earlier response made."""
        previous = resume_point.previous_response_id
        made_by = {**self._called, **resume_point.made_by()}
        return [
            item
            for item in _trailing(self._sent_items)
            if not isinstance(item, FunctionCallOutput) or made_by.get(item.call_id, previous) == previous
        ]

    async def get_blob(self, sha256: str) -> Blob:
        """Returns a blob of this connection or of the owner. Raises `NotFound`."""
        blob = self._ephemeral.blobs.get(sha256)
        return blob if blob is not None else await self._store.get_blob(sha256, owner=self._owner)

    def _blobs(self) -> Blobs:
        put = self._remember if not self._new_run.store else partial(self._store.put_blob, owner=self._owner)
        return Blobs(put, self.get_blob, partial(self._store.files.file, owner=self._owner))

    async def _remember(self, data: bytes, media_type: str) -> str:
        sha256 = hashlib.sha256(data).hexdigest()
        self._ephemeral.keep_blob(sha256, Blob(data, media_type))
        return sha256

    async def _references(self) -> Mapping[str, Any]:
        return await _referenced(self._new_run.messages, self._store, owner=self._owner)

    async def _calls(self) -> Mapping[str, str]:
        """Returns, by call id, the stored responses that made the calls for which the request has values."""
        call_ids = {item.call_id for item in self._new_run.messages if isinstance(item, FunctionCallOutput)}
        return await self._store.threads.called(call_ids, owner=self._owner) if call_ids else {}

    async def _check_outputs(self, messages: list[Input], resume_point: ResumePoint) -> None:
        """Raises `InvalidRequest` for the value of a call that no code in this thread made."""
        wanted = {item.call_id for item in messages if isinstance(item, FunctionCallOutput)} - resume_point.calls()
        wanted.discard("")  # What a search has found, in a history.
        previous = resume_point.at.previous
        known = {call_id for call_id in wanted if previous and self._called.get(call_id) == previous.response_id}
        if previous is not None and any(call_id in self._called for call_id in wanted - known):
            chain = set(await self._store.threads.chain(previous))
            known |= {call_id for call_id in wanted if self._called.get(call_id) in chain}
        for call_id in sorted(wanted - known):
            raise InvalidRequest(
                f"No function was called under the call_id '{call_id}' in this conversation; continue the"
                " response that made the call, by 'previous_response_id' or 'conversation'.",
                param="input",
            )


async def received(items: list[InputItem], store: RunStore, *, owner: str) -> list[Input]:
    """Converts items of a client into what is stored: resolves references, and stores images and files as blobs.

    Raises `InvalidRequest` and `NotFound`.
    """
    given = as_messages(items)
    if any(isinstance(item, Approval | CodeApproval) for item in given):
        raise InvalidRequest("Approvals are decided by a response: send them as its 'input'.", param="items")
    sent_items = await opened(await opened_compactions(given, store, owner=owner), store, owner=owner)
    messages = _resolved(sent_items, await _referenced(sent_items, store, owner=owner))
    return await store_media(messages, blobs_of(store, owner=owner))


async def _referenced(sent_items: Sequence[Given], store: RunStore, *, owner: str) -> Mapping[str, Any]:
    """Returns the items to which references refer, by id."""
    item_ids = {item.id for item in sent_items if isinstance(item, ItemReference)}
    return await store.threads.items(item_ids, owner=owner) if item_ids else {}


def _resolved(
    sent_items: Sequence[Given], referenced: Mapping[str, Any], *, calls_are_known: bool = False
) -> list[Input]:
    """Replaces references by their items. Raises `NotFound`.

    With `calls_are_known`, function values and decisions are passed to the code that waits for them; else calls and
    values become text messages, and decisions of a history that the client sends again are left out. What searches have
    found stays, without the id of the call.
    """
    resolved: list[Input] = []
    names = {item.call_id: item.name for item in sent_items if isinstance(item, FunctionCallItem)}
    for item in sent_items:
        if isinstance(item, ItemReference):
            if item.id not in referenced:
                raise NotFound(f"There is no item '{item.id}'.", param="input")
            resolved += from_item(referenced[item.id])
        elif isinstance(item, InputMessage | Compaction) or (calls_are_known and isinstance(item, ForWaiting)):
            resolved.append(item)
        elif not calls_are_known and isinstance(item, ToolSearchOutput):
            resolved.append(replace_struct(item, call_id=""))
        elif not calls_are_known and isinstance(item, FunctionCallItem | FunctionCallOutput):
            resolved.append(as_text(item, names))
    return resolved


def _in_sandbox_of(known: ResumePoint) -> ResumePoint:
    """The point for a request that repeats an unstored conversation: only its sandbox is used again."""
    return ResumePoint(workspace_id=known.workspace_id, resent=True, unstored_container=known.unstored_container)


def _after(at: Attachment) -> ResumePoint:
    """Returns the point after a stored response, in its conversation."""
    branched = at.previous is not None and at.last_response_id not in (None, at.previous.response_id)
    return ResumePoint(at, workspace_id=at.conversation_id, branched=branched)


def _trailing(sent_items: Sequence[Given]) -> Sequence[Given]:
    """Returns the function values and decisions at the end of the input, with the user's messages around them.

    Calls may be among the values, but no message of the user comes before a call.
    """
    start, has_call = len(sent_items), False
    while start and isinstance(item := sent_items[start - 1], InputMessage | ForWaiting | FunctionCallItem):
        if isinstance(item, InputMessage) and (has_call or item.role == "assistant"):
            break
        has_call = has_call or isinstance(item, FunctionCallItem)
        start -= 1
    return [item for item in sent_items[start:] if not isinstance(item, FunctionCallItem)]
