"""Runs the code of one answer in the conversation's sandbox, and streams its output to the response."""

import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import anyio
from anyio.abc import TaskGroup

from codeact import events as e
from codeact import telemetry
from codeact.agent.approvals import Approvals
from codeact.agent.call_record import CallRecord
from codeact.agent.code_execution import CodeExecution
from codeact.agent.eager import STOP_DEADLINE_S, EagerCode, Unfinished
from codeact.agent.environment_recording import EnvironmentRecording
from codeact.agent.options import AgentOptions
from codeact.agent.output_files import OutputFiles
from codeact.agent.path_sizes import PathSizes
from codeact.agent.rerunning import Rerun
from codeact.agent.response_builder import ResponseBuilder
from codeact.agent.waiting_block import WaitingBlock
from codeact.concurrency.offloop import off_loop, size_of
from codeact.dialect import prompt
from codeact.dialect.decisions import changed_code, rejected_code
from codeact.dialect.statements import statements_of
from codeact.observations.hints import earlier_errors, hints
from codeact.observations.observation import stopped_early
from codeact.tools.approval import Ruling
from codeact.tools.kernel_module import ONE_AT_A_TIME
from codeact.workspaces.suspended import Suspended
from codeact.workspaces.workspace import Workspace
from sandbox_pool.calls import Call
from sandbox_pool.outputs import Output, fold
from sandbox_pool.sandbox.execution import Execution
from sandbox_pool.sandbox.sandbox import Sandbox

__all__ = ["CodeRunner"]

TOOL = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "python", "gen_ai.tool.type": "function"}
NOTICE_DELAY_S = 0.5
REST_NEEDS_APPROVAL = "the block ends here: the rest of it needs the user's approval. Send it in a block of its own."


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
        asks = self._must_ask if self._approvals.asks_about_code else None
        self.eager = EagerCode(self._open, self._give_up, asks)
        self._builder = builder
        self._context = context
        self._workspace = workspace
        self._options = options
        self._background = background
        self._recording = EnvironmentRecording(builder.response, options.keep_source, background)
        self._size_of = PathSizes(workspace, lambda: builder.code.open_id).of

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
            if (restored := self._workspace.take_restored()) is not None:
                await self._builder.checkpoint_restored(restored)
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
        if (running := self.eager.take(code)) is not None:
            goes_on = await self._finish(code, *running)
            self.eager.finished()
            return goes_on
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

    # ---- code that runs while the model writes it ----------------------------------------------------

    async def _open(self, statements: Sequence[str], line_of: Callable[[int], int]) -> CodeExecution:
        sandbox = await self._prepared()
        record = await self._begin_record()
        await self._builder.code.interpreting(sandbox.id, eager=True)
        execution = sandbox.open(statements, calls=bool(self.toolbox))
        self._workspace.ran(self._builder.response.id)
        return self._code_execution(sandbox, execution, line_of=line_of, record=record)

    async def _give_up(self, running: Unfinished, note: str | None) -> None:
        if not self._builder.code.is_open:
            return  # It was stopped when its end had been written.
        self._builder.code.runs(running.begun)
        await self._close(running.execution, note)

    async def _must_ask(self, code: str) -> bool:
        return bool(await self._approvals.rules_about(code, self._size_of))

    async def _finish(self, code: str, running: Unfinished, rest: Sequence[str]) -> bool:
        """Gives a running block its last statements, if they may run, and sees it through."""
        self._recording.code(code)
        if running.is_cut:
            self._builder.code.runs(running.begun)
            failed = running.execution.execution.result.status != "ok"
            note: str | None = stopped_early(running.execution.ran_lines, failed=failed)
            return await self._see_through(running.execution, running.wait, note=note, code=running.text)
        text, note = code[len("".join(running.statements)) :], None
        ruling: Ruling | list[str] = Ruling(True)
        if text.strip() and not running.is_over:
            ruling = await self._approvals.of_code(code, self._size_of, rest=text)
        if isinstance(ruling, list):
            if await running.idle():
                return await self._ask_for_rest(running, text, ruling)
            # It waits for the client already; the rest cannot wait for approval at the same time.
            running.end([f"raise PermissionError({REST_NEEDS_APPROVAL!r})\n"])
            self._builder.code.runs("".join(running.statements))
        elif not ruling.approve:
            await running.idle()
            running.end([])
            self._builder.code.runs(running.begun)
            note = rejected_code(ruling.reason, rest_from=running.execution.ran_lines + 1)
        elif ruling.code is not None:
            running.end(statements_of(ruling.code))
            self._builder.code.runs("".join(running.statements))
            note = changed_code(ruling.code)
        else:
            running.end(rest)
        return await self._see_through(running.execution, running.wait, note=note, code=running.text)

    async def _ask_for_rest(self, running: Unfinished, rest: str, rules: list[str]) -> bool:
        """Ends the block after the statements that have run; the others wait for approval."""
        running.end([])
        self._builder.code.runs(running.begun)
        block = running.execution
        if not await running.wait() or block.result.status != "ok":
            return await self._see_through(block, running.wait, code=running.text)
        request = await self._approvals.ask_for_code(rest, self._builder.code.open_id, rules)
        await self._builder.code.waits([request.id], await self._observation(block, None))
        await self._builder.calls.approval(request)
        return False

    # ---- code that waited ----------------------------------------------------------------------------

    async def resume(self) -> bool:
        """Continues what waited, with the values and decisions of this request. Returns False if it waits again."""
        await self._approvals.withdraw_undecided()
        suspended = self._workspace.take_suspended()
        if suspended is not None:
            is_alive = suspended.sandbox.alive or self._options.waiting_block is None
            if is_alive and suspended.is_part_of(self._builder.response.previous_response_id, self._context):
                return await self._continue(suspended)
            with anyio.move_on_after(STOP_DEADLINE_S, shield=True):
                await suspended.stop()  # It belongs to another branch of the conversation, and one block can run.
        if self._options.waiting_block is not None:
            goes_on = await self._run_again(self._options.waiting_block)
            if goes_on is not None:
                return goes_on
        await self._end_lost_calls()
        self._approvals.grant_lost_calls()
        approved = self._approvals.code_to_run()
        if approved is None:
            return True
        request, decision = approved
        sandbox = await self.claim()
        await self._prepared()
        await self._builder.code_continues(request.code_item_id or "", sandbox.id, code=decision.code or "")
        before = next((item for item in self._context if item.id == request.code_item_id), None)
        return await self._run(
            request.code if decision.code is None else decision.code,
            changed=decision.code is not None,
            outputs=list(before.notebook_outputs or ()) if isinstance(before, e.CodeInterpreterCall) else [],
        )

    async def _end_lost_calls(self) -> None:
        """Ends the waiting of the calls in the code before this request, which cannot go on."""
        last = next(
            (item for item in reversed(self._context) if isinstance(item, e.CodeInterpreterCall | e.Message)), None
        )
        if isinstance(last, e.CodeInterpreterCall):
            await self._approvals.end_calls([each for each in last.waits_for if not self._approvals.knows(each)])

    async def _prepared(self) -> Sandbox:
        """Returns the sandbox, with the user's files and the functions that code may call."""
        sandbox = await self._workspace.sandbox()
        await self._workspace.captured()
        await self._workspace.place(self._options.files)
        await self._workspace.place_skills(self._options.skills)
        if self.toolbox:
            serial = "" if self._options.parallel_calls else ONE_AT_A_TIME
            await self._workspace.define(self.toolbox.source + serial)
        self._recording.begin(sandbox, self.toolbox.source if self.toolbox else None)
        return sandbox

    async def _run(self, code: str, *, changed: bool, outputs: list[Output] | None = None) -> bool:
        """Runs code in the open block; `changed`: it is not what the model wrote.

        `outputs` are those of the block's first statements, which have run before.
        """
        sandbox = await self._workspace.sandbox()
        self._recording.code(code)
        record = await self._begin_record()
        execution = sandbox.execute(code, calls=bool(self.toolbox))
        block = self._code_execution(sandbox, execution, outputs, record=record)
        self._workspace.ran(self._builder.response.id)
        note = changed_code(code) if changed else None
        return await self._see_through(block, block.run_to_pause, note=note, code=code)

    async def _begin_record(self) -> CallRecord | None:
        """Returns the record of the calls of the open block, which begins now; None if its calls cannot wait.

        It makes sure that there is a checkpoint of the state in which the block begins.
        """
        functions = [each for each in self.toolbox.functions if not each.is_own]
        can_wait = any(each.answer is None or self._approvals.may_hold(each) for each in functions)
        if self._options.keep_state is None or not can_wait:
            return None
        state = await self._options.keep_state(self._builder.code.open_id)
        return None if state is None else CallRecord(state)

    async def _continue(self, suspended: Suspended) -> bool:
        """Continues suspended code. If that fails or is cancelled before the code has its answers, it waits on."""
        try:
            if suspended.sandbox is self._workspace.living:
                await self._workspace.place(self._options.files)
            await self._builder.code_continues(suspended.item_id, suspended.sandbox.id)
            await self._withdraw_held(suspended)
            await self._approvals.end_calls(suspended.call_ids)
        except BaseException:
            self._workspace.suspended = suspended
            raise
        self._workspace.ran(self._builder.response.id)
        if suspended.sandbox.alive:
            self._recording.begin(suspended.sandbox, self.toolbox.source if self.toolbox else None)
        record = None if suspended.state is None else CallRecord(suspended.state)
        block = self._code_execution(suspended.sandbox, suspended.execution, suspended.outputs, record=record)
        return await self._see_through(block, partial(block.run_to_pause, self._answers(suspended, block)))

    async def _withdraw_held(self, suspended: Suspended) -> None:
        """Ends the waiting of the block's undecided calls, if the user goes on without a decision about them."""
        if self._approvals.goes_on:
            await self._approvals.withdraw(
                [each for each in suspended.held if not isinstance(self._approvals.decision(each), e.Approval)]
            )

    def _answers(self, suspended: Suspended, block: CodeExecution) -> list[tuple[Call, e.Approval]]:
        """Gives a block what this request brings for it. Returns the calls about which it decides."""
        suspended.resume([item for item in self._context if isinstance(item, e.FunctionCallOutput)])
        decided: list[tuple[Call, e.Approval]] = []
        for request_id in list(suspended.held):
            decision = self._approvals.decision(request_id)
            if isinstance(decision, e.Approval):
                decided.append((suspended.held.pop(request_id), decision))
        if self._approvals.goes_on:
            suspended.refuse_held()
        block.held.update(suspended.held)
        return decided

    # ---- code that waited, and whose kernel was lost ---------------------------------------------------

    async def _run_again(self, waited: WaitingBlock) -> bool | None:
        """Runs the block again from the state in which it began. Returns None if that state did not come back."""
        await self.claim()
        lost = self._workspace.restore_failure
        missing = waited.needs([each.name for each in self._workspace.not_restored])
        if lost is not None or missing:
            why = lost or f"{', '.join(missing)} could not be restored"
            await self._builder.notice("kernel_replaced", f"The code that waited could not run again: {why}.")
            return None
        own, self.toolbox = self.toolbox, waited.joined(self.toolbox)
        try:
            sandbox = await self._prepared()
            return await self._repeat(waited, sandbox)
        finally:
            self.toolbox = own

    async def _repeat(self, waited: WaitingBlock, sandbox: Sandbox) -> bool:
        self._recording.code(waited.code)
        await self._builder.code_continues(waited.item_id, sandbox.id)
        await self._approvals.end_calls([call.waits_as for call in waited.calls if call.waits_as is not None])
        if waited.statements:
            execution = sandbox.open(statements_of(waited.code), calls=True)
            execution.write([], ended=True)
        else:
            execution = sandbox.execute(waited.code, calls=True)
        self._workspace.ran(self._builder.response.id)
        rerun = Rerun(waited.calls, side_by_side=waited.side_by_side, differs=waited.differs)

        def caught_up() -> list[tuple[Call, e.Approval]]:
            held = {each: call for each, call in rerun.waiting.items() if self._approvals.knows(each)}
            waiting = {each: call for each, call in rerun.waiting.items() if each not in held}
            again = Suspended("", waited.item_id, sandbox, execution, [], waiting, held)
            return self._answers(again, block)

        record = CallRecord(waited.state)
        block = self._code_execution(sandbox, execution, record=record, rerun=rerun, caught_up=caught_up)
        return await self._see_through(block, block.run_to_pause, note=waited.note)

    def _code_execution(
        self,
        sandbox: Sandbox,
        execution: Execution,
        outputs: list[Output] | None = None,
        line_of: Callable[[int], int] | None = None,
        *,
        record: CallRecord | None = None,
        rerun: Rerun | None = None,
        caught_up: Callable[[], Sequence[tuple[Call, e.Approval]]] = tuple,
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
            line_of=line_of,
            record=record,
            rerun=rerun,
            caught_up=caught_up,
        )

    async def _see_through(
        self,
        block: CodeExecution,
        run: Callable[[], Awaitable[bool]],
        *,
        note: str | None = None,
        code: str | None = None,
    ) -> bool:
        """Streams the code's output, and writes its observation. Returns False if the code waits for the client.

        `run` streams, and returns what `run_to_pause` does. `note` is a further sentence for the model. `code` is what
        runs, unless an earlier item has it.
        """
        ended, execution = True, block.execution
        try:
            with telemetry.span("execute_tool python", TOOL) as span:
                ended = await run()
                span.set({"codeact.code.status": execution.result.status if ended else "waiting"})
        finally:
            if ended:
                with anyio.move_on_after(STOP_DEADLINE_S, shield=True):
                    await self._close(block, note)
        if not ended:
            await self._approvals.move(block.held)
            await self._approvals.list_calls(block.waiting.values())
            restart = self._restart(block, code)
            item_id = await self._builder.code.waits([*block.waiting, *block.held], restart=restart)
            self._workspace.suspended = Suspended(
                self._builder.response.id,
                item_id,
                block.sandbox,
                block.execution,
                block.outputs,
                block.waiting,
                block.held,
                state=None if restart is None or block.record is None else block.record.state,
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

    def _restart(self, block: CodeExecution, code: str | None) -> e.Restart | None:
        """Returns what is stored so that the block can run again if its kernel is lost while it waits."""
        if block.record is None:
            return None
        expires_at = int(time.time() + self._options.approval.expires_s)
        return block.record.restart(code, statements=block.is_open, expires_at=expires_at)

    async def _close(self, block: CodeExecution, note: str | None) -> None:
        """Ends a block, and closes its item with the observation, to which `note` is added."""
        await block.execution.aclose()
        if block.record is not None and self._options.drop_state is not None:
            self._options.drop_state(block.record.state)
        if block.rerun is not None and block.rerun.problem is not None:
            await self._builder.notice("code_diverged", block.rerun.problem)
            note = " ".join(filter(None, (note, block.rerun.problem)))
        await self._builder.code.executed(block.result, await self._observation(block, note))
        await self._approvals.withdraw(block.held)

    async def _observation(self, block: CodeExecution, note: str | None) -> str:
        result, ran_lines = block.result, block.ran_lines
        earlier = earlier_errors([*self._context, *self._builder.response.output], result.error)
        sentences = hints(
            result, block.execution.clue, earlier, environment=self._options.environment, ran_lines=ran_lines
        )
        limit_chars = self.observation_chars

        def write() -> str:
            return prompt.observation(
                fold(block.outputs), result, limit_chars=limit_chars, hints=sentences, ran_lines=ran_lines
            )

        observation = await off_loop(size_of(block.outputs), write)
        if report := self._workspace.take_restore_report():
            observation = f"{report}\n{observation}"
            await self._builder.notice("kernel_replaced", report)
        return observation if note is None else f"{observation}\n{note}"
