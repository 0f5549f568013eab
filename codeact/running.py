"""Code within one answer: it enters with the conversation's workspace, its outputs go to the builder as they come."""

from collections.abc import Sequence

import anyio
from anyio.abc import TaskGroup

from codeact import events as e
from codeact import prompt
from codeact.block import Block, Suspended
from codeact.builder import ResponseBuilder
from codeact.options import AgentOptions
from codeact.workspace import Workspace
from codeact.written import WrittenFiles
from sandbox_pool.execution import Execution
from sandbox_pool.outputs import Output, fold
from sandbox_pool.sandbox import Sandbox

__all__ = ["CodeRunner"]

STOP_DEADLINE_S = 10.0
TELL_AFTER_S = 0.5


class CodeRunner:
    """Runs one block after the other. `beside` are tasks that the answer waits for before it ends."""

    def __init__(
        self,
        builder: ResponseBuilder,
        context: Sequence[e.Input | e.Item],
        workspace: Workspace,
        options: AgentOptions,
        beside: TaskGroup,
    ) -> None:
        self.written = WrittenFiles(options.collect, beside)
        self._builder = builder
        self._context = context
        self._workspace = workspace
        self._options = options
        self._beside = beside

    async def claim(self) -> Sandbox:
        """The conversation's sandbox; readers are told why they wait for it, where they do."""
        waiting = anyio.CancelScope()
        if self._workspace.container_id is None:
            self._beside.start_soon(self._tell_of_waiting, waiting)
        try:
            return await self._workspace.sandbox()
        finally:
            waiting.cancel()

    async def _tell_of_waiting(self, waiting: anyio.CancelScope) -> None:
        told: str | None = None
        with waiting:
            await anyio.sleep(TELL_AFTER_S)
            while True:
                if (progress := self._workspace.progress()) != told:
                    told = progress
                    await self._builder.status("starting_sandbox", progress or "A sandbox is being started.")
                await anyio.sleep(TELL_AFTER_S)

    async def execute(self, code: str) -> bool:
        """Runs the code; False where it waits for functions of the client's, and the response has to end."""
        sandbox = await self._workspace.sandbox()
        await self._workspace.place(self._options.files)
        if self._options.toolbox:
            await self._workspace.define(self._options.toolbox.source)
        await self._builder.interpreting(sandbox.id)
        execution = sandbox.execute(code, calls=bool(self._options.toolbox))
        return await self._see_through(self._block(sandbox, execution))

    async def resume(self) -> bool:
        """Lets code go on that waited for the values which this request brings; False where it waits again."""
        suspended = self._workspace.take_suspended()
        if suspended is None:
            return True
        await self._builder.code_continues(suspended.item_id, suspended.sandbox.id)
        block = self._block(suspended.sandbox, suspended.execution, suspended.outputs)
        suspended.resume(
            {item.call_id: item.output for item in self._context if isinstance(item, e.FunctionCallOutput)}
        )
        return await self._see_through(block)

    def _block(self, sandbox: Sandbox, execution: Execution, outputs: list[Output] | None = None) -> Block:
        timeout_s = self._options.call_timeout_s
        return Block(
            self._builder, sandbox, execution, self._options.toolbox, call_timeout_s=timeout_s, outputs=outputs
        )

    async def _see_through(self, block: Block) -> bool:
        """Passes the code's output on live; the observation ends up in the code's item. False where it waits."""
        ended, execution = True, block.execution
        try:
            ended = await block.follow()
        finally:
            if ended:
                with anyio.move_on_after(STOP_DEADLINE_S, shield=True):
                    await execution.aclose()
                    await self._observe(block)
        if not ended:
            item_id = await self._builder.code_waits([call.call_id for call in block.waiting])
            self._workspace.suspended = Suspended(item_id, block, timeout_s=self._options.call_timeout_s)
            return False
        result = execution.result
        told = result.detail if result.limit is None else f"{result.detail} (limit: {result.limit})"
        if not result.kernel_alive:
            await self._builder.notice("kernel_replaced", told)
        elif result.limit is not None:
            await self._builder.notice("limit_reached", told)
        self.written.look(block.sandbox)
        return True

    async def _observe(self, block: Block) -> None:
        result = block.execution.result
        observation = prompt.observation(fold(block.outputs), result, limit_chars=self._options.observation_chars)
        await self._builder.executed(result, observation)
