"""Runs the code of one answer in the conversation's sandbox, and streams its output to the response."""

from collections.abc import Sequence

import anyio
from anyio.abc import TaskGroup

from codeact import events as e
from codeact import telemetry
from codeact.agent.code_execution import CodeExecution
from codeact.agent.options import AgentOptions
from codeact.agent.output_files import OutputFiles
from codeact.agent.response_builder import ResponseBuilder
from codeact.concurrency.offloop import off_loop, size_of
from codeact.dialect import prompt
from codeact.observations.hints import earlier_errors, hints
from codeact.workspaces.suspended import Suspended
from codeact.workspaces.workspace import Workspace
from sandbox_pool.outputs import Output, fold
from sandbox_pool.sandbox.execution import Execution
from sandbox_pool.sandbox.sandbox import Sandbox

__all__ = ["CodeRunner"]

STOP_DEADLINE_S = 10.0
TOOL = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "python", "gen_ai.tool.type": "function"}
NOTICE_DELAY_S = 0.5


class CodeRunner:
    """Runs the blocks of one answer, one after the other. The answer waits for tasks in `background` before it ends."""

    def __init__(
        self,
        builder: ResponseBuilder,
        context: Sequence[e.Input | e.Item],
        workspace: Workspace,
        options: AgentOptions,
        background: TaskGroup,
    ) -> None:
        self.output_files = OutputFiles(options.collect, background)
        self.observation_chars = options.observation_chars
        self.toolbox = options.toolbox
        self._builder = builder
        self._context = context
        self._workspace = workspace
        self._options = options
        self._background = background

    async def claim(self) -> Sandbox:
        """Returns the conversation's sandbox, and claims one if needed; reports to readers while it is being started.

        Raises `SandboxError`, and the error of the pool's component if that cannot start.
        """
        waiting = anyio.CancelScope()
        if self._workspace.container_id is None:
            self._background.start_soon(self._report_waiting, waiting)
        try:
            if self._workspace.living is not None:
                return await self._workspace.sandbox()
            with telemetry.span("acquire sandbox") as span:
                sandbox = await self._workspace.sandbox()
                span.set({"codeact.sandbox.id": sandbox.id})
                return sandbox
        finally:
            waiting.cancel()

    async def _report_waiting(self, waiting: anyio.CancelScope) -> None:
        reported: str | None = None
        with waiting:
            await anyio.sleep(NOTICE_DELAY_S)
            while True:
                if (progress := self._workspace.progress()) != reported:
                    reported = progress
                    await self._builder.status("starting_sandbox", progress or "A sandbox is being started.")
                await anyio.sleep(NOTICE_DELAY_S)

    async def execute(self, code: str) -> bool:
        """Runs the code. Returns False if it waits for functions of the client, so that the response has to end."""
        sandbox = await self._workspace.sandbox()
        await self._workspace.place(self._options.files)
        if self.toolbox:
            await self._workspace.define(self.toolbox.source)
        await self._builder.code.interpreting(sandbox.id)
        execution = sandbox.execute(code, calls=bool(self.toolbox))
        return await self._see_through(self._code_execution(sandbox, execution))

    async def resume(self) -> bool:
        """Continues suspended code with the values from this request. Returns False if it waits again."""
        suspended = self._workspace.take_suspended()
        if suspended is None:
            return True
        await self._builder.code_continues(suspended.item_id, suspended.sandbox.id)
        block = self._code_execution(suspended.sandbox, suspended.execution, suspended.outputs)
        values = [item for item in self._context if isinstance(item, e.FunctionCallOutput)]
        suspended.resume(
            {item.call_id: item.output for item in values},
            errors={item.call_id for item in values if item.is_error is True},
        )
        return await self._see_through(block)

    def _code_execution(
        self, sandbox: Sandbox, execution: Execution, outputs: list[Output] | None = None
    ) -> CodeExecution:
        timeout_s = self._options.call_timeout_s
        return CodeExecution(
            self._builder,
            sandbox,
            execution,
            self.toolbox,
            call_timeout_s=timeout_s,
            outputs=outputs,
            room_bytes=self._options.room_bytes,
        )

    async def _see_through(self, block: CodeExecution) -> bool:
        """Streams the code's output, and writes its observation. Returns False if the code waits for the client."""
        ended, execution = True, block.execution
        try:
            with telemetry.span("execute_tool python", TOOL) as span:
                ended = await block.run_to_pause()
                span.set({"codeact.code.status": execution.result.status if ended else "waiting"})
        finally:
            if ended:
                with anyio.move_on_after(STOP_DEADLINE_S, shield=True):
                    await execution.aclose()
                    await self._observe(block)
        if not ended:
            item_id = await self._builder.code.waits([call.call_id for call in block.waiting])
            self._workspace.suspended = Suspended(
                item_id,
                block.sandbox,
                block.execution,
                block.outputs,
                block.waiting,
                timeout_s=self._options.call_timeout_s,
            )
            return False
        result = block.result
        detail = result.detail if result.limit is None else f"{result.detail} (limit: {result.limit})"
        if not result.kernel_alive:
            await self._builder.notice("kernel_replaced", detail)
        elif result.limit is not None:
            await self._builder.notice("limit_reached", detail)
        self.output_files.look(block.sandbox)
        return True

    async def _observe(self, block: CodeExecution) -> None:
        result = block.result
        earlier = earlier_errors([*self._context, *self._builder.response.output], result.error)
        sentences = hints(result, block.execution.clue, earlier, environment=self._options.environment)
        limit_chars = self.observation_chars

        def write() -> str:
            return prompt.observation(fold(block.outputs), result, limit_chars=limit_chars, hints=sentences)

        observation = await off_loop(size_of(block.outputs), write)
        await self._builder.code.executed(result, observation)
