"""Reads stored items; shows one that this version cannot read as such, instead of failing.

A newer version of the server, or a hand, may have stored what this version does not know. The document stays
as it is, so that going back to that version loses nothing.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from codeact.events import Input, InputMessage, Item, Message, OutputText
from sandbox_pool.logs import Logger

__all__ = ["read_input", "read_item", "read_items"]

log = Logger(__name__)

TYPE_CHARS, REASON_CHARS = 100, 300


def read_item(stored: Any) -> Item:
    """One item of an answer; a message that names its type where it cannot be read. Never raises."""
    try:
        item: Item = msgspec.convert(stored, Item)
        return item
    except msgspec.ValidationError as error:
        text = _said_of(stored, error)
        return Message(id=_id(stored, "msg"), status="completed", content=[OutputText(text=text)])


def read_items(stored: Iterable[Any]) -> list[Item]:
    return [read_item(each) for each in stored]


def read_input(stored: Iterable[Any]) -> list[Input]:
    """What a client said; a note of a developer stands for what cannot be read. Never raises."""
    return [_read_input(each) for each in stored]


def _read_input(stored: Any) -> Input:
    try:
        item: Input = msgspec.convert(stored, Input)
        return item
    except msgspec.ValidationError as error:
        part = {"type": "input_text", "text": _said_of(stored, error)}
        return InputMessage(id=_id(stored, "msg"), role="developer", content=[part])


def _said_of(stored: Any, error: Exception) -> str:
    kind = str(stored.get("type"))[:TYPE_CHARS] if isinstance(stored, dict) else type(stored).__name__
    reason = str(error)[:REASON_CHARS]  # It repeats the value that is not known, however long that is.
    log.warning("stored item not readable", type=kind, item=_id(stored, "")[:TYPE_CHARS], reason=reason)
    return f"[An item of the type '{kind}' stands here, which this version of the server cannot read.]"


def _id(stored: Any, otherwise: str) -> str:
    found = stored.get("id") if isinstance(stored, dict) else None
    return found if isinstance(found, str) else otherwise
