"""Runs one block of code: passes its outputs on, and answers its function calls.

Calls of host functions and MCP tools are answered while the block runs. Calls of client functions must be answered by
the client, and some calls must be approved: once the code waits only for those, the block is suspended and the response
ends; the next request brings the values and decisions, and resumes it.
"""

import json
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import anyio
import msgspec
from anyio.abc import TaskGroup

from codeact import events as e
from codeact.agent.approvals import Approvals
from codeact.agent.call_items import check_client_call, reports_to
from codeact.agent.call_record import CallRecord
from codeact.agent.fitting import within
from codeact.agent.rerunning import Rerun
from codeact.agent.response_builder import ResponseBuilder
from codeact.concurrency.offloop import off_loop, size_of
from codeact.tools.function import HOST, Function, FunctionError
from codeact.tools.toolbox import Toolbox
from sandbox_pool.calls import Call
from sandbox_pool.outputs import ExecutionResult, Output
from sandbox_pool.sandbox.execution import Execution, Progress
from sandbox_pool.sandbox.sandbox import Sandbox

__all__ = ["CodeExecution"]

SETTLE_S = 0.03
"""How long the code must be quiet before the response pauses to let the client answer its function calls."""
SETTLE_WITHIN_S = 0.5
MOST_AT_ONCE = 16
"""How many functions run at once for one block; further calls wait, since each value needs memory."""

COPIES, COPIED_CHARS = 5, 65_536
"""How often output text outside of blobs is stored: in both forms of the item's outputs, and in events."""
STORED = "stored_mb"
CUT = (
    "The rest of its output was cut, and the code stopped: its owner keeps as many bytes as they may (stored_mb)."
    " Deleted conversations make room."
)
"""The detail of the result if a block is stopped because its output may not be stored."""


class CodeExecution:
    """One execution within one response.

    `outputs` has all its outputs, `waiting` the client's open function calls by the ids that the client knows, and
    `held`, by the ids of the requests, the calls that wait for approval. `line_of` returns the last line of so many
    statements of an open block; `told` is set whenever the kernel tells how far that is. `record` notes its calls.

    With `rerun` the code has run before: until it has made the same calls again, none is made outside, and its outputs
    are not shown again. Then `caught_up` answers what waits; it returns the calls that were approved.
    """

    def __init__(
        self,
        builder: ResponseBuilder,
        sandbox: Sandbox,
        execution: Execution,
        toolbox: Toolbox,
        approvals: Approvals,
        *,
        call_timeout_s: float,
        outputs: list[Output] | None = None,
        room_bytes: Callable[[], float] = lambda: math.inf,
        line_of: Callable[[int], int] | None = None,
        record: CallRecord | None = None,
        rerun: Rerun | None = None,
        caught_up: Callable[[], Sequence[tuple[Call, e.Approval]]] = tuple,
    ) -> None:
        self.sandbox = sandbox
        self.execution = execution
        self.outputs = outputs if outputs is not None else []
        self.waiting: dict[str, Call] = {}
        self.held: dict[str, Call] = {}
        self._builder = builder
        self._approvals = approvals
        self._listening = anyio.CancelScope()
        self._is_woken = False
        self._toolbox = toolbox
        self._call_timeout_s = call_timeout_s
        self._answering = 0
        self._answering_since = 0.0
        self._at_once = anyio.Semaphore(MOST_AT_ONCE)
        self._waits_since = 0.0
        self._room_bytes = room_bytes
        self._line_of = line_of
        self.record = record
        self.rerun = rerun
        self._caught_up = caught_up
        self._rerun_until = time.monotonic() + execution.timeout_s
        self.told = anyio.Event()
        self._is_cut = False
        self._shown_chars = 0

    @property
    def result(self) -> ExecutionResult:
        """The result, including our limit on stored output. Raises `RuntimeError` while the code runs."""
        result = self.execution.result
        if not self._is_cut:
            return result
        limit = STORED if result.limit in (None, "output_bytes") else result.limit  # Our limit was reached first.
        return msgspec.structs.replace(result, limit=limit, detail=f"{CUT} {result.detail}".strip())

    @property
    def ran_lines(self) -> int:
        """How many lines of an open block have run."""
        return 0 if self._line_of is None else self._line_of(self.execution.ran)

    @property
    def is_open(self) -> bool:
        """Whether its statements run one by one."""
        return self._line_of is not None

    async def run_to_pause(self, decided: Sequence[tuple[Call, e.Approval]] = ()) -> bool:
        """Streams outputs and calls. Returns True once the code has ended, False if it waits only for the client.

        `decided` are calls that waited for the approval given. Raises what the builder's `emit` raises. Cancelling
        cancels the calls of functions, but not the execution.
        """
        ended = False
        async with anyio.create_task_group() as tasks:
            for call, decision in decided:
                self._take_decided(call, decision, tasks)
            while True:
                try:
                    item = await self._next()
                except StopAsyncIteration:
                    ended = True
                    tasks.cancel_scope.cancel()
                    break
                if self.rerun is not None and not self.rerun.has_caught_up:
                    await self._repeat(item, self.rerun, tasks)
                elif isinstance(item, Call):
                    await self._take(item, tasks)
                elif isinstance(item, Progress):
                    await self._report(item)
                elif item is not None and (output := self._storable(item)) is not None:
                    self.outputs.append(output)
                    await self._builder.code.output(output)
                    await self._builder.calls.shell.output(output)
                is_woken, self._is_woken = self._is_woken, False
                settled = (item is None and not is_woken) or time.monotonic() - self._waits_since > SETTLE_WITHIN_S
                if (self.waiting or self.held) and settled and not self._answering:
                    break
        if ended and self.rerun is not None and not self.rerun.has_caught_up:
            self.rerun.ended()
            await self._show_again()
        return ended

    # ---- code that runs again ------------------------------------------------------------------------

    async def _repeat(self, item: Output | Call | Progress | None, rerun: Rerun, tasks: TaskGroup) -> None:
        """Answers a call as before, and keeps an output back, until the code has come as far as before."""
        further = item if isinstance(item, Call) and rerun.is_complete else None
        if isinstance(item, Call) and further is None:
            self._answer_again(item, rerun)
        elif item is None and not rerun.is_complete:
            rerun.is_late(self.execution.timeout_s)
        elif not isinstance(item, Call | Progress | None) and (output := self._storable(item)) is not None:
            self.outputs.append(output)
        if rerun.problem is not None:
            self.execution.decide("interrupted")
        elif rerun.is_complete:
            difference = await off_loop(size_of(self.outputs), rerun.differs, self.outputs)
            may_follow = item is not None and further is None and time.monotonic() < self._rerun_until
            if difference is not None and may_follow:
                # What it printed before its last call may come after that.
                self._rerun_until = min(self._rerun_until, time.monotonic() + SETTLE_WITHIN_S)
                return
            rerun.has_caught_up = True
            if difference is not None:
                await self._builder.notice("output_differs", difference)
                await self._show_again()
            for call, decision in self._caught_up():
                self._take_decided(call, decision, tasks)
            if further is not None:
                await self._take(further, tasks)

    def _answer_again(self, call: Call, rerun: Rerun) -> None:
        past = rerun.take(call)
        if past is None:
            self.sandbox.answer(call, error=rerun.problem or "")
        elif past.error is not None:
            self.sandbox.answer(call, error=past.error)
        elif past.waits_as is None and self.execution.charge(len(past.value or "") if past.is_counted else 0):
            self.sandbox.answer(call, value=past.value)

    async def _show_again(self) -> None:
        for output in self.outputs:
            await self._builder.code.output(output)

    async def _report(self, progress: Progress) -> None:
        if self._line_of is not None:
            line = self._line_of(progress.ran + 1) if progress.runs else None
            await self._builder.code.progress(self._line_of(progress.ran), line)
        self.told.set()
        self.told = anyio.Event()

    def _storable(self, output: Output) -> Output | None:
        """Returns the part of the output that may still be stored; stops the code if that is not all of it."""
        if self._is_cut:
            return None
        self._shown_chars += size_of([output])
        copies_bytes = COPIES * min(self._shown_chars, COPIED_CHARS)
        fitting = within(output, (self._room_bytes() - copies_bytes) / 2)
        if fitting is not output:
            self._is_cut = True
            self.execution.decide("interrupted")
        return fitting

    async def _next(self) -> Output | Call | Progress | None:
        """Returns the next output or call; None if a call waits for the client and the code is quiet for a moment."""
        wait_s = SETTLE_S if self.waiting or self.held else None
        if self.rerun is not None and not self.rerun.has_caught_up and self.rerun.problem is None:
            wait_s = max(0.0, self._rerun_until - time.monotonic())
        with anyio.move_on_after(wait_s) as self._listening:
            return await self.execution.next()
        return None

    async def _take(self, call: Call, tasks: TaskGroup) -> None:
        function = self._toolbox.get(call.name)
        if self.record is not None:
            self.record.made(call, is_beside=self.execution.open_calls > 1)
        try:
            if function is None:
                raise FunctionError(f"There is no function {call.name}() any more.")
            arguments = function.arguments(call.arguments)
            if function.is_shell:
                await self._builder.calls.shell.take(arguments, self.sandbox.id)
                self.sandbox.answer(call, value="null")
                return
            if function.is_patch:
                await self._builder.calls.patches.take(arguments)
                self.sandbox.answer(call, value="null")
                return
        except FunctionError as error:
            self._refuse(call, error.message)
            return
        if function.answer is None:
            try:
                check_client_call(function, arguments)
                if function.strict:
                    await anyio.to_thread.run_sync(function.check_strict, arguments)
            except FunctionError as error:
                self._refuse(call, error.message)
                return
            self._waits_since = self._waits_since if self.waiting else time.monotonic()
            self._record(call, got=call.call_id)
            call = msgspec.structs.replace(call, arguments=json.dumps(arguments))
            self.waiting[call.call_id] = call
            await self._builder.calls.of_client(call, function)
        else:
            self._start(tasks, self._answer_if_approved, call, function, arguments)

    def _take_decided(self, call: Call, decision: e.Approval, tasks: TaskGroup) -> None:
        """Makes a call that waited, if it was approved; otherwise the code gets an error."""
        function, made = self._toolbox.get(call.name), call
        try:
            if not decision.approve:
                raise FunctionError(rejection(call.name, decision.reason))
            if function is None:
                raise FunctionError(f"There is no function {call.name}() any more.")
            if decision.arguments is not None:
                call = msgspec.structs.replace(call, arguments=decision.arguments)
            arguments = function.arguments(call.arguments)
        except FunctionError as error:
            self._refuse(made, error.message)
            return
        self._start(tasks, self._answer, call, function, arguments, decision.approval_request_id)

    def _refuse(self, call: Call, message: str) -> None:
        """Answers a call with an error, without an item of its own."""
        self._record(call, error=message)
        self._builder.code.refused(call, message)
        self.sandbox.answer(call, error=message)

    def _record(self, call: Call, *, got: str | None = None, error: str | None = None) -> None:
        if self.record is not None:
            self.record.got(call, got=got, error=error)

    def _start(self, tasks: TaskGroup, answer: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        if not self._answering:
            self._answering_since = time.monotonic()
        self._answering += 1
        tasks.start_soon(self._answering_with, answer, *arguments)

    async def _answering_with(self, answer: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        try:
            await answer(*arguments)
        finally:
            self._answering -= 1
            if not self._answering:
                self.execution.budget.waited_s += time.monotonic() - self._answering_since
                self._is_woken = True
                self._listening.cancel()  # The code may wait for nothing but approvals now.

    async def _answer_if_approved(self, call: Call, function: Function, arguments: dict[str, object]) -> None:
        ruling = await self._approvals.of_call(function, call, arguments)
        if self._answering == 1:
            self._answering_since = time.monotonic()  # A judge's time is not the function's.
        if isinstance(ruling, list):
            request = await self._approvals.ask_for_call(function, call, self._builder.code.open_id, ruling)
            self._waits_since = self._waits_since if self.waiting or self.held else time.monotonic()
            self.held[request.id] = call
            self._record(call, got=request.id)
            await self._builder.calls.approval(request)
        elif not ruling.approve:
            self._refuse(call, rejection(call.name, ruling.reason))
        else:
            await self._answer(call, function, arguments if ruling.arguments is None else dict(ruling.arguments))

    @property
    def _waited_s(self) -> float:
        """How many seconds the code has waited for functions that this server answers, over all calls."""
        now = time.monotonic()
        return self.execution.budget.waited_s + (now - self._answering_since if self._answering else 0.0)

    async def _answer(
        self, call: Call, function: Function, arguments: dict[str, object], request_id: str | None = None
    ) -> None:
        assert function.answer is not None
        item = await self._builder.calls.outside(
            call, server=function.server or HOST, name=function.name, approval_request_id=request_id
        )
        if request_id is None:
            self._record(call, got=item.id)
        reports_to(self._builder.calls, item)
        try:
            with anyio.fail_after(max(0.0, self._call_timeout_s - self._waited_s)):
                async with self._at_once:
                    value = await function.answer(arguments)
            if not self.execution.charge(len(value)):
                raise FunctionError(f"{function.path}() returned more than this block of code may still be given.")
        except (FunctionError, TimeoutError) as error:
            late = f"{function.path}() did not answer within the {self._call_timeout_s:g} s of all calls of this code."
            message = error.message if isinstance(error, FunctionError) else late
            self.sandbox.answer(call, error=message)
            await self._builder.calls.answer(item, error=message)
        else:
            self.sandbox.answer(call, value=value)
            await self._builder.calls.answer(item, output=value)


def rejection(name: str, reason: str | None) -> str:
    """The error that code gets for a call that was rejected."""
    why = f": {reason}" if reason else ""
    return f"{name}() was rejected, and not called{why}. Do not try to reach the same in another way."
