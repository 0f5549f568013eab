"""One block of code at work: an execution enters; its outputs, and the calls it makes to functions, leave as events.

Functions of the host and of MCP servers are answered while the block goes on. A call of a client's function
is the client's to answer: once the code only waits for those, the block is suspended, the response ends, and
the next request resumes it with the values it brings.
"""

import asyncio
import time
from collections.abc import Mapping

import anyio
from anyio.abc import TaskGroup

from codeact.builder import ResponseBuilder
from codeact.tools import Function, FunctionError, Toolbox, value_of
from sandbox_pool.calls import Call
from sandbox_pool.execution import Execution
from sandbox_pool.outputs import Output
from sandbox_pool.sandbox import Sandbox

__all__ = ["Block", "Suspended"]

SETTLE_S = 0.03
"""So long nothing must come from the code, and no other call, before a response ends to have its calls answered."""
SETTLE_WITHIN_S = 0.5


class Suspended:
    """A block whose code waits for a client. Calls that nobody answers within `timeout_s` fail in the code, which
    then goes on alone; what it shows is kept, as far as the limit on output goes.
    """

    def __init__(self, item_id: str, block: "Block", *, timeout_s: float) -> None:
        self.item_id = item_id
        self.sandbox = block.sandbox
        self.execution = block.execution
        self.outputs = block.outputs
        self._waiting = {call.call_id: call for call in block.waiting}
        self._timeout_s = timeout_s
        self._timer = asyncio.get_running_loop().call_later(timeout_s, self._give_up)

    def resume(self, values: Mapping[str, str]) -> None:
        """Lets every call go on: with its value by call id, or with an error where the client sent none."""
        self._timer.cancel()
        for call in self._waiting.values():
            try:
                if call.call_id not in values:
                    raise FunctionError(f"{call.name}() was not answered: the user went on without it.")
                self.sandbox.answer(call, value=value_of(values[call.call_id]))
            except FunctionError as error:
                self.sandbox.answer(call, error=error.message)
        self._waiting.clear()

    def _give_up(self) -> None:
        for call in self._waiting.values():
            self.sandbox.answer(call, error=f"{call.name}() was not answered within {self._timeout_s:g} s.")
        self._waiting.clear()


class Block:
    """One execution as one response follows it. `outputs` are all it has shown; `waiting` the client's open calls."""

    def __init__(
        self,
        builder: ResponseBuilder,
        sandbox: Sandbox,
        execution: Execution,
        toolbox: Toolbox,
        *,
        call_timeout_s: float,
        outputs: list[Output] | None = None,
    ) -> None:
        self.sandbox = sandbox
        self.execution = execution
        self.outputs = outputs if outputs is not None else []
        self.waiting: list[Call] = []
        self._builder = builder
        self._toolbox = toolbox
        self._call_timeout_s = call_timeout_s
        self._answering = 0
        self._waits_since = 0.0

    async def follow(self) -> bool:
        """Passes on what the code does. True once it has ended, False once it waits for the client alone."""
        ended = False
        async with anyio.create_task_group() as tasks:
            while True:
                try:
                    item = await self._next()
                except StopAsyncIteration:
                    ended = True
                    tasks.cancel_scope.cancel()
                    break
                if isinstance(item, Call):
                    await self._take(item, tasks)
                elif item is not None:
                    self.outputs.append(item)
                    await self._builder.output(item)
                settled = item is None or time.monotonic() - self._waits_since > SETTLE_WITHIN_S
                if self.waiting and settled and not self._answering:
                    break
        return ended

    async def _next(self) -> Output | Call | None:
        """None where a client's call is open and nothing else comes."""
        with anyio.move_on_after(SETTLE_S if self.waiting else None):
            return await self.execution.next()
        return None

    async def _take(self, call: Call, tasks: TaskGroup) -> None:
        function = self._toolbox.get(call.name)
        try:
            if function is None:
                raise FunctionError(f"There is no function {call.name}() any more.")
            arguments = function.arguments(call.arguments)
        except FunctionError as error:
            self.sandbox.answer(call, error=error.message)
            return
        if function.answer is None:
            self._waits_since = self._waits_since if self.waiting else time.monotonic()
            self.waiting.append(call)
            await self._builder.calls.of_client(call)
        else:
            self._answering += 1
            tasks.start_soon(self._answer, call, function, arguments)

    async def _answer(self, call: Call, function: Function, arguments: dict[str, object]) -> None:
        assert function.answer is not None
        item = await self._builder.calls.outside(call, server=function.server or "host", name=function.name)
        try:
            with anyio.fail_after(self._call_timeout_s):
                value = await function.answer(arguments)
        except (FunctionError, TimeoutError) as error:
            late = f"{function.path}() did not answer within {self._call_timeout_s:g} s."
            words = error.message if isinstance(error, FunctionError) else late
            self.sandbox.answer(call, error=words)
            await self._builder.calls.answer(item, error=words)
        else:
            self.sandbox.answer(call, value=value)
            await self._builder.calls.answer(item, output=value)
        finally:
            self._answering -= 1
