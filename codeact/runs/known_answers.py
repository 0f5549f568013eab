"""Recognises the answers of this server in a history that a client sends back without the ids of its items."""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence

import msgspec

from codeact.events import Message, Response
from codeact.runs.input_items import InputImage, InputItem, InputText, MessageItem, OutputText, Part, Refusal

__all__ = ["HistoryLine", "KnownAnswers", "history_of"]

HistoryLine = tuple[str, str]
"""The role, `user` or `assistant`, and the text without white space."""

MOST_ANSWERS = 20_000
MOST_PENDING = 5_000


def history_of(value: str | list[InputItem]) -> list[HistoryLine]:
    """Returns the messages of user and assistant in a request's input. Consecutive messages of one role are joined."""
    if isinstance(value, str):
        return [("user", _plain(value))]
    lines: list[HistoryLine] = []
    for item in value:
        if not isinstance(item, MessageItem) or item.role not in ("user", "assistant"):
            continue
        parts = [InputText(item.content)] if isinstance(item.content, str) else item.content
        text = "".join(map(_part, parts))
        if lines and lines[-1][0] == item.role:
            text = lines.pop()[1] + text
        lines.append((item.role, text))
    return lines


class KnownAnswers:
    """The newest answers of this process, by hashes of owner, history and text.

    If two conversations of an owner have the same text, neither is found: code must not get the variables of another
    user of the same key.
    """

    def __init__(self) -> None:
        self._pending: OrderedDict[str, tuple[str, Sequence[HistoryLine]]] = OrderedDict()
        self._answers: OrderedDict[bytes, tuple[str, str | None]] = OrderedDict()

    def begun(self, response: Response, history: Sequence[HistoryLine], *, owner: str) -> None:
        """Remembers the history before a response, until the response has ended."""
        if response.conversation is not None:
            self._pending[response.id] = (owner, history)
        if len(self._pending) > MOST_PENDING:
            self._pending.popitem(last=False)

    def ended(self, response: Response) -> None:
        """Remembers the answer: all prose of the response, and its last message, since some clients store only that."""
        owner, history = self._pending.pop(response.id, (None, ()))
        prose = ["".join(part.text for part in item.content) for item in response.output if isinstance(item, Message)]
        if owner is None or response.conversation is None or not prose:
            return
        for text in {_plain("".join(prose)), _plain(prose[-1])}:
            key = _key(owner, [*history, ("assistant", text)])
            known = self._answers.pop(key, None)
            is_unique = known is None or known[0] == response.conversation.id
            self._answers[key] = (response.conversation.id, response.output[-1].id if is_unique else None)
        while len(self._answers) > MOST_ANSWERS:
            self._answers.popitem(last=False)

    def find(self, history: Sequence[HistoryLine], *, owner: str) -> str | None:
        """Returns the id of the last item of the newest answer in this history; None if it is unknown or ambiguous."""
        answers = [at for at, line in enumerate(history) if line[0] == "assistant"]
        if not answers:
            return None
        return self._answers.get(_key(owner, history[: answers[-1] + 1]), ("", None))[1]


def _part(part: Part) -> str:
    match part:
        case InputText(text) | OutputText(text) | Refusal(text):
            return _plain(text)
        case InputImage(url, file_id):
            named = url or file_id or ""
        case _:
            named = part.file_data or part.file_id or ""
    return f"\0{hashlib.sha256(named.encode(errors='replace')).hexdigest()}\0"


def _plain(text: str) -> str:
    return "".join(text.split())


def _key(owner: str, history: Sequence[HistoryLine]) -> bytes:
    return hashlib.sha256(msgspec.json.encode([owner, history])).digest()
