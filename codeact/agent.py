"""The loop: a question and a conversation enter; the model writes code, the code runs, and events leave.

`answer` drives one response to its end. It pushes each event to `emit`, which stores and numbers it; a
cancel scope stops it from outside, and what was produced until then is kept.
"""

import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

import anyio
import structlog
from anyio.abc import TaskGroup

from codeact import events as e
from codeact import prompt
from codeact.block import Block, Suspended
from codeact.builder import Emit, ResponseBuilder
from codeact.context import fit, size_chars
from codeact.errors import CodeActError, ContextTooLong
from codeact.models import ChatMessage, Finish, Model, ReasoningDelta, Sampling, TextDelta, Usage
from codeact.parser import CodeEnd, CodeStart, CodeText, Parser, Segment
from codeact.tools import Toolbox
from codeact.workspace import GivenFile, Workspace
from codeact.written import Collect, WrittenFiles
from sandbox_pool.errors import SandboxError
from sandbox_pool.execution import Execution
from sandbox_pool.outputs import Output, fold
from sandbox_pool.sandbox import Sandbox
from sandbox_pool.spec import Limits

__all__ = ["AgentOptions", "Stop", "answer", "lost_kernel"]

log = structlog.get_logger(__name__)

STOP_DEADLINE_S = 10.0
TELL_AFTER_S = 0.5
MAX_TRUNCATIONS = 12
TRUNCATE_TO = 0.7


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """`max_turns` and `max_tool_calls` count blocks of code; the sampling's `max_output_tokens` is for all calls.

    `generate` False claims the sandbox and asks no model; `truncate` lets old messages go that do not fit; `files` are
    in the working directory when code runs.
    With `collect` the answer cites the files that its code wrote.
    """

    max_turns: int = 20
    max_tool_calls: int | None = None
    generate: bool = True
    truncate: bool = False
    files: Sequence[GivenFile] = ()
    observation_chars: int = 12_000
    instructions: str | None = None
    sampling: Sampling = field(default_factory=Sampling)
    limits: Limits = field(default_factory=Limits)
    toolbox: Toolbox = field(default_factory=Toolbox)
    call_timeout_s: float = 300.0
    collect: Collect | None = None


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
    async with anyio.create_task_group() as counting:
        loop = _Loop(builder, context, model, workspace, options, stop, counting)
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
            loop.written.stop()
    if stop.scope.cancelled_caught:
        await builder.end("failed" if stop.error else "cancelled", loop.usage, error=stop.error)
    elif error is not None:
        await builder.end("failed", loop.usage, error=error)
    elif loop.incomplete is not None:
        await builder.end("incomplete", loop.usage, incomplete=loop.incomplete)
    else:
        await builder.end("completed", loop.usage)


class _Loop:
    """The state of one answer between its turns. Tokens that no provider counted are counted in `counting`."""

    def __init__(
        self,
        builder: ResponseBuilder,
        context: Sequence[e.Input | e.Item],
        model: Model,
        workspace: Workspace,
        options: AgentOptions,
        stop: Stop,
        counting: TaskGroup,
    ) -> None:
        self.usage = Usage()
        self.incomplete: e.IncompleteDetails | None = None
        self._builder = builder
        self._context = context
        self._model = model
        self._workspace = workspace
        self._options = options
        self._stop = stop
        self._counting = counting
        self._counted = anyio.Event()
        self._counted.set()
        self._room_chars: int | None = None
        self._refused_chars: int | None = None
        self.written = WrittenFiles(options.collect, counting)
        self._toolbox = options.toolbox
        self._system = prompt.system_prompt(
            instructions=options.instructions, limits=options.limits, functions=self._toolbox.described()
        )

    async def run(self) -> None:
        if not self._options.generate:
            await self._claim()
            return
        if not await self._resume():
            return
        for turn in range(self._max_code + 1):
            if turn and await self._ends_here():
                return
            code = await self._think(last=turn == self._max_code)
            if code is None or self.incomplete is not None:
                await self._builder.cite(self._workspace.container_id or "", await self.written.found())
                return
            if not await self._execute(code):
                return

    async def _ends_here(self) -> bool:
        """Whether the answer ends before its next call of the model."""
        if self._options.sampling.max_output_tokens is not None:
            await self._counted.wait()
        if self._stop.steered:
            self.incomplete = e.IncompleteDetails("steered")
        elif self._tokens_left() == 0:
            self.incomplete = e.IncompleteDetails("max_output_tokens")
        return self.incomplete is not None

    @property
    def _max_code(self) -> int:
        """How many blocks of code may run."""
        limit = self._options.max_tool_calls
        return self._options.max_turns if limit is None else min(limit, self._options.max_turns)

    # ---- one call of the model ---------------------------------------------------------------------

    async def _think(self, *, last: bool) -> str | None:
        """One call, made shorter and asked again where the model finds it too long and old messages may go."""
        messages = prompt.chat_messages([*self._context, *self._builder.response.output], system=self._system)
        fences = not last and not prompt.uses_tags(messages)
        if last:
            messages = prompt.add_user(messages, prompt.last_turn(self._max_code))
            await self._say_last()
        for _ in range(MAX_TRUNCATIONS):
            fitting = messages if self._room_chars is None else fit(messages, room_chars=self._room_chars)
            try:
                return await self._call(fitting, fences=fences, last=last)
            except ContextTooLong:
                size = size_chars(fitting)
                if not self._options.truncate or size == self._refused_chars:
                    raise
                if self._refused_chars is None:
                    await self._builder.notice(
                        "context_truncated",
                        "The conversation is longer than the model's context; its oldest messages are left out.",
                    )
                self._refused_chars, self._room_chars = size, int(size * TRUNCATE_TO)
        raise ContextTooLong("The conversation does not fit into the model's context, however much is left out.")

    async def _say_last(self) -> None:
        if self._max_code == 0:
            return  # No code was asked for.
        if self._max_code < self._options.max_turns:
            code, limit = "max_tool_calls", "the request's max_tool_calls allows"
        else:
            code, limit = "max_turns", "CODEACT_MAX_TURNS allows for one answer"
        await self._builder.notice(
            code,
            f"The model has run code {self._max_code} times, the most that {limit}; it now answers from what it has.",
        )

    async def _call(self, messages: list[ChatMessage], *, fences: bool, last: bool) -> str | None:
        """Streams one call; the code to run, or None once the model has answered without any."""
        parser = Parser(fences=fences)
        said: list[str] = []
        usage: Usage | None = None
        try:
            async with aclosing(self._model.stream(messages, self._sampling())) as stream:
                async for event in stream:
                    match event:
                        case TextDelta(text):
                            text = _encodable(text)
                            self._builder.first_token()
                            said.append(text)
                            code = await self._take(parser.feed(text), last=last)
                            if code is not None:
                                return code
                        case ReasoningDelta(text):
                            text = _encodable(text)
                            self._builder.first_token()
                            said.append(text)
                            await self._builder.thinking(text)
                        case Usage():
                            usage = event
                        case Finish("length"):
                            self.incomplete = e.IncompleteDetails("max_output_tokens")
                        case Finish("content_filter"):
                            self.incomplete = e.IncompleteDetails("content_filter")
            return await self._take(parser.finish(), last=last)
        finally:
            if usage is not None:
                self.usage += usage
            elif said:
                self._counted = anyio.Event()
                self._counting.start_soon(self._estimate, messages, "".join(said), self._counted)

    async def _take(self, segments: list[Segment], *, last: bool) -> str | None:
        """Passes segments on to the builder; the code once its block has ended. In the last turn, prose."""
        for segment in segments:
            if last and isinstance(segment, CodeStart | CodeText | CodeEnd):
                await self._builder.text(_as_prose(segment))
                continue
            if isinstance(segment, CodeStart):
                begun = time.monotonic()
                sandbox = await self._claim()
                self._builder.sandbox_wait(time.monotonic() - begun)
                await self._builder.code_start(sandbox.id, tagged=segment.tagged)
                continue
            await self._builder.segment(segment)
            if isinstance(segment, CodeEnd):
                return segment.code
        return None

    def _sampling(self) -> Sampling:
        return replace(self._options.sampling, max_output_tokens=self._tokens_left())

    def _tokens_left(self) -> int | None:
        """How much more the model may say in this response; None: as much as it likes."""
        limit = self._options.sampling.max_output_tokens
        return None if limit is None else max(0, limit - self.usage.output_tokens)

    async def _estimate(self, messages: Sequence[ChatMessage], output: str, counted: anyio.Event) -> None:
        try:
            self.usage += await self._model.estimate(messages, output)
        finally:
            counted.set()

    # ---- one execution -----------------------------------------------------------------------------

    async def _claim(self) -> Sandbox:
        """The conversation's sandbox; readers are told why they wait for it, where they do."""
        waiting = anyio.CancelScope()
        if self._workspace.container_id is None:
            self._counting.start_soon(self._tell_of_waiting, waiting)
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
                    await self._builder.status("starting_sandbox", f"A sandbox is being started. {progress}".strip())
                await anyio.sleep(TELL_AFTER_S)

    async def _execute(self, code: str) -> bool:
        """Runs the code; False where it waits for functions of the client's, and the response has to end."""
        sandbox = await self._workspace.sandbox()
        await self._workspace.place(self._options.files)
        if self._toolbox:
            await self._workspace.define(self._toolbox.source)
        await self._builder.interpreting(sandbox.id)
        execution = sandbox.execute(code, calls=bool(self._toolbox))
        return await self._see_through(self._block(sandbox, execution))

    async def _resume(self) -> bool:
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
        return Block(self._builder, sandbox, execution, self._toolbox, call_timeout_s=timeout_s, outputs=outputs)

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


def _encodable(text: str) -> str:
    """The text without half a surrogate pair, which JSON can hold and UTF-8 cannot."""
    return text if text.isascii() else text.encode(errors="replace").decode()


def _as_prose(segment: CodeStart | CodeText | CodeEnd) -> str:
    """Code that will not run any more, shown as a fence."""
    match segment:
        case CodeStart():
            return "```python\n"
        case CodeText(text):
            return text
        case CodeEnd():
            return "\n```\n"
