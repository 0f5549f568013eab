"""The loop: a question and a conversation enter; the model writes code, the code runs, and events leave.

`answer` drives one response to its end. It pushes each event to `emit`, which stores and numbers it; a
cancel scope stops it from outside, and what was produced until then is kept.
"""

import time
from collections.abc import Sequence

import anyio
import structlog
from anyio.abc import TaskGroup

from codeact import events as e
from codeact.builder import ResponseBuilder
from codeact.builder_calls import Emit
from codeact.completion import Completions
from codeact.errors import CodeActError
from codeact.models import Model
from codeact.options import AgentOptions
from codeact.running import CodeRunner
from codeact.workspace import Workspace
from sandbox_pool.errors import SandboxError

__all__ = ["AgentOptions", "Stop", "answer", "lost_kernel"]

log = structlog.get_logger(__name__)


class Stop:
    """Ends an answer from outside: `Stop.cancel()` from any task of the same loop."""

    def __init__(self) -> None:
        self.scope = anyio.CancelScope()
        self.error: e.ResponseError | None = None
        self.steered = False

    def steer(self) -> None:
        """The answer ends as incomplete (`steered`) before its next call of the model, if there is one."""
        self.steered = True

    def cancel(self, error: e.ResponseError | None = None) -> None:
        """Idempotent. With an error the response fails with it; without, its status is `cancelled`."""
        if not self.scope.cancel_called:
            self.error = error
            self.scope.cancel()


def lost_kernel(context: Sequence[e.Input | e.Item], workspace: Workspace) -> str | None:
    """Why the kernel in which this conversation last ran code is gone; None when it lives or never was.

    None too when the execution that lost it has already told both the user and the model.
    """
    call = next((item for item in reversed(context) if isinstance(item, e.CodeInterpreterCall)), None)
    if call is None or call.container_id == workspace.container_id:
        return None
    if call.result is not None and not call.result.kernel_alive:
        return None
    return workspace.lost


async def answer(
    response: e.Response,
    context: Sequence[e.Input | e.Item],
    *,
    model: Model,
    workspace: Workspace,
    options: AgentOptions,
    emit: Emit,
    stop: Stop,
    started: float | None = None,
) -> None:
    """Answers the last message of `context` and leaves `response` complete.

    Emits `response.created` first and exactly one terminal event last, whatever happens: errors of the
    model or the sandbox end the response as `failed` under their own code. Raises only what `emit` raises
    for the first and the last events, and cancellation of the task itself, after which the response stays
    unfinished. `started` is the `time.monotonic()` from which the ledger counts.
    """
    builder = ResponseBuilder(response, emit, started=time.monotonic() if started is None else started)
    await builder.begin()
    error: e.ResponseError | None = None
    async with anyio.create_task_group() as beside:
        loop = _Loop(builder, context, model, workspace, options, stop, beside)
        try:
            with stop.scope, workspace.in_use():
                await loop.run()
        except (CodeActError, SandboxError) as failure:
            log.warning("response failed", response=response.id, code=failure.code, reason=failure.message)
            error = e.ResponseError(failure.code, failure.message)
        except Exception:
            log.exception("response failed by an error of ours", response=response.id)
            error = e.ResponseError(
                "server_error",
                f"An internal error ended this response; the server's log has it under {response.id}.",
            )
        finally:
            loop.runner.written.stop()
    usage, incomplete = loop.completions.usage, loop.completions.incomplete
    if stop.scope.cancelled_caught:
        await builder.end("failed" if stop.error else "cancelled", usage, error=stop.error)
    elif error is not None:
        await builder.end("failed", usage, error=error)
    elif incomplete is not None:
        await builder.end("incomplete", usage, incomplete=incomplete)
    else:
        await builder.end("completed", usage)


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
        beside: TaskGroup,
    ) -> None:
        self.runner = CodeRunner(builder, context, workspace, options, beside)
        self.completions = Completions(builder, context, model, options, self.runner.claim, beside)
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
        self._workspace.asked()
        if not await self.runner.resume():
            return
        for turn in range(self._options.max_code + 1):
            if turn and await self._ends_here():
                return
            code = await self.completions.think(last=turn == self._options.max_code)
            if code is None or self.completions.incomplete is not None:
                await self._builder.cite(self._workspace.container_id or "", await self.runner.written.found())
                return
            if not await self.runner.execute(code):
                return

    async def _ends_here(self) -> bool:
        """Whether the answer ends before its next call of the model."""
        used_up = await self.completions.tokens_are_used_up()
        if self._stop.steered or used_up:
            self.completions.incomplete = e.IncompleteDetails("steered" if self._stop.steered else "max_output_tokens")
        return self.completions.incomplete is not None
