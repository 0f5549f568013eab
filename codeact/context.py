"""Fits a conversation into a model's window: chat messages enter; as many of them as there is room for leave.

Pure. Sizes are in characters, since no tokenizer is right for every model: who calls it knows how much was too
much, and asks for less.
"""

from collections.abc import Sequence
from typing import Any

from codeact.models import ChatMessage
from codeact.observation import HEADER
from codeact.plaintext import excerpt

__all__ = ["fit", "size_chars"]

IMAGE_CHARS = 4_000
"""What an image counts for: about a thousand tokens."""

LEFT_OUT = "[{count} earlier messages of this conversation are left out: they do not fit into the model's context.]"
SHORTEST_CHARS = 200


def size_chars(messages: Sequence[ChatMessage]) -> int:
    """How long the messages are, as `fit` counts."""
    return sum(_size(message.content) for message in messages)


def fit(messages: Sequence[ChatMessage], *, room_chars: int) -> list[ChatMessage]:
    """The messages, or what fits of them into `room_chars`: the oldest go first, and a line says so.

    The system message, the last question and the last message always stay; where those alone are too long, the
    middle of the longest is cut out. Roles still take turns. What stays may be longer than the room only by a
    system message that is.
    """
    if size_chars(messages) <= room_chars:
        return list(messages)
    kept = _recent(messages, room_chars)
    left_out = len(messages) - len(kept)
    note = LEFT_OUT.format(count=left_out)
    result: list[ChatMessage] = []
    for message in _cut([messages[index] for index in kept], room_chars - len(note) * bool(left_out)):
        if left_out and message.role != "system":
            result.append(_with_note(message, note))
            left_out = 0
        elif result and result[-1].role == message.role:
            result[-1] = _joined(result[-1], message)
        else:
            result.append(message)
    return result


def _recent(messages: Sequence[ChatMessage], room_chars: int) -> list[int]:
    """Which messages stay: what has to, and of the others the newest ones that fit, without a gap."""
    needed = {0, len(messages) - 1, _last_question(messages)}
    room_chars -= sum(_size(messages[index].content) for index in needed)
    oldest = len(messages)
    for index in reversed(range(len(messages))):
        if index not in needed:
            room_chars -= _size(messages[index].content)
        if room_chars < 0:
            break
        oldest = index
    # A model's own words make sense only after what they answer.
    while oldest < len(messages) and messages[oldest].role == "assistant":
        oldest += 1
    return sorted(needed | set(range(oldest, len(messages))))


def _last_question(messages: Sequence[ChatMessage]) -> int:
    asked = (
        index
        for index in reversed(range(len(messages)))
        if messages[index].role == "user" and not _text(messages[index].content).startswith(HEADER)
    )
    return next(asked, len(messages) - 1)


def _cut(messages: list[ChatMessage], room_chars: int) -> list[ChatMessage]:
    """The longest texts, the system message's apart, cut to one length so that all fit."""
    fixed = sum(_size(message.content) for message in messages if not _may_be_cut(message))
    room = room_chars - fixed
    sizes = sorted(len(str(message.content)) for message in messages if _may_be_cut(message))
    longest = room_chars
    for index, size in enumerate(sizes):
        longest = max(SHORTEST_CHARS, room // (len(sizes) - index))
        if size > longest:
            break
        room -= size
    return [
        ChatMessage(message.role, excerpt(message.content, longest))
        if isinstance(message.content, str) and _may_be_cut(message) and len(message.content) > longest
        else message
        for message in messages
    ]


def _may_be_cut(message: ChatMessage) -> bool:
    return message.role != "system" and isinstance(message.content, str)


def _with_note(message: ChatMessage, note: str) -> ChatMessage:
    if isinstance(message.content, str):
        return ChatMessage(message.role, f"{note}\n\n{message.content}")
    return ChatMessage(message.role, [{"type": "text", "text": note}, *message.content])


def _joined(one: ChatMessage, other: ChatMessage) -> ChatMessage:
    if isinstance(one.content, str) and isinstance(other.content, str):
        return ChatMessage(one.role, f"{one.content}\n\n{other.content}")
    return ChatMessage(one.role, _listed(one.content) + _listed(other.content))


def _listed(content: str | list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _text(content: str | list[dict[str, Any]]) -> str:
    return content if isinstance(content, str) else "\n\n".join(part.get("text", "") for part in content)


def _size(content: str | list[dict[str, Any]]) -> int:
    if isinstance(content, str):
        return len(content)
    return sum(len(part["text"]) if part["type"] == "text" else IMAGE_CHARS for part in content)
