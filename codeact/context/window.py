"""Fits a conversation into a number of characters: keeps the newest messages, and shortens those that are too long.

Sizes are in characters, since no tokenizer is right for every model: a caller whose prompt is still too long calls it
again with a smaller number. No I/O.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from codeact.model import ChatMessage
from codeact.observations.observation import HEADER
from codeact.observations.plaintext import excerpt

__all__ = ["IMAGE_CHARS", "fit", "size_chars", "text_of"]

IMAGE_CHARS = 4_000
"""The size that counts for an image: about a thousand tokens."""

LEFT_OUT = "[{count} earlier messages of this conversation are left out: they do not fit into the model's context.]"
IMAGE_LEFT_OUT = "[An image is left out here: it does not fit into the model's context.]"
SHORTEST_CHARS = 200


def size_chars(messages: Sequence[ChatMessage]) -> int:
    """Returns the size of the messages as `fit` counts it."""
    return sum(map(_message_size, messages))


def text_of(message: ChatMessage) -> str:
    """Returns all text of a message, including its calls and reasoning."""
    calls = [f"{call.name}({call.arguments})" for call in message.tool_calls]
    reasoning = [str(message.reasoning)] if message.reasoning else []
    return "\n".join([_text(message.content), *calls, *reasoning])


def fit(messages: Sequence[ChatMessage], *, room_chars: int) -> list[ChatMessage]:
    """Returns the messages that fit into `room_chars`; drops the oldest first, and adds a line that says so.

    The system message, the last question and the last message always stay; if they alone are too long, the longest lose
    their middle. Roles still alternate. The result exceeds `room_chars` only if the system message alone does.
    """
    if size_chars(messages) <= room_chars:
        return list(messages)
    recent = _recent(messages, room_chars)
    left_out = len(messages) - len(recent)
    note = LEFT_OUT.format(count=left_out)
    result: list[ChatMessage] = []
    for message in _cut([messages[index] for index in recent], room_chars - len(note) * bool(left_out)):
        if left_out and message.role != "system":
            result.append(_with_note(message, note))
            left_out = 0
        elif result and result[-1].role == message.role and message.role != "tool":
            result[-1] = _joined(result[-1], message)
        else:
            result.append(message)
    return result


def _recent(messages: Sequence[ChatMessage], room_chars: int) -> list[int]:
    """Returns the indexes of the messages to keep: the required ones, and the newest others that fit, without gaps."""
    needed = {0, _last_question(messages), *_last_step(messages)}
    room_chars -= sum(_message_size(messages[index]) for index in needed)
    oldest = len(messages)
    for index in reversed(range(len(messages))):
        if index not in needed:
            room_chars -= _message_size(messages[index])
        if room_chars < 0:
            break
        oldest = index
    # A message of the model makes sense only after the message that it answers.
    question = _last_question(messages)
    while oldest < len(messages) and not _may_begin(messages[oldest], is_answering=oldest > question):
        oldest += 1
    return sorted(needed | set(range(oldest, len(messages))))


def _may_begin(message: ChatMessage, *, is_answering: bool) -> bool:
    """Whether the kept messages may begin with this one: a user's message, or a call for the last question."""
    return message.role == "user" or (message.role == "assistant" and bool(message.tool_calls) and is_answering)


def _last_step(messages: Sequence[ChatMessage]) -> range:
    """Returns the last message; if it is a call's result, from the message with the call on, as servers require."""
    start = len(messages) - 1
    while start > 0 and messages[start].role == "tool":
        start -= 1
    return range(start, len(messages))


def _last_question(messages: Sequence[ChatMessage]) -> int:
    questions = (
        index
        for index in reversed(range(len(messages)))
        if messages[index].role == "user" and not _text(messages[index].content).startswith(HEADER)
    )
    return next(questions, len(messages) - 1)


def _cut(messages: list[ChatMessage], room_chars: int) -> list[ChatMessage]:
    """Cuts the longest texts, except the system message, to one length, so that all fit; drops images if necessary."""
    surplus = _fixed_size(messages) - room_chars
    if surplus > 0:
        messages = _without_images(messages, -(-surplus // IMAGE_CHARS))
    texts = [len(text) for message in messages for text in _cuttable(message)]
    room = room_chars - _fixed_size(messages)
    sizes = sorted(texts)
    longest = room_chars
    for index, size in enumerate(sizes):
        longest = max(SHORTEST_CHARS, room // (len(sizes) - index))
        if size > longest:
            break
        room -= size
    return [_excerpts(message, longest) for message in messages]


def _fixed_size(messages: Sequence[ChatMessage]) -> int:
    """Returns the size of what cannot be cut."""
    return sum(_message_size(message) - sum(map(len, _cuttable(message))) for message in messages)


def _cuttable(message: ChatMessage) -> list[str]:
    """Returns the texts that may be cut."""
    if message.role == "system":
        return []
    return [part["text"] for part in _listed(message.content) if part["type"] == "text"]


def _excerpts(message: ChatMessage, longest: int) -> ChatMessage:
    if all(len(text) <= longest for text in _cuttable(message)):
        return message
    if isinstance(message.content, str):
        return msgspec.structs.replace(message, content=excerpt(message.content, longest))
    parts = [
        part | {"text": excerpt(part["text"], longest)}
        if part["type"] == "text" and len(part["text"]) > longest
        else part
        for part in message.content
    ]
    return msgspec.structs.replace(message, content=parts)


def _without_images(messages: Sequence[ChatMessage], count: int) -> list[ChatMessage]:
    """Returns the messages without the oldest `count` images, or as many as there are.

    One line stands for all neighbours that are left out.
    """
    note = {"type": "text", "text": IMAGE_LEFT_OUT}
    result = []
    for message in messages:
        if count > 0 and not isinstance(message.content, str):
            parts: list[dict[str, Any]] = []
            for part in message.content:
                if count <= 0 or part["type"] == "text":
                    parts.append(part)
                    continue
                count -= 1
                if parts[-1:] != [note]:
                    parts.append(note)
            message = msgspec.structs.replace(message, content=parts)
        result.append(message)
    return result


def _with_note(message: ChatMessage, note: str) -> ChatMessage:
    if isinstance(message.content, str):
        return msgspec.structs.replace(message, content=f"{note}\n\n{message.content}")
    return msgspec.structs.replace(message, content=[{"type": "text", "text": note}, *message.content])


def _joined(one: ChatMessage, other: ChatMessage) -> ChatMessage:
    if isinstance(one.content, str) and isinstance(other.content, str):
        return ChatMessage(one.role, f"{one.content}\n\n{other.content}")
    return ChatMessage(one.role, _listed(one.content) + _listed(other.content))


def _listed(content: str | list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _text(content: str | list[dict[str, Any]]) -> str:
    return content if isinstance(content, str) else "\n\n".join(part.get("text", "") for part in content)


def _message_size(message: ChatMessage) -> int:
    measured: int | None = message.__dict__.get("size_chars")
    if measured is not None:
        return measured
    size = _size(message.content) + sum(len(call.name) + len(call.arguments) for call in message.tool_calls)
    message.__dict__["size_chars"] = size = size + (len(str(message.reasoning)) if message.reasoning else 0)
    return size


def _size(content: str | list[dict[str, Any]]) -> int:
    if isinstance(content, str):
        return len(content)
    return sum(len(part["text"]) if part["type"] == "text" else IMAGE_CHARS for part in content)
