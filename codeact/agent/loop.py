"""The agent's loop: the model writes code, the code runs, and the model reads the result, until it answers.

`answer` produces one response to its end. It passes each event to `emit`, which stores and numbers it. `Stop` ends it
from outside; everything produced until then is kept.
"""

import time
from collections.abc import Awaitable, Callable, Sequence

import anyio
from anyio.abc import TaskGroup

from codeact import events as e
from codeact import telemetry
from codeact.agent.call_items import Emit
from codeact.agent.code_runner import CodeRunner
from codeact.agent.options import AgentOptions
from codeact.agent.remote_tools import with_remote_tools
from codeact.agent.response_builder import ResponseBuilder
from codeact.agent.turn import Completions
from codeact.disclosure import disclosed
from codeact.errors import CodeActError, first_of
from codeact.events.last_code import LastCode
from codeact.model import Model
from codeact.workspaces.workspace import Workspace
from sandbox_pool.errors import SandboxError
from sandbox_pool.logs import Logger

__all__ = ["AgentOptions", "Load", "Stop", "answer", "lost_kernel"]

log = Logger(__name__)

Context = Sequence[e.Input | e.Item]
Load = Callable[[], Awaitable[tuple[Context, AgentOptions]]]
"""Reads the context and options of an answer that has begun. Raises `CodeActError`."""


class Stop:
    """Stops an answer from outside. Any task of the same loop may call `cancel`."""

    def __init__(self) -> None:
        self.scope = anyio.CancelScope()
        self.error: e.ResponseError | None = None
        self.steered = False

    def steer(self) -> None:
        """Ends the answer as incomplete (`steered`) before it would call the model again."""
        self.steered = True

    def cancel(self, error: e.ResponseError | None = None) -> None:
        """Stops the answer: with an error the response fails, without one its status is `cancelled`. Idempotent."""
        if not self.scope.cancel_called:
            self.error = error
            self.scope.cancel()


def lost_kernel(code: LastCode | None, workspace: Workspace) -> str | None:
    """Returns why the kernel in which this conversation last ran code is gone.

    Returns None if that kernel lives or there was none, and also if user and model were already informed by the
    execution that ended the kernel.
    """
    if code is None or code.container_id == workspace.container_id or not code.alive:
        return None
    return workspace.lost


async def answer(
    response: e.Response,
    context: Context,
    *,
    model: Model,
    workspace: Workspace,
    options: AgentOptions,
    emit: Emit,
    stop: Stop,
    started: float | None = None,
    turn: Callable[[], Awaitable[None]] | None = None,
    load: Load | None = None,
) -> None:
    """Answers the last message of `context` and leaves `response` complete.

    With `load`, context and options come from that function, which is called after `response.created`. `started` is
    the `time.monotonic()` from which the response's timings count. A `queued` response waits until `turn` returns; it
    can be stopped meanwhile.

    The first event is `response.created`, and the last one is always exactly one terminal event: errors of the model or
    the sandbox end the response as `failed` with their own code. Raises only what `emit` raises for the first and the
    last events. If the task itself is cancelled, the response remains unfinished.
    """
    builder = ResponseBuilder(response, emit, started=time.monotonic() if started is None else started)
    await builder.begin()
    # Lets readers send `response.created` now, before the request to the model is prepared.
    await anyio.lowlevel.checkpoint()
    error: e.ResponseError | None = None
    async with anyio.create_task_group() as background:
        loop: _Loop | None = None
        try:
            with stop.scope:
                if turn is not None:
                    with telemetry.span("queue"):
                        await turn()
                    await builder.start()
                with workspace.in_use():
                    if load is not None:
                        context, options = await load()
                    async with with_remote_tools(builder, options) as options:
                        loop = _Loop(builder, context, model, workspace, options, stop, background)
                        await loop.run()
        except Exception as failure:
            error = _response_error(first_of(failure), response.id)
        finally:
            if loop is not None:
                loop.runner.output_files.stop()
    usage = loop.completions.usage + loop.completions.compaction_usage if loop is not None else None
    if usage is not None and options.budget is not None:
        usage += options.budget.usage
    incomplete = loop.completions.incomplete if loop is not None else None
    if stop.scope.cancelled_caught:
        await builder.end("failed" if stop.error else "cancelled", usage, error=stop.error)
    elif error is not None:
        await builder.end("failed", usage, error=error)
    elif incomplete is not None:
        await builder.end("incomplete", usage, incomplete=incomplete)
    else:
        await builder.end("completed", usage)


def _response_error(failure: BaseException, response_id: str) -> e.ResponseError:
    """Returns the error for the client, and logs the failure."""
    if isinstance(failure, CodeActError | SandboxError):
        log.warning("response failed", response=response_id, code=failure.code, reason=failure.message)
        return e.ResponseError(*disclosed(failure))
    log.error("response failed because of an internal error", response=response_id, exc_info=failure)
    return e.ResponseError(
        "server_error", f"An internal error ended this response; the server's log has it under {response_id}."
    )


class _Loop:
    """The turns of one answer: the model writes, its code runs, until it answers without code."""

    def __init__(
        self,
        builder: ResponseBuilder,
        context: Sequence[e.Input | e.Item],
        model: Model,
        workspace: Workspace,
        options: AgentOptions,
        stop: Stop,
        background: TaskGroup,
    ) -> None:
        self.runner = CodeRunner(builder, context, workspace, options, background)
        self.completions = Completions(builder, context, model, options, self.runner, background, workspace)
        builder.seal_reasoning(options.seal_reasoning)
        if options.answer_format is not None:
            builder.hold_text()
        self._builder = builder
        self._workspace = workspace
        self._options = options
        self._stop = stop

    async def run(self) -> None:
        if not self._options.generate:
            if self._workspace.container_id is None and self._options.may_warm():
                self._workspace.warm_up()
                await self.runner.claim()
            return
        self._workspace.question_came()
        prompting = self.completions.prompting
        await prompting.find_window()
        self.runner.observation_chars = prompting.observation_chars()
        if self._options.compact_only:
            await self.completions.compact()
            return
        self.runner.toolbox = prompting.toolbox
        if not await self.runner.resume():
            return
        async with anyio.create_task_group() as tasks:
            if self._options.eager:
                self.runner.eager.tasks = tasks
            try:
                await self._take_turns()
            finally:
                await self.runner.eager.give_up()

    async def _take_turns(self) -> None:
        for turn in range(self._options.max_code + 1):
            if turn and await self._ends_here():
                return
            code = await self.completions.think(last=turn == self._options.max_code)
            if code is None or self.completions.incomplete is not None:
                await self._builder.cite(self._workspace.container_id or "", await self.runner.output_files.found())
                return
            self.runner.toolbox = self.completions.prompting.toolbox
            if not await self.runner.execute(code):
                return
            call = next(
                item for item in reversed(self._builder.response.output) if isinstance(item, e.CodeInterpreterCall)
            )
            self.completions.has_run(code, call.observation or "")

    async def _ends_here(self) -> bool:
        """Whether the answer ends before its next call of the model."""
        used_up = await self.completions.tokens_are_used_up()
        if self._stop.steered or used_up:
            self.completions.incomplete = e.IncompleteDetails("steered" if self._stop.steered else "max_output_tokens")
        return self.completions.incomplete is not None
