"""Calls that running code makes to functions outside of its sandbox: they enter, events of items beside it leave."""

from collections.abc import Awaitable, Callable

from codeact import events as e
from codeact.ids import new_id
from sandbox_pool.calls import Call

__all__ = ["Calls", "Emit"]

Emit = Callable[[e.Event], Awaitable[None]]
"""Takes an event, in order. When it returns, what the event acknowledges is stored."""


class Calls:
    """Those of one response. Several tasks may call it."""

    def __init__(self, response: e.Response, emit: Emit) -> None:
        self._response = response
        self._emit = emit
        self._open: dict[str, tuple[int, e.FunctionCall | e.McpCall]] = {}

    def go_on(self, index: int, item: e.FunctionCall | e.McpCall) -> None:
        """Takes up a call that another process left open."""
        self._open[item.id] = (index, item)

    async def of_client(self, call: Call) -> None:
        """A client's function is called: an item from its start to its end, since the value comes with a request."""
        code = next(item for item in reversed(self._response.output) if isinstance(item, e.CodeInterpreterCall))
        item = e.FunctionCall(id=new_id("fc"), call_id=call.call_id, name=call.name, code_item_id=code.id)
        index = await self._add(item)
        item.arguments = call.arguments
        await self._emit(e.FunctionArgumentsDelta(item_id=item.id, output_index=index, delta=call.arguments))
        await self._emit(
            e.FunctionArgumentsDone(item_id=item.id, output_index=index, arguments=call.arguments, name=call.name)
        )
        item.status = "completed"
        await self._emit(e.OutputItemDone(output_index=index, item=item))

    async def outside(self, call: Call, *, server: str, name: str) -> e.McpCall:
        """A function of the host or of an MCP server is called; to be closed by `answer`."""
        item = e.McpCall(id=new_id("mcp"), server_label=server, name=name)
        index = await self._add(item)
        self._open[item.id] = (index, item)
        await self._emit(e.McpInProgress(item_id=item.id, output_index=index))
        item.arguments = call.arguments
        await self._emit(e.McpArgumentsDelta(item_id=item.id, output_index=index, delta=call.arguments))
        await self._emit(e.McpArgumentsDone(item_id=item.id, output_index=index, arguments=call.arguments))
        return item

    async def answer(self, item: e.McpCall, *, output: str | None = None, error: str | None = None) -> None:
        """Closes the call with its value as JSON text, or with why there is none."""
        index, _ = self._open.pop(item.id)
        item.output, item.error = output, error
        item.status = "completed" if error is None else "failed"
        done = e.McpCompleted if error is None else e.McpFailed
        await self._emit(done(item_id=item.id, output_index=index))
        await self._emit(e.OutputItemDone(output_index=index, item=item))

    async def close(self) -> None:
        """Ends those that are open as incomplete: their code has ended."""
        while self._open:
            _, (index, item) = self._open.popitem()
            item.status = "incomplete"
            await self._emit(e.OutputItemDone(output_index=index, item=item))

    async def _add(self, item: e.FunctionCall | e.McpCall) -> int:
        """Adds an item next to the open block of code; its index."""
        self._response.output.append(item)
        index = len(self._response.output) - 1
        await self._emit(e.OutputItemAdded(output_index=index, item=item))
        return index
