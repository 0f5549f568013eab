"""Before a run: a checked request enters; where it goes on, and its messages as they are stored, leave."""

import hashlib
from collections.abc import Sequence
from functools import partial

from codeact.errors import InvalidRequest
from codeact.events import FunctionCallOutput, Input, InputMessage
from codeact.store import Blob, Store
from server.inputs import FunctionCallItem, Given, InputItem, ItemReference, answer_id, as_messages, as_text, from_item
from server.media import Blobs, blobs_of, keep
from server.requests import CreateRequest
from server.unstored import Place, Unstored

__all__ = ["Preparation", "received", "resolved"]


class Preparation:
    """One request on its way to becoming a run."""

    def __init__(self, store: Store, request: CreateRequest, owner: str, unstored: Unstored | None) -> None:
        self._store = store
        self._request = request
        self._owner = owner
        self._unstored = unstored or Unstored()
        self._given = request.messages
        self._calls_are_known = request.previous_response_id is not None or request.conversation_id is not None

    async def place(self) -> Place:
        """Where the request goes on. Raises `NotFound` for what is not there, or is another owner's.

        A container that is named stands for its conversation. Raises `InvalidRequest` where another one is named too.
        """
        container_id = self._request.container_id
        if container_id is None:
            return await self._place(self._request.conversation_id)
        container = await self._store.files.get(container_id, owner=self._owner)
        unnamed = self._request.previous_response_id is None and self._request.conversation_id is None
        place = await self._place(container.conversation_id if unnamed else self._request.conversation_id)
        if place.workspace_id != container.conversation_id:
            raise InvalidRequest(f"'{container_id}' is the sandbox of another conversation.", param="tools")
        return place

    async def _place(self, conversation_id: str | None) -> Place:
        request = self._request
        if request.previous_response_id is not None:
            known = self._unstored.find(request.previous_response_id) if request.store is False else None
            return known or await self._after(request.previous_response_id)
        if conversation_id is not None:
            found = await self._store.get_conversation(conversation_id, owner=self._owner)
            if found.last_response_id is None:
                return Place([], found.id)
            return Place(await self._store.thread(found.last_response_id, owner=self._owner), found.id)
        return await self._where_code_waits() or await self._around(answer_id(request.input))

    async def _around(self, item_id: str | None) -> Place:
        """A client that sends a whole history of ours is told no more than that, but keeps its kernel."""
        found = None if item_id is None else await self._store.conversation_of(item_id, owner=self._owner)
        return Place(workspace_id=found, retold=found is not None)

    async def _where_code_waits(self) -> Place | None:
        """Where the last value belongs, for clients that send a conversation whole and name none."""
        outputs = [item for item in self._request.messages if isinstance(item, FunctionCallOutput)]
        response_id = await self._store.response_of_call(outputs[-1].call_id, owner=self._owner) if outputs else None
        if response_id is None:
            return None
        # What comes before is in the thread already.
        self._given = _trailing(self._given)
        self._calls_are_known = True
        return await self._after(response_id)

    async def _after(self, response_id: str) -> Place:
        thread = await self._store.thread(response_id, owner=self._owner)
        conversation = thread[-1].response.conversation
        if conversation is None:
            return Place(thread)
        found = await self._store.get_conversation(conversation.id, owner=self._owner)
        return Place(thread, conversation.id, branched=found.last_response_id not in (None, response_id))

    async def messages(self) -> list[Input]:
        """The request's messages, references replaced by what they name and images and files by blobs.

        Raises `InvalidRequest`, and `NotFound` for what is not there.
        """
        request = self._request
        messages = await resolved(self._given, self._store, owner=self._owner, calls_are_known=self._calls_are_known)
        put = self._remember if request.store is False else partial(self._store.put_blob, owner=self._owner)
        messages = await keep(messages, Blobs(put, self.get_blob, partial(self._store.files.file, owner=self._owner)))
        if request.conversation_id is not None:
            waiting = await self._store.conversation_items.waiting(request.conversation_id, owner=self._owner)
            messages = [*waiting, *messages]
        if not messages and request.generate is not False:
            raise InvalidRequest("'input' is empty: send the user's text.", param="input")
        return messages

    async def get_blob(self, sha256: str) -> Blob:
        """A blob of this connection or of the owner. Raises `NotFound`."""
        blob = self._unstored.blobs.get(sha256)
        return blob if blob is not None else await self._store.get_blob(sha256, owner=self._owner)

    async def _remember(self, data: bytes, media_type: str) -> str:
        sha256 = hashlib.sha256(data).hexdigest()
        self._unstored.blobs[sha256] = Blob(data, media_type)
        return sha256


async def resolved(given: Sequence[Given], store: Store, *, owner: str, calls_are_known: bool = False) -> list[Input]:
    """The items with what references name in their place. Raises `NotFound`.

    Values are for the code that waits for them where `calls_are_known`; else calls and values are told in words.
    """
    found: list[Input] = []
    names = {item.call_id: item.name for item in given if isinstance(item, FunctionCallItem)}
    for item in given:
        if isinstance(item, ItemReference):
            found += from_item(await store.get_item(item.id, owner=owner))
        elif isinstance(item, InputMessage) or (calls_are_known and isinstance(item, FunctionCallOutput)):
            found.append(item)
        elif not calls_are_known:
            found.append(as_text(item, names))
    return found


async def received(items: list[InputItem], store: Store, *, owner: str) -> list[Input]:
    """Items as a client sends them, as they are stored: references resolved, images and files put away."""
    messages = await resolved(as_messages(items), store, owner=owner)
    return await keep(messages, blobs_of(store, owner=owner))


def _trailing(given: list[Given]) -> list[Given]:
    """The values at the end, with what the user says around them."""
    start = len(given)
    while start and isinstance(item := given[start - 1], InputMessage | FunctionCallOutput):
        if isinstance(item, InputMessage) and item.role == "assistant":
            break
        start -= 1
    return given[start:]
