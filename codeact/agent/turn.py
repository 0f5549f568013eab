"""Calls the model within one answer: builds the prompt, streams the reply, and returns the code to run."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import anyio
from anyio.abc import TaskGroup

from codeact import events as e
from codeact import telemetry
from codeact.agent.answer_format import checked, repair_words
from codeact.agent.code_runner import CodeRunner
from codeact.agent.compacting import Compacting
from codeact.agent.options import AgentOptions
from codeact.agent.problems import SAME_BLOCK, SECOND_BLOCK, Broken, Problem, must_words, repeats_blocks
from codeact.agent.prompting import Prompting
from codeact.agent.repetition import BlockHistory
from codeact.agent.reply import Further, Reply
from codeact.agent.response_builder import ResponseBuilder
from codeact.concurrency.offloop import off_loop
from codeact.context.masking import Masks
from codeact.dialect import learn_no_tools, profile_of, prompt
from codeact.dialect.history import uses_tags
from codeact.dialect.silent_thinkers import reasons
from codeact.errors import ContextTooLong, ModelRefused, ModelStreamBroken
from codeact.model import AnswerFormat, ChatMessage, Model, Sampling, Usage
from codeact.tools.toolbox import PATCH
from codeact.workspaces.workspace import Workspace

__all__ = ["Completions"]

MAX_TRUNCATIONS = 12
SAME_TIMES = 3


class Completions:
    """The model calls of one answer.

    `usage` is their sum; tokens that the provider does not count are estimated by tasks in `counting`. Compactions are
    in `compaction_usage`, which does not count against `max_output_tokens`. `runner` claims the sandbox as soon as a
    block of code begins, and may run that while the model writes. `incomplete` says why the answer ends early.
    """

    def __init__(
        self,
        builder: ResponseBuilder,
        context: Sequence[e.Input | e.Item],
        model: Model,
        options: AgentOptions,
        runner: CodeRunner,
        counting: TaskGroup,
        workspace: Workspace,
    ) -> None:
        self.usage = Usage()
        self.compaction_usage = Usage()
        self.incomplete: e.IncompleteDetails | None = None
        self._builder = builder
        masks = Masks(workspace.masked_outputs, workspace.masked_codes)
        self.prompting = Prompting(builder, context, model, options, masks)
        self._compacting = Compacting(builder.compactions, self.prompting, model, options, workspace, self._book)
        self._context = context
        self._model = model
        self._options = options
        self._runner = runner
        self._counting = counting
        self._counted = anyio.Event()
        self._counted.set()
        if options.budget is not None:
            options.budget.output_left = self._tokens_left
        self._further: list[Further] = []
        self._has_reported_reasoning = self._has_reported_logprobs = False
        self._repairing = False
        self._blocks = BlockHistory()

    async def tokens_are_used_up(self) -> bool:
        """Whether `max_output_tokens` leaves nothing for another call."""
        if self._options.sampling.max_output_tokens is not None:
            await self._counted.wait()
        return self._tokens_left() == 0

    async def think(self, *, last: bool) -> str | None:
        """Calls the model; returns the code to run, or None if the model has answered without code.

        If a reply is neither, the model is asked once more, with a message about the problem. Raises `ModelError`.
        """
        if (code := await self._next_of_reply(last=last)) is not None:
            return code
        await self._builder.close_item()
        await self._compacting.before_call()
        await self._report_foreign_reasoning()
        earlier_problem = broke = self._repairing = False
        if last:
            await self._say_last()
            self.prompting.say(prompt.last_turn(self._options.max_code))
        while True:
            try:
                reply = await self._fitting(last=last)
            except Broken as error:
                if broke:
                    raise error.error from None
                broke = True
                await self._builder.close_item(complete=False)
                await self._builder.notice(
                    "model_stream_broken", f"{error.error.message} The model is asked once more."
                )
                continue
            self.incomplete = reply.incomplete
            self._check_acts(reply, last=last)
            await self._check_format(reply)
            if reply.problem is None or reply.incomplete is not None:
                self._further = reply.further
                if reply.second_block:
                    self.prompting.say(SECOND_BLOCK)
                return reply.code
            await self._builder.set_aside()
            await self._builder.close_item(complete=reply.problem.kind != "repeats")
            if earlier_problem:
                raise reply.problem.error(self._model.name)
            earlier_problem = True
            if (aside := reply.problem.aside(self.prompting.dialect)) is not None:
                self.prompting.add(aside)
            if await self.tokens_are_used_up():
                self.incomplete = e.IncompleteDetails("max_output_tokens")
                return None

    async def compact(self) -> None:
        """Compacts the conversation, and asks the model nothing else."""
        await self._compacting.now()

    def _book(self, usage: Usage) -> None:
        self.compaction_usage += usage

    def _check_acts(self, reply: Reply, *, last: bool) -> None:
        """Sets the reply's problem if it is an answer without the code that the request demands."""
        if last or reply.code is not None or reply.problem is not None or reply.incomplete is not None:
            return
        if self._owes_code():
            reply.problem = Problem("idle", self._builder.held_text, must_words(self._options.must_call))

    def _owes_code(self) -> bool:
        """Whether the request demands code, or a function call by code, that has not happened yet.

        Code that continued with a function's value counts as having run.
        """
        if not self._options.must_act or (
            self._context and isinstance(self._context[-1], e.FunctionCallOutput | e.Approval | e.CodeApproval)
        ):
            return False
        output, name = self._builder.response.output, self._options.must_call
        if name is None:
            return not any(isinstance(item, e.CodeInterpreterCall) for item in output)
        return not any(
            (isinstance(item, e.ClientCall | e.McpCall) and item.name == name)
            or (isinstance(item, e.ApplyPatchCall) and name == PATCH.name)
            for item in output
        )

    async def _check_format(self, reply: Reply) -> None:
        """Emits the answer as the message if it has the demanded format; otherwise sets the reply's problem."""
        answer_format = self._options.answer_format
        if answer_format is None or reply.code is not None or reply.problem is not None or reply.incomplete is not None:
            return
        text = self._builder.held_text
        result = await off_loop(len(text), partial(checked, text, answer_format))
        if result.wrong is None:
            await self._builder.answer(result.text)
        else:
            reply.problem = Problem("format", text, repair_words(result.wrong))
            self._repairing = True

    async def _report_foreign_reasoning(self) -> None:
        """Adds a notice, once, if the conversation has reasoning of other models, which this model does not get."""
        thinking = [item for item in self._context if isinstance(item, (e.Reasoning, e.InputMessage))]
        others = {item.kept.model for item in thinking if isinstance(item.kept, e.KeptReasoning)}
        others.discard(self._model.name)
        if others and not self._has_reported_reasoning:
            names = " and ".join(sorted(others))
            text = f"The reasoning of {names} stays with it: {self._model.name} reads the conversation without."
            await self._builder.notice("reasoning_left_out", text)
        self._has_reported_reasoning = True

    async def _report_missing_logprobs(self, reply: Reply) -> None:
        """Adds a notice, once, if the model's server ignored that log probabilities were asked for."""
        if reply.lacks_logprobs and not self._has_reported_logprobs:
            self._has_reported_logprobs = True
            text = f"The server of {self._model.name} sent no log probabilities: the answer has none."
            await self._builder.notice("parameter_dropped", text)

    async def _next_of_reply(self, *, last: bool) -> str | None:
        """Returns the next block of a reply with several calls; None if the model must be called."""
        if not self._further or last:
            self._further = []
            return None
        further = self._further.pop(0)
        sandbox = await self._runner.claim()
        await self._builder.code_start(sandbox.id, tagged=True)
        await self._builder.code.delta(further.code)
        await self._builder.code.written(further.code)
        self._builder.written(further.written)
        return further.code

    def has_run(self, code: str, observation: str) -> None:
        """Records the observation of a block.

        If the same block has had the same observation three times, the model gets a note; after that, raises
        `ModelRepeats`.
        """
        times = self._blocks.times(code, observation)
        if times == SAME_TIMES:
            self.prompting.say(SAME_BLOCK)
        elif times > SAME_TIMES:
            raise repeats_blocks(self._model.name)

    async def _fitting(self, *, last: bool) -> Reply:
        """Calls the model; calls it again with a shorter prompt if the prompt is too long and may be truncated."""
        for _ in range(MAX_TRUNCATIONS):
            messages = await self.prompting.messages()
            fences = not last and not uses_tags(messages)
            try:
                return await self._call(messages, fences=fences, last=last)
            except ModelRefused as error:
                demanded = self._options.dialect is not None or not self.prompting.dialect.tools
                if demanded or not learn_no_tools(self._model, error.message):
                    raise
                self.prompting.choose_dialect()
            except ContextTooLong:
                if not await self.prompting.shorten(messages):
                    raise
                await self._compacting.before_call()
        raise ContextTooLong("The conversation does not fit into the model's context, however much is left out.")

    async def _say_last(self) -> None:
        if self._options.max_code == 0:
            return  # The request allows no code.
        if self._options.max_code < self._options.max_turns:
            code, limit = "max_tool_calls", "the request's max_tool_calls allows"
        else:
            code, limit = "max_turns", "CODEACT_MAX_TURNS allows for one answer"
        times = self._options.max_code
        text = f"The model has run code {times} times, the most that {limit}; it now answers from what it has."
        await self._builder.notice(code, text)

    async def _call(self, messages: list[ChatMessage], *, fences: bool, last: bool) -> Reply:
        """Streams one call to its end, or to the end of its first block."""
        reads_on = not any(
            isinstance(item, e.CodeInterpreterCall) and item.result is not None
            for item in (*self._context, *self._builder.response.output)
        )
        takes_stop = getattr(self._model, "takes_stop", True)
        stops = bool(self.prompting.dialect.stop) and takes_stop and not reasons(self._model)
        reply = Reply(
            self._builder,
            self._model,
            self.prompting.dialect,
            self._runner.claim,
            self._runner.eager,
            stops=stops,
            fences=fences,
            last=last,
            reads_on=reads_on,
            output_tokens=self._options.call_output_tokens,
            logprobs=self._options.sampling.logprobs is not None,
        )
        self._runner.toolbox = self.prompting.toolbox
        try:
            with telemetry.model_call(self._model.name) as span:
                await reply.read(self._model.stream(messages, self._sampling(stops=stops, last=last)))
                telemetry.note_usage(span, self._model.name, reply.usage)
        except ModelStreamBroken as error:
            if reply.began_code or not reply.text:
                raise
            raise Broken(error) from None
        finally:
            if reply.usage is not None:
                self.usage += reply.usage
                await self.prompting.observe(messages, reply.usage)
            elif reply.text:
                self._counted = anyio.Event()
                self._counting.start_soon(self._estimate, messages, reply.text, self._counted)
        await self._report_missing_logprobs(reply)
        if reply.was_stopped:
            self._builder.spared(self._unwritten_chars(len(reply.code or "")))
        return reply

    def _unwritten_chars(self, written_chars: int) -> int | None:
        """Estimates how much more the model would have written of the block at whose error it was stopped."""
        known: int | None = getattr(self._model, "unread_chars", None)
        if known is not None:
            return known
        blocks = [
            len(item.code)
            for item in (*self._context, *self._builder.response.output)
            if isinstance(item, e.CodeInterpreterCall) and item.result is not None and item.result.error is None
        ]
        return max(0, sum(blocks) // len(blocks) - written_chars) if blocks else None

    def _sampling(self, *, stops: bool, last: bool) -> Sampling:
        return replace(
            self._options.sampling,
            max_output_tokens=self._tokens_left(),
            stop=self.prompting.dialect.stop if stops else (),
            tools=self.prompting.dialect.tools,
            tool_choice="none" if last or self._repairing else "required" if self._owes_code() else "auto",
            answer_format=self._native_format(),
        )

    def _native_format(self) -> AnswerFormat | None:
        """Returns the format that the provider should enforce on this reply.

        It is set only for a repeated answer, or if the model sends code by calls and its provider supports both.
        """
        demanded = self._options.answer_format
        by_calls = bool(self.prompting.dialect.tools) and profile_of(self._model.name).formats
        if demanded is None or not (self._repairing or by_calls):
            return None
        return (
            AnswerFormat()
            if isinstance(demanded, e.JsonObjectFormat)
            else AnswerFormat(demanded.name, demanded.schema, demanded.strict)
        )

    def _tokens_left(self) -> int | None:
        """Returns how many more tokens the model may write in this response; None if there is no limit."""
        limit = self._options.sampling.max_output_tokens
        by_code = 0 if self._options.budget is None else self._options.budget.usage.output_tokens
        return None if limit is None else max(0, limit - self.usage.output_tokens - by_code)

    async def _estimate(self, messages: Sequence[ChatMessage], output: str, counted: anyio.Event) -> None:
        try:
            self.usage += await self._model.estimate(messages, output)
        finally:
            counted.set()
