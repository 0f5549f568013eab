"""Recognises the answers of this server in a history that a client sends back without the ids of its items."""

import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from codeact.events import Message, Response
from codeact.runs.input_items import InputImage, InputItem, InputText, MessageItem, OutputText, Part, Refusal

__all__ = ["History", "KnownAnswers", "answer_keys", "answered_key", "history_of"]

MOST_ANSWERS = 20_000
MOST_PENDING = 5_000
LONG_CHARS = 20_000
"""White space counts in longer texts, and after `MOST_CHARS` of a history, since removing it takes time."""
MOST_CHARS = 500_000


@dataclass(frozen=True, slots=True)
class History:
    """Hashes of what user and assistant say in a request: of all of it, and of the last answer with what comes before.

    Consecutive messages of one role count as one message. `answered` is None if the assistant says nothing.
    """

    asked: bytes
    answered: bytes | None


def history_of(value: str | list[InputItem]) -> History:
    """Returns the hashes of a request's input, in linear time."""
    everything, answer = hashlib.sha256(), hashlib.sha256()
    role, before, answered = "", b"", None
    left = MOST_CHARS
    for who, text in _said(value):
        if who != role:
            before, answer = everything.digest(), hashlib.sha256()
            everything.update(b"\0" + who.encode())
            role = who
        plain = _plain(text, left)
        left -= len(text)
        everything.update(plain)
        if who == "assistant":
            answer.update(plain)
            answered = (before, answer)
    return History(everything.digest(), None if answered is None else _joined(answered[0], answered[1].digest()))


class KnownAnswers:
    """The newest answers of this process, by hashes of owner, history and text.

    If two conversations of an owner have the same text, neither is found: code must not get the variables of another
    user of the same key.
    """

    def __init__(self) -> None:
        self._pending: OrderedDict[str, tuple[str, bytes]] = OrderedDict()
        self._answers: OrderedDict[bytes, tuple[str, str | None]] = OrderedDict()

    def begun(self, response: Response, history: History, *, owner: str) -> None:
        """Remembers the history before a response, until the response has ended."""
        if response.conversation is not None:
            self._pending[response.id] = (owner, history.asked)
        if len(self._pending) > MOST_PENDING:
            self._pending.popitem(last=False)

    def ended(self, response: Response) -> None:
        """Remembers the answer: all prose of the response, and its last message, since some clients store only that."""
        owner, asked = self._pending.pop(response.id, (None, b""))
        if owner is None or response.conversation is None:
            return
        for key in answer_keys(response, asked, owner=owner):
            known = self._answers.pop(key, None)
            is_unique = known is None or known[0] == response.conversation.id
            self._answers[key] = (response.conversation.id, response.output[-1].id if is_unique else None)
        while len(self._answers) > MOST_ANSWERS:
            self._answers.popitem(last=False)

    def find(self, history: History, *, owner: str) -> str | None:
        """The id of the last item of the newest answer in this history; None if it is not known for certain."""
        key = answered_key(history, owner=owner)
        return None if key is None else self._answers.get(key, ("", None))[1]


def answer_keys(response: Response, asked: bytes, *, owner: str) -> list[bytes]:
    """The hashes by which an answer is found: of all its prose, and of its last message. `asked`: see `History`."""
    prose = ["".join(part.text for part in item.content) for item in response.output if isinstance(item, Message)]
    keys = []
    for parts in [prose, prose[-1:]][: len(prose)]:
        answer = hashlib.sha256(b"".join(_plain(part, MOST_CHARS) for part in parts)).digest()
        keys.append(_key(owner, _joined(asked, answer)))
    return keys


def answered_key(history: History, *, owner: str) -> bytes | None:
    """The hash by which the newest answer in this history is found; None if the assistant says nothing in it."""
    return None if history.answered is None else _key(owner, history.answered)


def _said(value: str | list[InputItem]) -> Iterator[tuple[str, str]]:
    """The role and the text of each part of what user and assistant say; hashes stand for images and files."""
    if isinstance(value, str):
        yield "user", value
        return
    for item in value:
        if isinstance(item, MessageItem) and item.role in ("user", "assistant"):
            for part in [InputText(item.content)] if isinstance(item.content, str) else item.content:
                yield item.role, _text(part)


def _text(part: Part) -> str:
    match part:
        case InputText(text) | OutputText(text) | Refusal(text):
            return text
        case InputImage(url, file_id):
            named = url or file_id or ""
        case _:
            named = part.file_data or part.file_id or ""
    return f"\0{hashlib.sha256(named.encode(errors='replace')).hexdigest()}\0"


def _plain(text: str, left: int) -> bytes:
    """The text without white space, unless it is long."""
    return ("".join(text.split()) if len(text) <= min(LONG_CHARS, left) else text).encode(errors="replace")


def _joined(before: bytes, answer: bytes) -> bytes:
    return hashlib.sha256(before + answer).digest()


def _key(owner: str, answered: bytes) -> bytes:
    return hashlib.sha256(answered + owner.encode(errors="replace")).digest()
