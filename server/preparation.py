"""Before a run: a checked request enters; where it goes on, and its messages as they are stored, leave."""

import hashlib

from codeact.events import Input
from codeact.store import Blob, Store
from server.inputs import ItemReference, from_item
from server.media import keep
from server.requests import CreateRequest
from server.unstored import Place, Unstored

__all__ = ["Preparation"]


class Preparation:
    """One request on its way to becoming a run."""

    def __init__(self, store: Store, request: CreateRequest, owner: str, unstored: Unstored | None) -> None:
        self._store = store
        self._request = request
        self._owner = owner
        self._unstored = unstored or Unstored()

    async def place(self) -> Place:
        """Where the request goes on. Raises `NotFound` for what is not there, or is another owner's."""
        request = self._request
        if request.previous_response_id is not None:
            known = self._unstored.find(request.previous_response_id) if request.store is False else None
            return known or await self._after(request.previous_response_id)
        if request.conversation_id is not None:
            found = await self._store.get_conversation(request.conversation_id, owner=self._owner)
            if found.last_response_id is None:
                return Place([], found.id)
            return Place(await self._store.thread(found.last_response_id, owner=self._owner), found.id)
        return Place()

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
        messages: list[Input] = []
        for message in self._request.messages:
            if isinstance(message, ItemReference):
                messages += from_item(await self._store.get_item(message.id, owner=self._owner))
            else:
                messages.append(message)
        put = self._remember if self._request.store is False else self._put_blob
        return await keep(messages, put=put, get=self.get_blob)

    async def get_blob(self, sha256: str) -> Blob:
        """A blob of this connection or of the owner. Raises `NotFound`."""
        blob = self._unstored.blobs.get(sha256)
        return blob if blob is not None else await self._store.get_blob(sha256, owner=self._owner)

    async def _put_blob(self, data: bytes, media_type: str) -> str:
        return await self._store.put_blob(data, media_type, owner=self._owner)

    async def _remember(self, data: bytes, media_type: str) -> str:
        sha256 = hashlib.sha256(data).hexdigest()
        self._unstored.blobs[sha256] = Blob(data, media_type)
        return sha256
