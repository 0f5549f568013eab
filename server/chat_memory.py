"""Remembers chats, to find the response that a client's resent messages continue."""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence

import msgspec

__all__ = ["ChatLine", "ChatMemory"]

ChatLine = tuple[str, str]
"""The role and the text of a message."""

MAX_CHATS = 10_000


class ChatMemory:
    """Remembers which response gave an answer that a client resends. Holds the 10,000 most recently used chats.

    Forgetting one is harmless: the resent history is used then, but the code's variables are gone.
    """

    def __init__(self) -> None:
        self._responses: OrderedDict[str, str] = OrderedDict()

    def find(self, messages: Sequence[ChatLine], *, owner: str) -> str | None:
        """The response that gave the last answer in `messages`, if all messages are unchanged; otherwise None."""
        answers = [index for index, message in enumerate(messages) if message[0] == "assistant"]
        if not answers:
            return None
        key = _key(messages[: answers[-1] + 1], "", owner)
        if key in self._responses:
            self._responses.move_to_end(key)
        return self._responses.get(key)

    def remember(self, messages: Sequence[ChatLine], answer: str, response_id: str, *, owner: str) -> None:
        self._responses[_key(messages, answer, owner)] = response_id
        if len(self._responses) > MAX_CHATS:
            self._responses.popitem(last=False)


def _key(messages: Sequence[ChatLine], answer: str, owner: str) -> str:
    spoken = [message for message in messages if message[0] in ("user", "assistant")]
    if answer:
        spoken.append(("assistant", answer.strip()))
    return hashlib.sha256(msgspec.json.encode([owner, spoken])).hexdigest()
