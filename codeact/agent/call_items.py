"""Emits the events of calls that running code makes to functions outside of its sandbox."""

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from functools import partial
from typing import Literal

import msgspec

from codeact import events as e
from codeact.agent.patch_items import PatchItems
from codeact.agent.shell_items import ShellItems
from codeact.ids import new_id
from codeact.storable import not_storable
from codeact.tools.function import Function, FunctionError
from sandbox_pool.calls import Call

__all__ = ["CallItems", "Emit", "check_client_call", "report_step", "reports_to"]

MOST_STEPS = 200
"""Limit for one call. A step has about 24 kB at most."""

Emit = Callable[[e.Event], Awaitable[None]]
"""Takes the events in order. When it returns, everything that the event acknowledges is stored."""


def check_client_call(function: Function, arguments: dict[str, object]) -> None:
    """Raises `FunctionError` unless the arguments of a call of a client's shell or search can be in its item."""
    kinds = {"shell": e.ShellAction, "local_shell": e.LocalShellAction}
    if function.is_search and (problem := not_storable(arguments)) is not None:
        raise FunctionError(f"{function.name}(): {problem}.")
    if function.client_shell is None:
        return
    extra = {"type": "exec"} if function.client_shell == "local_shell" else {}
    try:
        msgspec.convert({**extra, **arguments}, kinds[function.client_shell])
    except msgspec.ValidationError as error:
        raise FunctionError(f"{function.name}(): {error}") from None


_report: ContextVar[Callable[[e.CallStep], Awaitable[None]]] = ContextVar("report")


def report_step() -> Callable[[e.CallStep], Awaitable[None]]:
    """Returns the function that reports steps of the current call. Call it in the task that answers the call."""
    return _report.get(_ignored)


def reports_to(calls: "CallItems", item: e.McpCall) -> None:
    """Makes `report_step` in this task add the steps to the item."""
    _report.set(partial(calls.step, item))


async def _ignored(step: e.CallStep) -> None:
    """Drops the step: no call is active in this task."""


class CallItems:
    """Emits the items of function calls in one response. Several tasks may call it."""

    def __init__(self, response: e.Response, emit: Emit) -> None:
        self._response = response
        self._emit = emit
        self.shell = ShellItems(self._emit, self._add)
        self.patches = PatchItems(self._emit, self._add)
        self._open: dict[str, tuple[int, e.FunctionCall | e.CustomToolCall | e.McpCall]] = {}

    def resume(self, index: int, item: e.FunctionCall | e.CustomToolCall | e.McpCall) -> None:
        """Registers a call that another process left open."""
        self._open[item.id] = (index, item)

    async def of_client(self, call: Call, function: Function) -> None:
        """Emits the complete item for a call of a client's function; a later request brings its value."""
        code = next(item for item in reversed(self._response.output) if isinstance(item, e.CodeInterpreterCall))
        if function.is_custom:
            await self._custom(call, function, code.id)
            return
        if function.is_search:
            await self._client_search(call, code.id)
            return
        if function.client_shell is not None:
            await self._client_shell(call, function.client_shell, code.id)
            return
        namespace = function.server or msgspec.UNSET
        item = e.FunctionCall(
            id=new_id("fc"), call_id=call.call_id, name=function.name, namespace=namespace, code_item_id=code.id
        )
        item.caller = self._caller(code.id)
        index = await self._add(item)
        item.arguments = call.arguments
        await self._emit(e.FunctionArgumentsDelta(item_id=item.id, output_index=index, delta=call.arguments))
        await self._emit(
            e.FunctionArgumentsDone(item_id=item.id, output_index=index, arguments=call.arguments, name=item.name)
        )
        item.status = "completed"
        await self._emit(e.OutputItemDone(output_index=index, item=item))

    def _caller(self, code_item_id: str) -> e.ProgramCaller | msgspec.UnsetType:
        """Which code made a call, for clients that know programs."""
        knows = any(tool.get("type") == "programmatic_tool_calling" for tool in self._response.tools)
        return e.ProgramCaller(code_item_id) if knows else msgspec.UNSET

    async def _custom(self, call: Call, function: Function, code_item_id: str) -> None:
        """Emits the complete item for a call with plain text."""
        namespace, text = function.server or msgspec.UNSET, function.text_of(call.arguments)
        item = e.CustomToolCall(
            id=new_id("ctc"), call_id=call.call_id, name=function.name, namespace=namespace, code_item_id=code_item_id
        )
        item.caller = self._caller(code_item_id)
        index = await self._add(item)
        item.input = text
        await self._emit(e.CustomInputDelta(item_id=item.id, output_index=index, delta=text))
        await self._emit(e.CustomInputDone(item_id=item.id, output_index=index, input=text))
        item.status = "completed"
        await self._emit(e.OutputItemDone(output_index=index, item=item))

    async def _client_search(self, call: Call, code_item_id: str) -> None:
        """Emits the complete item for a search by the client. Its arguments have been checked."""
        given = msgspec.json.decode(call.arguments)
        item = e.ToolSearchCall(id=new_id("tsc"), call_id=call.call_id, arguments=given)
        item.code_item_id, item.status = code_item_id, "completed"
        await self._emit(e.OutputItemDone(output_index=await self._add(item), item=item))

    async def _client_shell(self, call: Call, kind: Literal["shell", "local_shell"], code_item_id: str) -> None:
        """Emits the complete item for commands that the client runs. Their arguments have been checked."""
        given = msgspec.json.decode(call.arguments)
        item: e.ShellCall | e.LocalShellCall
        if kind == "shell":
            action = msgspec.convert(given, e.ShellAction)
            item = e.ShellCall(id=new_id("sh"), call_id=call.call_id, action=action, environment=e.ShellLocal())
            item.caller = self._caller(code_item_id)
        else:
            exec_ = msgspec.convert({"type": "exec", **given}, e.LocalShellAction)
            item = e.LocalShellCall(id=new_id("lsh"), call_id=call.call_id, action=exec_)
        item.code_item_id, item.status = code_item_id, "completed"
        await self._emit(e.OutputItemDone(output_index=await self._add(item), item=item))

    async def outside(self, call: Call, *, server: str, name: str, approval_request_id: str | None = None) -> e.McpCall:
        """Opens the item for a call of a host function or an MCP tool; `answer` closes it."""
        item = e.McpCall(id=new_id("mcp"), server_label=server, name=name, approval_request_id=approval_request_id)
        index = await self._add(item)
        self._open[item.id] = (index, item)
        await self._emit(e.McpInProgress(item_id=item.id, output_index=index))
        item.arguments = call.arguments
        await self._emit(e.McpArgumentsDelta(item_id=item.id, output_index=index, delta=call.arguments))
        await self._emit(e.McpArgumentsDone(item_id=item.id, output_index=index, arguments=call.arguments))
        return item

    async def list_begins(self, server: str) -> tuple[int, e.McpListTools]:
        """Opens the item for the tools of an MCP server; `list_ends` closes it."""
        item = e.McpListTools(id=new_id("mcpl"), server_label=server)
        index = await self._add(item)
        await self._emit(e.McpListInProgress(item_id=item.id, output_index=index))
        return index, item

    async def list_ends(
        self, begun: tuple[int, e.McpListTools], tools: list[e.McpListedTool], error: str | None
    ) -> None:
        """Closes the item with the tools, or with why they cannot be used."""
        index, item = begun
        item.tools, item.error = tools, error
        done = e.McpListCompleted if error is None else e.McpListFailed
        await self._emit(done(item_id=item.id, output_index=index))
        await self._emit(e.OutputItemDone(output_index=index, item=item))

    async def step(self, item: e.McpCall, step: e.CallStep) -> None:
        """Adds a step of the agent that this call started. Does nothing if the call has ended or has too many steps."""
        if item.id in self._open and len(item.steps) < MOST_STEPS:
            index, _ = self._open[item.id]
            item.steps.append(step)
            await self._emit(e.McpStep(item_id=item.id, output_index=index, step=step))

    async def answer(self, item: e.McpCall, *, output: str | None = None, error: str | None = None) -> None:
        """Closes the call with its value as JSON text, or with an error message."""
        index, _ = self._open.pop(item.id)
        item.output = output
        item.error = None if error is None else e.McpError.of(error)
        item.status = "completed" if error is None else "failed"
        done = e.McpCompleted if error is None else e.McpFailed
        await self._emit(done(item_id=item.id, output_index=index))
        await self._emit(e.OutputItemDone(output_index=index, item=item))

    async def close(self) -> None:
        """Closes the open calls as incomplete, because their code has ended."""
        await self.shell.close()
        await self.patches.close()
        while self._open:
            _, (index, item) = self._open.popitem()
            item.status = "incomplete"
            await self._emit(e.OutputItemDone(output_index=index, item=item))

    async def approval(self, request: e.ApprovalRequest | e.CodeApprovalRequest) -> None:
        """Emits the complete item for something that waits for approval."""
        index = await self._add(request)
        await self._emit(e.OutputItemDone(output_index=index, item=request))

    async def _add(self, item: e.Item) -> int:
        """Adds an item next to the open block of code, and returns its index."""
        self._response.output.append(item)
        index = len(self._response.output) - 1
        await self._emit(e.OutputItemAdded(output_index=index, item=item))
        return index
