"""Remembers chats, to find the response that a client's resent messages continue."""

import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import msgspec

from codeact.errors import StoreError
from codeact.events import Response
from codeact.store import Store

__all__ = ["ChatLine", "ChatMemory"]

ChatLine = tuple[str, str]
"""The role and the text of a message."""

MAX_CHATS = 10_000


class ChatMemory:
    """Remembers which response gave an answer that a client resends. Holds the 10,000 most recently used chats.

    With `get_store` the database remembers them instead, for all of its servers. Forgetting one is harmless: the resent
    history is used then, but the code's variables are gone.
    """

    def __init__(self, get_store: Callable[[], Awaitable[Store]] | None = None) -> None:
        self._get_store = get_store
        self._responses: OrderedDict[str, str] = OrderedDict()

    async def find(self, messages: Sequence[ChatLine], *, owner: str) -> str | None:
        """The response that gave the last answer in `messages`, if all messages are unchanged; otherwise None.

        Raises `StoreError`.
        """
        answers = [index for index, message in enumerate(messages) if message[0] == "assistant"]
        if not answers:
            return None
        key = _key(messages[: answers[-1] + 1], "", owner)
        if self._get_store is not None:
            return await (await self._get_store()).answers.find(key)
        if key in self._responses:
            self._responses.move_to_end(key)
        return self._responses.get(key)

    async def remember(self, messages: Sequence[ChatLine], answer: str, response: Response, *, owner: str) -> None:
        """Remembers that the response gave this answer. It never raises."""
        key = _key(messages, answer, owner)
        if self._get_store is not None:
            if response.conversation is not None:
                with suppress(StoreError):
                    answers, conversation_id = (await self._get_store()).answers, response.conversation.id
                    await answers.remember(key, response.id, conversation_id=conversation_id, owner=owner)
            return
        self._responses[key] = response.id
        if len(self._responses) > MAX_CHATS:
            self._responses.popitem(last=False)


def _key(messages: Sequence[ChatLine], answer: str, owner: str) -> str:
    spoken = [message for message in messages if message[0] in ("user", "assistant")]
    if answer:
        spoken.append(("assistant", answer.strip()))
    return hashlib.sha256(msgspec.json.encode([owner, spoken])).hexdigest()
