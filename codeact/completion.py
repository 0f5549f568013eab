"""Calls of the model within one answer: the conversation enters, segments go to the builder, code to run leaves."""

import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace

import anyio
from anyio.abc import TaskGroup

from codeact import events as e
from codeact import prompt
from codeact.builder import ResponseBuilder
from codeact.context import fit, size_chars
from codeact.errors import ContextTooLong
from codeact.models import ChatMessage, Finish, Model, ReasoningDelta, Sampling, TextDelta, Usage
from codeact.options import AgentOptions
from codeact.parser import CodeEnd, CodeStart, CodeText, Parser, Segment
from sandbox_pool.sandbox import Sandbox

__all__ = ["Completions"]

MAX_TRUNCATIONS = 12
TRUNCATE_TO = 0.7


class Completions:
    """`usage` is the sum of all calls; tokens that no provider counted are counted in `counting`, beside the answer.

    `claim` gives the sandbox as soon as a block of code begins. `incomplete` says why the answer ends early.
    """

    def __init__(
        self,
        builder: ResponseBuilder,
        context: Sequence[e.Input | e.Item],
        model: Model,
        options: AgentOptions,
        claim: Callable[[], Awaitable[Sandbox]],
        counting: TaskGroup,
    ) -> None:
        self.usage = Usage()
        self.incomplete: e.IncompleteDetails | None = None
        self._builder = builder
        self._context = context
        self._model = model
        self._options = options
        self._claim = claim
        self._counting = counting
        self._counted = anyio.Event()
        self._counted.set()
        self._room_chars: int | None = None
        self._refused_chars: int | None = None
        self._system = prompt.system_prompt(
            instructions=options.instructions, limits=options.limits, functions=options.toolbox.described()
        )

    async def tokens_are_used_up(self) -> bool:
        """Whether `max_output_tokens` leave nothing for another call."""
        if self._options.sampling.max_output_tokens is not None:
            await self._counted.wait()
        return self._tokens_left() == 0

    async def think(self, *, last: bool) -> str | None:
        """One call; the code to run, or None once the model has answered without any.

        It is made shorter and asked again where the model finds it too long and old messages may go.
        """
        messages = prompt.chat_messages([*self._context, *self._builder.response.output], system=self._system)
        fences = not last and not prompt.uses_tags(messages)
        if last:
            messages = prompt.add_user(messages, prompt.last_turn(self._options.max_code))
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
        if self._options.max_code == 0:
            return  # No code was asked for.
        if self._options.max_code < self._options.max_turns:
            code, limit = "max_tool_calls", "the request's max_tool_calls allows"
        else:
            code, limit = "max_turns", "CODEACT_MAX_TURNS allows for one answer"
        times = self._options.max_code
        text = f"The model has run code {times} times, the most that {limit}; it now answers from what it has."
        await self._builder.notice(code, text)

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
