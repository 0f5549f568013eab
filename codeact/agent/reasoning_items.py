"""Emits the events of the model's reasoning within one response.

Reasoning may arrive while a message or a block of code is open. Then it is a separate item, and the open one continues.
"""

from collections.abc import Callable
from typing import Any, Literal

from codeact import events as e
from codeact.agent.call_items import Emit
from codeact.ids import new_id

__all__ = ["ReasoningItems"]


class ReasoningItems:
    """Emits the reasoning of one response, with at most one open item. Not safe for concurrent calls."""

    def __init__(self, response: e.Response, emit: Emit) -> None:
        self._response = response
        self._emit = emit
        self._open: tuple[int, e.Reasoning] | None = None
        self.seal: Callable[[e.Reasoning], str | None] | None = None
        """Encrypts what the model of a reasoning item needs back, for a client that asked for it."""

    def resume(self, index: int, item: e.Reasoning) -> None:
        """Registers an item that another process left open."""
        self._open = index, item

    async def add(self, delta: str, *, model: str = "") -> None:
        """Appends to the open item, or opens one; white space at its beginning is dropped.

        `model` is set if the model sent the reasoning separately from its text; that model gets it back.
        """
        if self._open is None:
            delta = delta.lstrip()
            if not delta:
                return
            self._open = await self._begin()
        index, item = self._open
        if model and item.kept is None:
            item.kept = e.KeptReasoning(model=model)
        if not item.content:
            await self._begin_text(index, item)
        item.content[0].add(delta)
        await self._emit(e.ReasoningTextDelta(item_id=item.id, output_index=index, delta=delta))

    async def keep(self, fields: dict[str, Any], *, model: str) -> None:
        """Stores the provider's own fields in the open item, or in a new one without text. See `KeptReasoning`.

        What neither an event nor a document can hold is left out. A field with the value None is only the provider's
        name for the text of the reasoning.
        """
        data = {name: value for name, value in fields.items() if value is not None and _can_be_stored({name: value})}
        named = next((name for name, value in fields.items() if value is None), None)
        if self._open is None:
            if not data:
                return
            self._open = await self._begin(with_text=False)
        _, item = self._open
        kept = item.kept or e.KeptReasoning(model=model)
        item.kept = e.KeptReasoning(model=model, field=named or kept.field, data={**kept.data, **data})

    async def close(self, status: Literal["completed", "incomplete"] = "completed") -> None:
        """Ends the open item, if there is one."""
        if self._open is None:
            return
        (index, item), self._open = self._open, None
        item.status = status
        if self.seal is not None:
            item.encrypted_content = self.seal(item)
        for part in item.content:
            await self._emit(e.ReasoningTextDone(item_id=item.id, output_index=index, text=part.text))
            await self._emit(e.ContentPartDone(item_id=item.id, output_index=index, part=part))
        await self._emit(e.OutputItemDone(output_index=index, item=item))

    async def replace(self, index: int, message: e.Message, *, is_open: bool) -> None:
        """Replaces a message by reasoning, because the model marked it as a thought only afterwards.

        The deltas already sent remain; a further `response.output_item.done` has the reasoning item, with the message's
        id and index.
        """
        part = message.content[0]
        if is_open:
            await self._emit(e.OutputTextDone(item_id=message.id, output_index=index, text=part.text))
            await self._emit(e.ContentPartDone(item_id=message.id, output_index=index, part=part))
        content = [e.ReasoningTextPart(text=part.text)]
        item = e.Reasoning(id=message.id, content=content, status="completed")
        self._response.output[index] = item
        await self._emit(e.OutputItemDone(output_index=index, item=item))

    async def _begin(self, *, with_text: bool = True) -> tuple[int, e.Reasoning]:
        item = e.Reasoning(id=new_id("rs"), content=[])
        self._response.output.append(item)
        index = len(self._response.output) - 1
        await self._emit(e.OutputItemAdded(output_index=index, item=item))
        if with_text:
            await self._begin_text(index, item)
        return index, item

    async def _begin_text(self, index: int, item: e.Reasoning) -> None:
        part = e.ReasoningTextPart(text="")
        item.content.append(part)
        await self._emit(e.ContentPartAdded(item_id=item.id, output_index=index, part=part))


def _can_be_stored(value: Any) -> bool:
    """Whether it is in UTF-8 without halves of characters, its integers have 64 bits, and its names have no zero."""
    if isinstance(value, str):
        return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    if isinstance(value, list):
        return all(map(_can_be_stored, value))
    if isinstance(value, dict):
        return all("\0" not in name and _can_be_stored(name) and _can_be_stored(each) for name, each in value.items())
    return True
