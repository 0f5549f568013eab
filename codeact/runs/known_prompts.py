"""The prompts of the conversations that this process answered last, so that the next turn renders what it adds."""

from codeact.bounded_memory import BoundedMemory
from codeact.dialect.known_prompt import KnownPrompt

__all__ = ["KnownPrompts"]

MOST_BYTES, OF_OWNER_BYTES, OF_CONVERSATION_BYTES = 32_000_000, 8_000_000, 4_000_000
"""Limits for the process, for one owner, and for one conversation: a longer one is rendered at each turn."""


class KnownPrompts:
    """Prompts by the ids of their conversations. See `BoundedMemory` for what makes room."""

    def __init__(self) -> None:
        self._held: BoundedMemory[KnownPrompt] = BoundedMemory(
            most_bytes=MOST_BYTES, of_owner_bytes=OF_OWNER_BYTES, of_value_bytes=OF_CONVERSATION_BYTES
        )

    @property
    def size_bytes(self) -> int:
        """How many bytes all of them take."""
        return self._held.size_bytes

    def take(self, conversation_id: str) -> KnownPrompt:
        """Returns the conversation's prompt, or an empty one. It is not held while an answer uses it."""
        return self._held.take(conversation_id) or KnownPrompt()

    def put(self, conversation_id: str, prompt: KnownPrompt, *, owner: str) -> None:
        """Holds the prompt for the conversation's next answer, unless it is empty or too large."""
        self._held.put(conversation_id, prompt, size_bytes=prompt.size_bytes, owner=owner)
