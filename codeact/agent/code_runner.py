"""Runs the code of one answer in the conversation's sandbox, and streams its output to the response."""

from collections.abc import Collection, Sequence
from pathlib import PurePosixPath

import anyio
from anyio.abc import TaskGroup

from codeact import events as e
from codeact import telemetry
from codeact.agent.approvals import Approvals
from codeact.agent.code_execution import CodeExecution
from codeact.agent.environment_recording import EnvironmentRecording
from codeact.agent.options import AgentOptions
from codeact.agent.output_files import OutputFiles
from codeact.agent.response_builder import ResponseBuilder
from codeact.concurrency.offloop import off_loop, size_of
from codeact.dialect import prompt
from codeact.dialect.decisions import changed_code, rejected_code
from codeact.observations.hints import earlier_errors, hints
from codeact.workspaces.suspended import Suspended
from codeact.workspaces.workspace import Workspace
from sandbox_pool.calls import Call
from sandbox_pool.errors import FileError, SandboxError
from sandbox_pool.outputs import Output, fold
from sandbox_pool.sandbox.execution import Execution
from sandbox_pool.sandbox.sandbox import Sandbox

__all__ = ["CodeRunner"]

STOP_DEADLINE_S = 10.0
TOOL = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "python", "gen_ai.tool.type": "function"}
NOTICE_DELAY_S = 0.5
MOST_PATHS = 100
"""Code that deletes more paths than this is not measured."""


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
        self._approvals = Approvals(options.approval, context)
        self._builder = builder
        self._context = context
        self._workspace = workspace
        self._options = options
        self._background = background
        self._recording = EnvironmentRecording(builder.response, options.keep_source, background)

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
            if cold := await self._workspace.cold_start():
                await self._builder.status("starting_sandbox", cold)
                reported = self._workspace.progress()
            await anyio.sleep(NOTICE_DELAY_S)
            while True:
                if (progress := self._workspace.progress()) != reported:
                    reported = progress
                    await self._builder.status("starting_sandbox", progress or "A sandbox is being started.")
                await anyio.sleep(NOTICE_DELAY_S)

    async def execute(self, code: str) -> bool:
        """Runs the code. Returns False if it waits for the client or for approval, so that the response has to end."""
        ruling = await self._approvals.of_code(code, self._size_of)
        if isinstance(ruling, list):
            request = await self._approvals.ask_for_code(code, self._builder.code.open_id, ruling)
            await self._builder.code.waits([request.id])
            await self._builder.calls.approval(request)
            return False
        if not ruling.approve:
            await self._builder.code.rejected(rejected_code(ruling.reason))
            return True
        await self._builder.code.interpreting((await self._prepared()).id)
        if ruling.code is not None:
            self._builder.code.runs(ruling.code)
        return await self._run(code if ruling.code is None else ruling.code, changed=ruling.code is not None)

    async def resume(self) -> bool:
        """Continues what waited, with the values and decisions of this request. Returns False if it waits again."""
        await self._approvals.withdraw_undecided()
        suspended = self._workspace.take_suspended()
        if suspended is not None:
            if suspended.is_part_of(self._builder.response.previous_response_id, self._context):
                return await self._continue(suspended)
            with anyio.move_on_after(STOP_DEADLINE_S, shield=True):
                await suspended.stop()  # It belongs to another branch of the conversation, and one block can run.
        self._approvals.grant_lost_calls()
        approved = self._approvals.code_to_run()
        if approved is None:
            return True
        request, decision = approved
        sandbox = await self.claim()
        await self._prepared()
        await self._builder.code_continues(request.code_item_id or "", sandbox.id, code=decision.code or "")
        return await self._run(
            request.code if decision.code is None else decision.code, changed=decision.code is not None
        )

    async def _prepared(self) -> Sandbox:
        """Returns the sandbox, with the user's files and the functions that code may call."""
        sandbox = await self._workspace.sandbox()
        await self._workspace.place(self._options.files)
        await self._workspace.place_skills(self._options.skills)
        if self.toolbox:
            await self._workspace.define(self.toolbox.source)
        self._recording.begin(sandbox, self.toolbox.source if self.toolbox else None)
        return sandbox

    async def _run(self, code: str, *, changed: bool) -> bool:
        """Runs code in the open block; `changed`: it is not what the model wrote."""
        sandbox = await self._workspace.sandbox()
        self._recording.code(code)
        execution = sandbox.execute(code, calls=bool(self.toolbox))
        return await self._see_through(self._code_execution(sandbox, execution), ran=code if changed else None)

    async def _continue(self, suspended: Suspended) -> bool:
        """Continues suspended code."""
        if suspended.sandbox is self._workspace.living:
            await self._workspace.place(self._options.files)
        await self._builder.code_continues(suspended.item_id, suspended.sandbox.id)
        if suspended.sandbox.alive:
            self._recording.begin(suspended.sandbox, self.toolbox.source if self.toolbox else None)
        block = self._code_execution(suspended.sandbox, suspended.execution, suspended.outputs)
        values = [item for item in self._context if isinstance(item, e.FunctionCallOutput)]
        suspended.resume(
            {item.call_id: item.output for item in values},
            errors={item.call_id for item in values if item.is_error is True},
        )
        decided: list[tuple[Call, e.Approval]] = []
        for request_id in list(suspended.held):
            decision = self._approvals.decision(request_id)
            if isinstance(decision, e.Approval):
                decided.append((suspended.held.pop(request_id), decision))
        if self._approvals.goes_on:
            await self._approvals.withdraw(suspended.held)
            suspended.refuse_held()
        block.held.update(suspended.held)
        return await self._see_through(block, decided)

    async def _size_of(self, paths: Collection[str]) -> int | None:
        """Returns how many bytes the files and directories at these paths of the workspace have; None if unknown."""
        if self._workspace.living is None or len(paths) > MOST_PATHS:
            return None
        try:
            listed = await self._workspace.living.list_files()
        except (FileError, SandboxError):
            return None
        if not listed.complete:
            return None
        total = 0
        for path in map(PurePosixPath, paths):
            inside = path.relative_to("/workspace") if path.is_relative_to("/workspace") else path
            sizes = [file.size_bytes for file in listed.files if PurePosixPath(file.path).is_relative_to(inside)]
            if not sizes or path == PurePosixPath():
                return None
            total += sum(sizes)
        return total

    def _code_execution(
        self, sandbox: Sandbox, execution: Execution, outputs: list[Output] | None = None
    ) -> CodeExecution:
        timeout_s = self._options.call_timeout_s
        return CodeExecution(
            self._builder,
            sandbox,
            execution,
            self.toolbox,
            self._approvals,
            call_timeout_s=timeout_s,
            outputs=outputs,
            room_bytes=self._options.room_bytes,
        )

    async def _see_through(
        self, block: CodeExecution, decided: Sequence[tuple[Call, e.Approval]] = (), *, ran: str | None = None
    ) -> bool:
        """Streams the code's output, and writes its observation. Returns False if the code waits for the client.

        `decided` are calls that waited for approval. `ran` is the code, if it is not what the model wrote.
        """
        ended, execution = True, block.execution
        try:
            with telemetry.span("execute_tool python", TOOL) as span:
                ended = await block.run_to_pause(decided)
                span.set({"codeact.code.status": execution.result.status if ended else "waiting"})
        finally:
            if ended:
                with anyio.move_on_after(STOP_DEADLINE_S, shield=True):
                    await execution.aclose()
                    await self._observe(block, ran)
                    await self._approvals.withdraw(block.held)
        if not ended:
            await self._approvals.move(block.held)
            item_id = await self._builder.code.waits([*(call.call_id for call in block.waiting), *block.held])
            self._workspace.suspended = Suspended(
                self._builder.response.id,
                item_id,
                block.sandbox,
                block.execution,
                block.outputs,
                block.waiting,
                block.held,
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

    async def _observe(self, block: CodeExecution, ran: str | None) -> None:
        result = block.result
        earlier = earlier_errors([*self._context, *self._builder.response.output], result.error)
        sentences = hints(result, block.execution.clue, earlier, environment=self._options.environment)
        limit_chars = self.observation_chars

        def write() -> str:
            return prompt.observation(fold(block.outputs), result, limit_chars=limit_chars, hints=sentences)

        observation = await off_loop(size_of(block.outputs), write)
        if ran is not None:
            observation = f"{observation}\n{changed_code(ran)}"
        await self._builder.code.executed(result, observation)
