"""Reads stored items. An item that this version cannot read is shown as a placeholder instead of failing.

Such an item may come from a newer version of the server or from a manual edit. The document is left unchanged, so that
the newer version can read it again.
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
    """Reads one item of an answer. Returns a message that names its type if it cannot be read. Never raises."""
    try:
        item: Item = msgspec.convert(stored, Item)
        return item
    except msgspec.ValidationError as error:
        text = _placeholder(stored, error)
        return Message(id=_id(stored, "msg"), status="completed", content=[OutputText(text=text)])


def read_items(stored: Iterable[Any]) -> list[Item]:
    return [read_item(each) for each in stored]


def read_input(stored: Iterable[Any]) -> list[Input]:
    """Reads what a client sent. A developer message stands in for an item that cannot be read. Never raises."""
    return [_read_input(each) for each in stored]


def _read_input(stored: Any) -> Input:
    try:
        item: Input = msgspec.convert(stored, Input)
        return item
    except msgspec.ValidationError as error:
        part = {"type": "input_text", "text": _placeholder(stored, error)}
        return InputMessage(id=_id(stored, "msg"), role="developer", content=[part])


def _placeholder(stored: Any, error: Exception) -> str:
    kind = str(stored.get("type"))[:TYPE_CHARS] if isinstance(stored, dict) else type(stored).__name__
    reason = str(error)[:REASON_CHARS]  # Shortened, because it repeats the unknown value, which can be long.
    log.warning("stored item not readable", type=kind, item=_id(stored, "")[:TYPE_CHARS], reason=reason)
    return f"[An item of the type '{kind}' stands here, which this version of the server cannot read.]"


def _id(stored: Any, otherwise: str) -> str:
    found = stored.get("id") if isinstance(stored, dict) else None
    return found if isinstance(found, str) else otherwise
