"""Renders the prompts of a conversation part by part, so that each prompt renders only what was added since the last.

A part begins with a question of the user that follows an answer. It is rendered by itself if nothing in it refers to
earlier parts. No I/O.
"""

import sys
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from operator import is_

from codeact.dialect.base import Aside, Entry
from codeact.dialect.history import text_of
from codeact.events import (
    Approval,
    ClientCall,
    CodeApproval,
    CodeInterpreterCall,
    FunctionCallOutput,
    InputMessage,
    Message,
)
from codeact.model import ChatMessage

__all__ = ["KnownPrompt", "Render"]

Render = Callable[[Sequence[Entry]], list[ChatMessage]]
"""Converts items into messages, of which the first is the system message."""

MESSAGE_BYTES = 1_000
"""What a message takes in memory beside its content."""


@dataclass(frozen=True, slots=True)
class _Part:
    """The messages of the items up to `end`, from the end of the part before."""

    end: int
    messages: list[ChatMessage]
    size_bytes: int

    @classmethod
    def of(cls, end: int, messages: list[ChatMessage]) -> "_Part":
        return cls(end, messages, sum(map(_size_bytes, messages)))


class KnownPrompt:
    """The messages of one conversation as they were rendered last.

    One answer uses it at a time. `images` are contents of displayed images by their URLs, `inlined` messages of the
    user with the contents of their images, by their ids and with what they were made of. `masked` has what `Masks`
    notes.
    """

    def __init__(self) -> None:
        self.images: dict[str, str] = {}
        self.inlined: dict[str, tuple[InputMessage, InputMessage]] = {}
        self.masked: dict[str, tuple[CodeInterpreterCall, object, CodeInterpreterCall]] = {}
        self._form: Hashable = None
        self._system = ""
        self._items: Sequence[Entry] = ()
        self._parts: list[_Part] = []
        self._whole: list[ChatMessage] | None = None

    @property
    def size_bytes(self) -> int:
        """Roughly how much memory it takes."""
        messages = sum(part.size_bytes for part in self._parts)
        return messages + sum(map(len, self.images.values())) + MESSAGE_BYTES * len(self.masked)

    def messages(
        self, items: Sequence[Entry], *, unchanging: int, system: str, form: Hashable, render: Render
    ) -> list[ChatMessage]:
        """Returns what `render(items)` returns. The caller must not change the list.

        Nobody may change the first `unchanging` items any more. `system` is the text of the system message. What was
        rendered before counts only for an equal `form`. The same items and texts give the same list.
        """
        if form != self._form:
            self._forget()
            self._form = form
        same = _common(items, self._items, unchanging)
        if self._whole is not None and system == self._system and same == len(items) == len(self._items):
            return self._whole
        parts = [part for part in self._parts if part.end <= same]
        while parts and not _begins_part(items, parts[-1].end):
            parts.pop()
        beginnings = _beginnings(items, parts[-1].end if parts else 0)
        if beginnings is None:
            parts, beginnings = [], _beginnings(items, 0) or [0]
        if parts and system != self._system:
            parts[0] = _Part.of(parts[0].end, render(items[: parts[0].end]))
        messages = [message for part in parts for message in part.messages]
        for start, end in pairwise([*beginnings, len(items)]):
            added = render(items[start:end])
            if start:
                added = added[1:]
                if not added or (messages[-1].role, added[0].role) != ("assistant", "user"):
                    self._forget()
                    return render(items)
            messages += added
            parts.append(_Part.of(end, added))
        self._items, self._system = items[:unchanging], system
        self._parts = [part for part in parts if part.end <= unchanging]
        self._whole = messages if unchanging >= len(items) else None
        return messages

    def _forget(self) -> None:
        self._items, self._parts, self._whole = (), [], None


def _common(items: Sequence[Entry], known: Sequence[Entry], most: int) -> int:
    """Returns how many items at the beginning are the same, at most `most`."""
    same = list(map(is_, islice(items, most), known))
    return len(same) if all(same) else same.index(False)


def _begins_part(items: Sequence[Entry], at: int) -> bool:
    """Whether a question of the user with a content stands here, after an answer."""
    if not 0 < at < len(items):
        return False
    item, before = items[at], items[at - 1]
    return (
        isinstance(item, InputMessage)
        and item.role == "user"
        and any(part.get("text") or "text" not in part for part in item.content)
        and isinstance(before, Message)
        and before.before_result_of is None
        and bool(text_of(before))
    )


def _beginnings(items: Sequence[Entry], start: int) -> list[int] | None:
    """Returns where the parts from `start` on begin. Items that refer to each other are in one part.

    Returns None if one of them refers to an item before `start`.
    """
    beginnings, covered = [start], set[str]()
    places: dict[str, int] = {}
    for at in range(start, len(items)):
        if at > start and _begins_part(items, at):
            beginnings.append(at)
        item = items[at]
        for name in _needs(item):
            if name not in places and start:
                return None
            _join(beginnings, places.get(name, at))
        for name in _names(item):
            _join(beginnings, places.setdefault(name, at))
        if isinstance(item, Message | CodeInterpreterCall) and item.written is not None:
            covered.update(item.written.items)
    if start and covered:
        covered -= {item.id for item in items[start:] if not isinstance(item, Aside)}
    return None if start and covered else beginnings


def _join(beginnings: list[int], place: int) -> None:
    """Removes the beginnings after this place."""
    while beginnings[-1] > place:
        beginnings.pop()


def _needs(item: Entry) -> Iterator[str]:
    """The ids of earlier items and calls without which the item cannot be rendered."""
    match item:
        case Message(before_result_of=str(id_)) | CodeInterpreterCall(continues=str(id_)):
            yield id_
        case FunctionCallOutput(call_id=id_):
            yield id_
        case Approval(approval_request_id=id_) | CodeApproval(approval_request_id=id_):
            yield id_


def _names(item: Entry) -> Iterator[str]:
    """The item's ids, and the ids of earlier or later items and calls with which it is rendered."""
    if isinstance(item, Aside):
        return
    yield item.id
    if isinstance(item, ClientCall):
        yield item.call_id
    if isinstance(item, CodeInterpreterCall):
        yield from item.waits_for
    if isinstance(item, Message | CodeInterpreterCall) and item.written is not None:
        yield from item.written.items


def _size_bytes(message: ChatMessage) -> int:
    if isinstance(message.content, str):
        texts = [message.content]
    else:
        texts = [part["text"] if part["type"] == "text" else part["image_url"]["url"] for part in message.content]
    texts += [str(message.reasoning), *(call.arguments for call in message.tool_calls)]
    return MESSAGE_BYTES + sum(map(sys.getsizeof, texts))
