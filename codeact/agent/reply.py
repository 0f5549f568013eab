"""Reads one streamed reply of the model: passes its segments on, and finds its code or what is wrong with it."""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import anyio
import msgspec

from codeact import events as e
from codeact.agent.eager import EagerCode
from codeact.agent.problems import Problem, malformed
from codeact.agent.repetition import Repetition
from codeact.agent.reply_text import as_prose, encodable, in_pieces
from codeact.agent.response_builder import ResponseBuilder
from codeact.agent.visible_tokens import VisibleTokens
from codeact.concurrency.slices import Slices
from codeact.dialect import Dialect, Reader
from codeact.dialect.calls import CallsReader
from codeact.dialect.history import arguments_of, rendered
from codeact.dialect.markup import THINKING
from codeact.dialect.segments import (
    CodeEnd,
    CodeStart,
    CodeText,
    Invented,
    Malformed,
    Segment,
    Text,
    Thinking,
    ThoughtAloud,
    Unreadable,
)
from codeact.dialect.silent_thinkers import is_learnt, learn, learn_reasons, swallows_think
from codeact.errors import ModelError, ModelStreamBroken
from codeact.model import (
    Finish,
    Model,
    ModelEvent,
    ReasoningDelta,
    ReasoningKept,
    TextDelta,
    TokenLogprob,
    TokenLogprobs,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from codeact.observations.observation import HEADER
from sandbox_pool.sandbox.sandbox import Sandbox

__all__ = ["Further", "Reply"]

CHARS_PER_TOKEN = 4
QUIET_S, LISTEN_S, LISTEN_CHARS = 1.0, 6.0, 4_000
"""How long to read on after the block of an unknown model, in case a `</think>` shows that the block was a thought."""
_BLOCKS = ("<execute", "```python", "```py\n")


@dataclass(frozen=True, slots=True)
class Further:
    """A further block of code in the reply, after its first one."""

    code: str
    written: e.Written


class Reply:
    """Reads one reply.

    Afterwards `code` is the block to run, or `problem` says what is wrong if the reply is neither code nor an answer;
    with neither it is an answer. `further` are blocks of further tool calls, which run after `code`. `stops`: the
    dialect's `stop` was sent to the server. `eager` runs code while it comes; `was_stopped`: that has ended, so
    that the model was stopped. With `logprobs`, messages have the log probabilities of their tokens.
    """

    def __init__(
        self,
        builder: ResponseBuilder,
        model: Model,
        dialect: Dialect,
        claim: Callable[[], Awaitable[Sandbox]],
        eager: EagerCode,
        *,
        stops: bool,
        fences: bool,
        last: bool,
        reads_on: bool,
        output_tokens: int,
        logprobs: bool = False,
    ) -> None:
        self.code: str | None = None
        self.problem: Problem | None = None
        self.usage: Usage | None = None
        self.incomplete: e.IncompleteDetails | None = None
        self.second_block = False
        self.began_code = False
        self.was_stopped = False
        self.further: list[Further] = []
        self._builder = builder
        self._model = model
        self._dialect = dialect
        self._claim = claim
        self._eager = eager
        self._new_code: list[str] = []
        self._stops = stops
        self._fences = fences
        self._last = last
        self._reads_on = reads_on and not last
        self._left_chars = output_tokens * CHARS_PER_TOKEN
        self._since = len(builder.response.output)
        self._texts: list[str] = []
        self._contents: list[str] = []
        self._after: list[str] = []
        self._reasoned = self._answered = self._babbles = self._goes_on = False
        self._stopped = False
        self._call_id: str | None = None
        self._further_id: str | None = None
        self._reader: Reader = dialect.reader(fences=fences, thinks=self._thinks)
        self._tokens = VisibleTokens() if logprobs else None
        self._read_before_chars = 0  # The part of the reply that an earlier reader has read.
        if logprobs:
            self._reader.note_places()
        self._cut: e.IncompleteDetails | None = None
        self._repetitions = Repetition(), Repetition()

    @property
    def text(self) -> str:
        return "".join(self._texts)

    async def read(self, stream: AsyncGenerator[ModelEvent, None]) -> None:
        """Reads the reply to its end, or to the end of its first block between tags. Raises `ModelError`."""
        async with aclosing(stream) as events:
            try:
                while (event := await self._eager.next_of(events)) is not None:
                    await self._take_event(event)
                    if self.code is not None and self._reader.done and self._reads_on:
                        await self._read_on(events)
                    is_over = self.code is not None and (self._reader.done or self._babbles)
                    if is_over or self.problem is not None or self.incomplete is not None:
                        break
            except ModelError:
                if self.code is None:
                    raise  # Otherwise it came after the complete block.
        if self.code is None and self.problem is None and self._eager.is_over:
            self.was_stopped, self.code, self.began_code = True, self._eager.code, False
            await self._builder.segment(CodeEnd(self.code))
        await self._finish()

    async def _take_event(self, event: ModelEvent) -> None:
        match event:
            case TextDelta(text):
                if not text.isascii():
                    event = TextDelta(text := encodable(text))
                self._note(text, reasoning=False)
                if self._tokens is not None:
                    self._tokens.text(text)
                await self._read_pieces(event)
            case TokenLogprobs(tokens):
                if self._tokens is not None:
                    self._tokens.add(tokens)
            case ToolCallDelta():
                self._note(event.arguments, reasoning=False)
                await self._read_pieces(event)
            case ToolCall():
                await self._read_pieces(event)
            case ReasoningDelta():
                self._reasoned = True
                self._note(text := encodable(event.text), reasoning=True)
                await self._builder.reasoning(text, self._model.name)
            case ReasoningKept(fields):
                await self._builder.reasoning_kept(fields, self._model.name)
            case _:
                self._take_end(event)
        if self.began_code:
            await self._run_new_code()
        else:
            self._new_code.clear()

    async def _run_new_code(self) -> None:
        """Lets statements run that the last event has completed, if the block goes on after them."""
        text = "".join(self._new_code)
        self._new_code.clear()
        if self.code is None:
            await self._eager.feed(text, self._reader.held)

    def _may_be_thought(self) -> bool:
        """Whether what looks like code may turn out to be a thought, when `</think>` follows."""
        return swallows_think(self._model) and not self._reasoned and not self._reader.thought_ended

    async def _read_pieces(self, event: TextDelta | ToolCallDelta | ToolCall) -> None:
        """Passes an event to the reader; one with a long text in pieces, between which other tasks run."""
        pieces = in_pieces(event)
        slices = Slices() if len(pieces) > 1 else None
        for piece in pieces:
            if isinstance(piece, TextDelta):
                if self._reader.done and self._contents:
                    self._after.append(piece.text)  # `_read_on` may need it.
                    continue
                self._contents.append(piece.text)
            await self._take(self._reader.feed(piece))
            if slices is not None:
                await slices.pause()

    def _thinks(self) -> bool:
        return not self._reasoned and swallows_think(self._model)

    def _note(self, text: str, *, reasoning: bool) -> None:
        self._builder.first_token()
        self._texts.append(text)
        self._left_chars -= len(text)
        repeats = self._repetitions[reasoning].feed(text)
        if self.code is not None:
            self._babbles = repeats or self._left_chars < 0
        elif repeats:
            self.problem = Problem("repeats", self.text[-2_000:])
        elif self._left_chars < 0:
            self.incomplete = e.IncompleteDetails("max_output_tokens")

    def _take_end(self, event: Finish | Usage) -> None:
        match event:
            case Usage():
                self.usage = event
            case Finish("stop", stopped_by):
                self._stopped = True
                self._builder.response.stopped_by = stopped_by or msgspec.UNSET
            case Finish("error"):
                raise ModelStreamBroken(f"The server of {self._model.name} ended the answer with an error. Ask again.")
            case Finish("length"):
                self._cut = e.IncompleteDetails("max_output_tokens")
            case Finish("content_filter"):
                self._cut = e.IncompleteDetails("content_filter")

    async def _finish(self) -> None:
        """Ends the reply: takes the reader's last segments, and records the reply's exact text or its problem."""
        if self._reasoned:
            learn_reasons(self._model)
        if self.problem is None and not self.was_stopped and not (self.code is not None and self._reader.done):
            await self._take(self._reader.finish(stopped=self._stops and self._stopped))
            if self._reader.has_text and self._thinks() and not self._reader.thought_ended:
                learn(self._model, False)
        self.incomplete = self.incomplete or (None if self._goes_on else self._cut)
        await self._builder.close_text_after_code()
        if self.code is None and self.problem is None and self.incomplete is None and not self._answered:
            if self._texts:  # All of it was thought.
                learn_reasons(self._model)
            self.problem = Problem("nothing")
        if self.problem is not None and self.began_code:
            await self._reject(malformed("its text went on without an end.", self._dialect))
        if self.problem is None and not self._last:
            self._builder.written(self._written())

    async def _reject(self, observation: str) -> None:
        """Closes a block that does not run, or not to its end."""
        if not await self._eager.give_up(observation):
            await self._builder.code.rejected(observation)

    def _written(self) -> e.Written | None:
        """Returns the exact text of the reply; None if a prompt rebuilt from its items is the same anyway.

        That is better if the model was stopped within its block: its own text lacks the end.
        """
        if self.was_stopped:
            custom = isinstance(self._reader, CallsReader) and self._reader.custom
            call_id = self._call_id
            return None if call_id is None else e.Written(model=self._model.name, call_id=call_id, custom=custom)
        text = "".join(self._contents)
        text = text[: len(text) - len(self._reader.rest)] + self._reader.ending
        own = self._builder.response.output[self._since :]
        code = next((item for item in own if isinstance(item, e.CodeInterpreterCall)), None)
        call_id = self._call_id if code is not None else None
        items = [item for item in own if isinstance(item, e.Message) or (item is code and call_id is None)]
        rebuilt = rendered(items, system="-")[1].content if items else ""
        written = e.Written(model=self._model.name, call_id=call_id)
        if text.strip() and text != rebuilt:
            written.text = text
            written.items = [item.id for item in items if item is not (code or items[-1])]
            if call_id is not None:
                written.items = [item.id for item in items]
        if call_id is not None and self.code is not None:
            self._note_call(written, call_id, self.code)
        return written if written.text is not None or call_id is not None else None

    def _note_call(self, written: e.Written, call_id: str, code: str) -> None:
        """Records the exact arguments of a call, if they differ from what we would write."""
        assert isinstance(self._reader, CallsReader)
        written.custom = self._reader.custom
        arguments = self._reader.arguments(call_id)
        if arguments != arguments_of(code, "custom" if written.custom else "function") and self._reader.is_valid(
            call_id
        ):
            written.arguments = arguments

    async def _take(self, segments: list[Segment]) -> None:
        """Passes segments to the builder. In the last turn code becomes prose. Further blocks are kept for later."""
        if self._tokens is not None:
            places = self._reader.take_places()
            self._tokens.prose((self._read_before_chars + start, text) for start, text in places)
        for segment in segments:
            if type(segment) is Text and self.code is None:  # Nearly all segments; the checks below cost more.
                self._answered = True
                await self._builder.text(segment.text, self._tokens_of(segment.text))
                continue
            match segment:
                case CodeStart() | CodeText() | CodeEnd() if self._last:
                    self._answered = True
                    await self._builder.text(as_prose(segment))
                case CodeStart() | CodeText() | CodeEnd() | Malformed() | Unreadable() if self.code is not None:
                    self._take_further(segment)
                case CodeStart(tagged, call_id):
                    self._call_id = call_id
                    begun = time.monotonic()
                    sandbox = await self._claim()
                    self._builder.sandbox_wait(time.monotonic() - begun)
                    self.began_code = True
                    await self._builder.code_start(sandbox.id, tagged=tagged)
                    if not self._may_be_thought():
                        self._eager.begin()
                case CodeText(text):
                    self._new_code.append(text)
                    await self._builder.segment(segment)
                case CodeEnd(code):
                    await self._builder.segment(segment)
                    self.code, self.began_code = code, False
                case Malformed(reason):
                    self.problem = Problem("malformed")
                    if self.began_code:
                        self.began_code = False
                        await self._reject(malformed(reason, self._dialect))
                case Unreadable(raw):
                    self.problem = Problem("unreadable", raw)
                case Text(text):
                    self._goes_on = True
                    self.second_block = self.second_block or any(mark in text for mark in _BLOCKS)
                    await self._builder.text_after_code(text, self._tokens_of(text))
                case Thinking(text) if self.code is not None:
                    await self._builder.reasoning(text)
                case Invented():
                    self.problem = Problem("invented", self.text)
                case ThoughtAloud():
                    learn(self._model, True)
                    self._answered, self.code = False, None
                    await self._eager.give_up()
                    await self._builder.thought_aloud(self._since)
                case Thinking(text):
                    learn_reasons(self._model)
                    await self._builder.thinking(text)

    @property
    def lacks_logprobs(self) -> bool:
        """Whether the model wrote text, and its server sent none of the log probabilities that were asked for."""
        return self._tokens is not None and not self._tokens.came and bool(self._contents)

    def _tokens_of(self, text: str) -> Sequence[tuple[int, TokenLogprob]]:
        return () if self._tokens is None else self._tokens.of(text)

    def _take_further(self, segment: CodeStart | CodeText | CodeEnd | Malformed | Unreadable) -> None:
        match segment:
            case CodeStart(_, call_id):
                self._further_id = call_id
            case CodeEnd(code) if self._further_id is not None:
                written = e.Written(model=self._model.name, call_id=self._further_id, place=len(self.further) + 1)
                self._note_call(written, self._further_id, code)
                self.further.append(Further(code, written))
            case Malformed():
                self.second_block = True

    async def _read_on(self, events: AsyncGenerator[ModelEvent, None]) -> None:
        """Reads on after an unknown model's block; if `</think>` follows, the reply is only what comes after that."""
        self._reads_on = False
        if self._reasoned or is_learnt(self._model) or not self._reader.has_text or self._reader.thought_ended:
            return
        after, until = self._reader.rest + "".join(self._after), anyio.current_time() + LISTEN_S
        try:
            while (end := THINKING[0].search(after)) is None:
                self.second_block = any(mark in after for mark in _BLOCKS)
                if self.second_block or HEADER in after or len(after) > LISTEN_CHARS:
                    return
                event: ModelEvent | None = None
                with anyio.CancelScope(deadline=min(until, anyio.current_time() + QUIET_S)):
                    event = await anext(events, None)
                if isinstance(event, TextDelta):
                    self._texts.append(event.text)
                    self._after.append(event.text)
                    after += (text := encodable(event.text))
                    if self._tokens is not None:
                        self._tokens.text(text)
                elif isinstance(event, TokenLogprobs) and self._tokens is not None:
                    self._tokens.add(event.tokens)
                elif event is None:
                    return
                elif isinstance(event, Finish | Usage):
                    self._take_end(event)
        except ModelError:
            return  # The error came after the complete block.
        learn(self._model, True)
        self.code = None
        await self._eager.give_up()
        await self._builder.thought_aloud(self._since)
        self._answered = False
        self._contents.extend(self._after)
        self._reader = self._dialect.reader(fences=self._fences, thinks=lambda: False)
        if self._tokens is not None:
            self._reader.note_places()
            self._read_before_chars = len("".join(self._contents)) - len(after) + end.end()
        await self._take(self._reader.feed(TextDelta(after[end.end() :])))
