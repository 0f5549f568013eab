"""Builds a response step by step, and emits an event for each change.

This module, `code_items`, `call_items`, `compaction_items` and `reasoning_items` open and close all items, so that
every `added` has its `done`.
"""

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Literal

import msgspec

from codeact import events as e
from codeact.agent.call_items import CallItems, Emit
from codeact.agent.code_items import CodeItems
from codeact.agent.compaction_items import CompactionItems
from codeact.agent.reasoning_items import ReasoningItems
from codeact.agent.timings import Timings
from codeact.dialect.segments import CodeEnd, CodeText, Text, Thinking
from codeact.events.standard import response_usage, terminal_event
from codeact.ids import new_id
from codeact.model import TokenLogprob, Usage
from sandbox_pool.outputs import Output

__all__ = ["ResponseBuilder"]

CHARS_PER_TOKEN = 4
MOST_LOGPROBS = 20_000
"""How many log probabilities a response may have, alternatives included: about 3 MB where they are stored."""
LOGPROBS_CUT = f"A response may have {MOST_LOGPROBS:,} log probabilities; the tokens after that have none."
Tokens = Sequence[tuple[int, TokenLogprob]]
"""Tokens, each with its place in the text."""
IN_A_THOUGHT = "Observation: not run: this block stood in a thought, before </think>."


class ResponseBuilder:
    """Builds the response of one run. Not safe for concurrent calls. `started` is `time.monotonic()` at acceptance."""

    def __init__(self, response: e.Response, emit: Emit, *, started: float) -> None:
        self.response = response
        self._emit = emit
        self._timings = Timings(response, started=started)
        self._message: e.Message | None = None
        self._held_pieces: list[str] | None = None
        self._held_tokens: list[tuple[int, TokenLogprob]] = []
        self._held_chars = 0
        self._logprobs_left, self._logprobs_cut = MOST_LOGPROBS, False
        self._index = -1  # The index of the message.
        self.calls = CallItems(response, emit)
        self.compactions = CompactionItems(response, emit)
        self._reasoning = ReasoningItems(response, emit)
        self.code = CodeItems(response, emit, self._timings, calls=self.calls, reasoning=self._reasoning)

    @property
    def elapsed_s(self) -> float:
        return self._timings.elapsed_s

    async def begin(self) -> None:
        """Emits `response.created`, and calls `start` unless the response is `queued`; then the caller does later."""
        await self._emit(e.ResponseCreated(response=self.response))
        if self.response.status == "queued":
            await self._emit(e.ResponseQueued(response=self.response))
            await self.status("queued", "Others are answered first; this one waits for its turn.")
        else:
            await self.start()

    async def start(self) -> None:
        """Emits `response.in_progress` and the notices so far."""
        self.response.status = "in_progress"
        await self._emit(e.ResponseInProgress(response=self.response))
        for notice in self.response.notices:
            await self._emit(e.NoticeEvent(notice=notice))

    def resume(self, open_ids: Collection[str], outputs: list[Output]) -> None:
        """Registers the open items of a response that another process left, and the outputs of its code."""
        for index, item in enumerate(self.response.output):
            if item.id not in open_ids:
                continue
            if isinstance(item, e.FunctionCall | e.CustomToolCall | e.McpCall):
                self.calls.resume(index, item)
            elif isinstance(item, e.ShellCallOutput):
                self.calls.shell.resume(index, item)
            elif isinstance(item, e.Reasoning):
                self._reasoning.resume(index, item)
            elif isinstance(item, e.CodeInterpreterCall):
                self.code.resume(index, item, outputs)
            elif isinstance(item, e.Compaction):
                self.compactions.resume(index, item)
            elif isinstance(item, e.Message):
                self._message, self._index = item, index

    # ---- prose, thinking, code ---------------------------------------------------------------------

    async def segment(self, segment: Text | Thinking | CodeText | CodeEnd) -> None:
        """Adds one segment of the model's text; a block of code begins with `code_start`."""
        match segment:
            case Text(text):
                await self.text(text)
            case Thinking(text):
                await self.thinking(text)
            case CodeText(text):
                await self.code.delta(text)
            case CodeEnd(code):
                await self.code.written(code)

    async def text(self, delta: str, tokens: Tokens = ()) -> None:
        """Appends prose; white space at the beginning of a message is dropped. `tokens` are those of `delta`."""
        if self._held_pieces is not None:
            self._held_tokens += [(self._held_chars + at, token) for at, token in tokens]
            self._held_pieces.append(delta)
            self._held_chars += len(delta)
            return
        if self._message is None:
            delta = delta.lstrip()
            if not delta:
                return
            await self.close_item()
            await self._begin_message()
        await self._add_to_message(delta, tokens)

    async def text_after_code(self, delta: str, tokens: Tokens = ()) -> None:
        """Appends prose that the model wrote after its complete block of code, which does not run yet.

        It is a message of its own. If the answer's text is held back, it becomes reasoning.
        """
        if self._held_pieces is not None:
            await self.reasoning(delta)
            return
        if self._message is None:
            await self._begin_message(before_result_of=self.code.open_id)
        await self._add_to_message(delta, tokens)

    async def close_text_after_code(self) -> None:
        """Ends the message of `text_after_code`, if there is one, before the code runs."""
        if self._message is not None and self.code.is_open:
            await self._close_message("completed", "commentary")

    def hold_text(self) -> None:
        """Holds prose back from now on: prose before code becomes reasoning, and `answer` sets the only message.

        This is for an answer that a program reads: the response then has exactly one message.
        """
        self._held_pieces = []

    @property
    def held_text(self) -> str:
        """The prose that is held back."""
        return "".join(self._held_pieces or ())

    async def answer(self, text: str) -> None:
        """Emits `text` as the message, instead of the prose that is held back."""
        start, tokens = self.held_text.find(text), self._held_tokens
        self._held_pieces, self._held_tokens = None, []
        await self.text(text, [(at - start, token) for at, token in tokens if start <= at < start + len(text)])

    async def set_aside(self) -> None:
        """Emits the prose that is held back as an item of reasoning, since it is no answer."""
        if self._held_pieces is not None:
            text, self._held_pieces, self._held_tokens = self.held_text, [], []
            self._held_chars = 0
            if text.strip():
                await self._reasoning.add(text.rstrip())
                await self._reasoning.close()

    async def thinking(self, delta: str) -> None:
        """Appends reasoning that is part of the model's text, so that it ends an open message."""
        if (self._message is not None or self.code.is_open) and delta.strip():
            await self.close_item()
        await self.reasoning(delta)

    async def reasoning(self, delta: str, model: str = "") -> None:
        """Appends reasoning that `model` sends separately from its text; an open item continues."""
        await self._reasoning.add(delta, model=model)

    async def reasoning_kept(self, fields: dict[str, Any], model: str) -> None:
        """Stores the fields that the provider needs back with the reasoning, or instead of it."""
        await self._reasoning.keep(fields, model=model)

    def seal_reasoning(self, seal: Callable[[e.Reasoning], str | None] | None) -> None:
        """Sets the function that computes the `encrypted_content` of reasoning items."""
        self._reasoning.seal = seal

    def written(self, written: e.Written | None) -> None:
        """Records the exact text of the model's reply in the open item."""
        if self.code.is_open:
            self.code.wrote(written)
        elif self._message is not None:
            self._message.written = written

    async def thought_aloud(self, since: int) -> None:
        """Replaces messages from the item with index `since` on by reasoning, and rejects an open block of code.

        It is called if the model marked them as a thought only afterwards.
        """
        await self._reasoning.close()
        if self.code.is_open:
            await self.code.rejected(IN_A_THOUGHT)
        open_, self._message = self._message, None
        for index, item in enumerate(self.response.output[since:], since):
            if isinstance(item, e.Message):
                await self._reasoning.replace(index, item, is_open=item is open_)

    async def code_start(self, container_id: str, *, tagged: bool) -> None:
        """Opens a block of code; `tagged` is False if a fence without tags opened it.

        It adds a blank line to the prose before it, since clients join all messages of a response into one text.
        """
        await self.set_aside()
        if self._message is not None:
            await self.text("\n\n")
        await self.close_item()
        await self.code.begin(container_id, tagged=tagged)

    async def code_continues(self, item_id: str, container_id: str, *, code: str = "") -> None:
        """Opens a block that continues the suspended code of an earlier response's item.

        `code` is set if it runs in place of that item's code.
        """
        await self.close_item()
        await self.code.begin(container_id, continues=item_id)
        if code:
            await self.code.delta(code)
        await self.code.written(code)
        await self.code.interpreting(container_id)

    async def cite(self, container_id: str, files: Iterable[tuple[str, str]]) -> None:
        """Annotates the open message, if there is one, with files that code wrote, given as pairs of id and path."""
        if self._message is None:
            return
        part = self._message.content[0]
        for file_id, path in files:
            name = path.rpartition("/")[2]
            start = part.text.rfind(name)
            start, end = (start, start + len(name)) if start >= 0 else (len(part.text), len(part.text))
            citation = e.ContainerFileCitation(container_id, file_id, name, start, end)
            part.annotations.append(citation)
            await self._emit(
                e.OutputTextAnnotationAdded(
                    item_id=self._message.id,
                    output_index=self._index,
                    annotation=citation,
                    annotation_index=len(part.annotations) - 1,
                )
            )

    # ---- notices, usage, the end -------------------------------------------------------------------

    async def notice(self, code: str, message: str) -> None:
        notice = e.Notice(code=code, message=message)
        self.response.notices.append(notice)
        await self._emit(e.NoticeEvent(notice=notice))

    async def status(self, status: e.StatusName, message: str) -> None:
        """Informs readers what the response waits for."""
        await self._emit(e.StatusEvent(status=status, message=message))

    async def checkpoint_restored(self, event: e.CheckpointRestored) -> None:
        """Informs readers that the sandbox has the state of a checkpoint."""
        await self._emit(event)

    def first_token(self) -> None:
        if self.response.ledger.first_token_s is None:
            self._timings.mark("first_token_s")

    def spared(self, chars: int | None) -> None:
        """Adds to the tokens that the model did not write, because its code failed while it wrote."""
        if chars is not None:
            ledger = self.response.ledger
            ledger.unwritten_tokens = (ledger.unwritten_tokens or 0) + chars // CHARS_PER_TOKEN

    def sandbox_wait(self, seconds: float) -> None:
        ledger = self.response.ledger
        ledger.sandbox_wait_s = (ledger.sandbox_wait_s or 0.0) + seconds

    async def close_item(self, *, complete: bool = True, phase: e.Phase | None = "commentary") -> None:
        """Ends the open item, if there is one; `complete=False` if it was cut off. `phase` is set on a message."""
        status: Literal["completed", "incomplete"] = "completed" if complete else "incomplete"
        await self._reasoning.close(status)
        await self.compactions.close()
        if self._message is not None:
            await self._close_message(status, phase)
        if self.code.is_open:
            await self.code.close("incomplete")

    async def end(
        self,
        status: Literal["completed", "incomplete", "failed", "cancelled"],
        usage: Usage | None,
        *,
        error: e.ResponseError | None = None,
        incomplete: e.IncompleteDetails | None = None,
    ) -> None:
        """Closes open items and emits the terminal event. `status` is the final one; `usage` is None if unknown."""
        response = self.response
        if status == "incomplete" and self.held_text.strip():
            await self.answer(self.held_text)
        await self.set_aside()
        phase: e.Phase | None = "final_answer" if status in ("completed", "incomplete") else None
        await self.close_item(complete=status == "completed", phase=phase)
        response.status = status
        response.error = error
        response.incomplete_details = incomplete
        response.usage = None if usage is None else response_usage(usage)
        response.ledger.total_s = self.elapsed_s
        if status == "completed":
            response.completed_at = int(time.time())
        await self._emit(terminal_event(response))

    # ---- private -----------------------------------------------------------------------------------

    async def _begin_message(self, *, before_result_of: str | None = None) -> None:
        part = e.OutputText(text="")
        message = e.Message(id=new_id("msg"), content=[], before_result_of=before_result_of)
        self.response.output.append(message)
        self._message, self._index = message, len(self.response.output) - 1
        await self._emit(e.OutputItemAdded(output_index=self._index, item=message))
        message.content.append(part)
        await self._emit(e.ContentPartAdded(item_id=message.id, output_index=self._index, part=part))

    async def _add_to_message(self, delta: str, tokens: Tokens = ()) -> None:
        assert self._message is not None
        part = self._message.content[0]
        part.add(delta)
        event = e.OutputTextDelta(item_id=self._message.id, output_index=self._index, delta=delta)
        if tokens:
            event.logprobs = [token for _, token in tokens]
            self._logprobs_left -= sum(1 + len(token.top_logprobs) for token in event.logprobs)
            if self._logprobs_left < 0:
                event.logprobs = []
                if not self._logprobs_cut:
                    self._logprobs_cut = True
                    await self.notice("logprobs_cut", LOGPROBS_CUT)
            part.logprobs += event.logprobs
        await self._emit(event)

    async def _close_message(self, status: Literal["completed", "incomplete"], phase: e.Phase | None) -> None:
        message, self._message = self._message, None
        assert message is not None
        message.status, message.phase = status, phase or msgspec.UNSET
        part = message.content[0]
        done = e.OutputTextDone(item_id=message.id, output_index=self._index, text=part.text, logprobs=part.logprobs)
        await self._emit(done)
        await self._emit(e.ContentPartDone(item_id=message.id, output_index=self._index, part=part))
        await self._emit(e.OutputItemDone(output_index=self._index, item=message))
