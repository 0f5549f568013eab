"""Chats that come back: messages as a client shows them enter, the response behind the last answer leaves."""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence

import msgspec

from server.chat import ChatMessageBody, text_of

__all__ = ["Chats"]

MAX_CHATS = 10_000


class Chats:
    """Which response stands behind an answer that a client shows; the longest unused go beyond 10,000.

    Forgetting is harmless: the history is then read as it was sent, and the code's variables are gone.
    """

    def __init__(self) -> None:
        self._responses: OrderedDict[str, str] = OrderedDict()

    def find(self, messages: Sequence[ChatMessageBody], *, owner: str) -> str | None:
        """The response that gave the last answer in `messages`, if all of them are as they were."""
        answers = [index for index, message in enumerate(messages) if message.role == "assistant"]
        if not answers:
            return None
        key = _key(messages[: answers[-1] + 1], "", owner)
        if key in self._responses:
            self._responses.move_to_end(key)
        return self._responses.get(key)

    def remember(self, messages: Sequence[ChatMessageBody], answer: str, response_id: str, *, owner: str) -> None:
        self._responses[_key(messages, answer, owner)] = response_id
        if len(self._responses) > MAX_CHATS:
            self._responses.popitem(last=False)


def _key(messages: Sequence[ChatMessageBody], answer: str, owner: str) -> str:
    said = [(message.role, text_of(message)) for message in messages if message.role in ("user", "assistant")]
    if answer:
        said.append(("assistant", answer.strip()))
    return hashlib.sha256(msgspec.json.encode([owner, said])).hexdigest()
