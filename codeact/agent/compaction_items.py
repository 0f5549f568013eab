"""Emits the events of one response's compactions."""

from codeact import events as e
from codeact.agent.call_items import Emit
from codeact.ids import new_id

__all__ = ["CompactionItems"]


class CompactionItems:
    """Emits the compactions of one response, of which at most one is open."""

    def __init__(self, response: e.Response, emit: Emit) -> None:
        self._response = response
        self._emit = emit
        self._open: tuple[int, e.Compaction] | None = None

    def resume(self, index: int, item: e.Compaction) -> None:
        """Registers an item that another process left open."""
        self._open = index, item

    async def begin(self) -> None:
        """Opens an item, before its text is written."""
        item = e.Compaction(id=new_id("cmp"))
        self._response.output.append(item)
        index = len(self._response.output) - 1
        self._open = index, item
        await self._emit(e.OutputItemAdded(output_index=index, item=item))
        await self._emit(e.CompactionCompacting(item_id=item.id, output_index=index))

    async def end(self, text: str, *, sealed: str, keeps: list[str]) -> None:
        """Closes the item: from now on the model reads `text` instead of all earlier items except `keeps`."""
        assert self._open is not None, "no compaction is open"
        _, item = self._open
        item.text, item.encrypted_content, item.keeps = text, sealed, keeps
        await self.close()

    async def close(self) -> None:
        """Ends the open item, if there is one. Without a text it has no effect."""
        if self._open is not None:
            (index, item), self._open = self._open, None
            await self._emit(e.OutputItemDone(output_index=index, item=item))
