"""Folds what happens during a run into its Response: segments and outputs enter, numbered-later events leave.

The only place that opens and closes items, so that every `added` has its `done`, in the order of DESIGN §2.
"""

import time
from collections.abc import Collection, Iterable
from typing import Literal

from codeact import events as e
from codeact.builder_calls import Calls, Emit
from codeact.ids import new_id
from codeact.models import Usage
from codeact.parser import CodeEnd, CodeText, Text, Thinking
from codeact.standard import response_usage, standard_outputs
from sandbox_pool.outputs import DisplayData, Error, ExecuteResult, ExecutionResult, Output, Stream, fold

__all__ = ["ResponseBuilder", "terminal_event"]

CLOSED: dict[str, Literal["completed", "incomplete", "failed"]] = {
    "ok": "completed",
    "error": "completed",
    "interrupted": "incomplete",
    "timeout": "failed",
    "died": "failed",
}
"""How a block of code ends, by how it ran. After an incomplete item nothing follows, says Open Responses."""


class ResponseBuilder:
    """Not safe for concurrent calls: one run, one builder. `started` is `time.monotonic()` at acceptance."""

    def __init__(self, response: e.Response, emit: Emit, *, started: float) -> None:
        self.response = response
        self._emit = emit
        self._started = started
        self._open: e.Item | None = None
        self._index = -1
        self.calls = Calls(response, emit)
        self._live: list[Output] = []

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._started

    async def begin(self) -> None:
        await self._emit(e.ResponseCreated(response=self.response))
        await self._emit(e.ResponseInProgress(response=self.response))
        for notice in self.response.notices:
            await self._emit(e.NoticeEvent(notice=notice))

    def go_on(self, open_ids: Collection[str], outputs: list[Output]) -> None:
        """Takes up a response that another process left: its open items, and what their code has shown."""
        for index, item in enumerate(self.response.output):
            if item.id not in open_ids:
                continue
            if isinstance(item, e.FunctionCall | e.McpCall):
                self.calls.go_on(index, item)
            else:
                self._open, self._index = item, index
        self._live = outputs

    # ---- prose, thinking, code ---------------------------------------------------------------------

    async def segment(self, segment: Text | Thinking | CodeText | CodeEnd) -> None:
        """Adds one segment of the model's text; a block of code begins with `code_start`."""
        match segment:
            case Text(text):
                await self.text(text)
            case Thinking(text):
                await self.thinking(text)
            case CodeText(text):
                await self._code_delta(text)
            case CodeEnd(code):
                await self._code_done(code)

    async def text(self, delta: str) -> None:
        """Adds prose; white space before the first letter of a message is dropped."""
        if not isinstance(self._open, e.Message):
            delta = delta.lstrip()
            if not delta:
                return
            await self.close_item()
            part = e.OutputText(text="")
            message = e.Message(id=new_id("msg"), content=[])
            await self._add(message)
            message.content.append(part)
            await self._emit(e.ContentPartAdded(item_id=message.id, output_index=self._index, part=part))
        assert isinstance(self._open, e.Message)
        self._open.content[0].add(delta)
        await self._emit(e.OutputTextDelta(item_id=self._open.id, output_index=self._index, delta=delta))

    async def thinking(self, delta: str) -> None:
        """Adds to the model's reasoning."""
        if not isinstance(self._open, e.Reasoning):
            delta = delta.lstrip()
            if not delta:
                return
            await self.close_item()
            part = e.ReasoningTextPart(text="")
            reasoning = e.Reasoning(id=new_id("rs"), content=[])
            await self._add(reasoning)
            reasoning.content.append(part)
            await self._emit(e.ContentPartAdded(item_id=reasoning.id, output_index=self._index, part=part))
        assert isinstance(self._open, e.Reasoning)
        self._open.content[0].add(delta)
        await self._emit(e.ReasoningTextDelta(item_id=self._open.id, output_index=self._index, delta=delta))

    async def code_start(self, container_id: str, *, tagged: bool) -> None:
        """Opens a block of code; `tagged` is False where a fence alone opened it.

        Prose before it ends in a blank line: clients join all messages of a response into one text.
        """
        if isinstance(self._open, e.Message):
            await self.text("\n\n")
        await self.close_item()
        self._live = []
        call = e.CodeInterpreterCall(id=new_id("ci"), container_id=container_id, tagged=tagged)
        await self._add(call)
        await self._emit(e.InterpreterInProgress(item_id=call.id, output_index=self._index))

    async def _code_delta(self, delta: str) -> None:
        call = self._call
        call.add(delta)
        await self._emit(e.CodeDelta(item_id=call.id, output_index=self._index, delta=delta))

    async def _code_done(self, code: str) -> None:
        call = self._call
        call.code = code
        self._mark("code_detected_s")
        await self._emit(e.CodeDone(item_id=call.id, output_index=self._index, code=code))

    async def cite(self, container_id: str, files: Iterable[tuple[str, str]]) -> None:
        """Annotates the open message with files that code wrote: pairs of id and path. Without a message, nothing."""
        if not isinstance(self._open, e.Message):
            return
        part = self._open.content[0]
        for file_id, path in files:
            name = path.rpartition("/")[2]
            start = part.text.rfind(name)
            start, end = (start, start + len(name)) if start >= 0 else (len(part.text), len(part.text))
            citation = e.ContainerFileCitation(container_id, file_id, name, start, end)
            part.annotations.append(citation)
            await self._emit(
                e.OutputTextAnnotationAdded(
                    item_id=self._open.id,
                    output_index=self._index,
                    annotation=citation,
                    annotation_index=len(part.annotations) - 1,
                )
            )

    # ---- execution ---------------------------------------------------------------------------------

    async def interpreting(self, container_id: str) -> None:
        call = self._call
        call.container_id = container_id
        call.status = "interpreting"
        call.started_s = self.elapsed_s
        await self._emit(e.InterpreterInterpreting(item_id=call.id, output_index=self._index))

    async def output(self, output: Output) -> None:
        """Adds one live output of the running code."""
        self._mark("first_output_s")
        self._live.append(output)
        await self._emit(e.CodeOutput(item_id=self._call.id, output_index=self._index, output=output))

    def notebook_outputs(self) -> list[Stream | DisplayData | ExecuteResult | Error]:
        """What the running code has shown so far, as a notebook would hold it."""
        return fold(self._live)

    async def code_continues(self, item_id: str, container_id: str) -> None:
        """Opens a block that goes on where the item of an earlier response waited."""
        await self.close_item()
        self._live = []
        call = e.CodeInterpreterCall(id=new_id("ci"), container_id=container_id, continues=item_id)
        await self._add(call)
        await self._emit(e.InterpreterInProgress(item_id=call.id, output_index=self._index))
        await self._code_done("")
        await self.interpreting(container_id)

    async def code_waits(self, call_ids: list[str]) -> str:
        """Closes the block of code, which goes on in another response; its item's id."""
        call = self._call
        call.waits_for = call_ids
        await self._close_call(call, "incomplete")
        return call.id

    async def executed(self, result: ExecutionResult, observation: str) -> None:
        """Closes the block of code with how it ended and what the model is told."""
        call = self._call
        call.result = result
        call.observation = observation
        await self._close_call(call, CLOSED[result.status])

    async def _close_call(
        self, call: e.CodeInterpreterCall, status: Literal["completed", "incomplete", "failed"]
    ) -> None:
        await self.calls.close()
        call.notebook_outputs = fold(self._live)
        call.outputs = standard_outputs(call.notebook_outputs)
        call.status = status
        self._open = None
        self._live = []
        if call.status == "completed":
            await self._emit(e.InterpreterCompleted(item_id=call.id, output_index=self._index))
        await self._emit(e.OutputItemDone(output_index=self._index, item=call))

    # ---- notices, usage, the end -------------------------------------------------------------------

    async def notice(self, code: str, message: str) -> None:
        notice = e.Notice(code=code, message=message)
        self.response.notices.append(notice)
        await self._emit(e.NoticeEvent(notice=notice))

    async def status(self, status: e.StatusName, message: str) -> None:
        """Tells readers why nothing happens just now."""
        await self._emit(e.StatusEvent(status=status, message=message))

    def first_token(self) -> None:
        self._mark("first_token_s")

    def sandbox_wait(self, seconds: float) -> None:
        ledger = self.response.ledger
        ledger.sandbox_wait_s = (ledger.sandbox_wait_s or 0.0) + seconds

    async def close_item(self, *, complete: bool = True) -> None:
        """Ends the open item, if there is one; `complete=False` where it was cut off."""
        status: Literal["completed", "incomplete"] = "completed" if complete else "incomplete"
        match item := self._open:
            case None:
                return
            case e.Message():
                item.status = status
                part = item.content[0]
                await self._emit(e.OutputTextDone(item_id=item.id, output_index=self._index, text=part.text))
                await self._emit(e.ContentPartDone(item_id=item.id, output_index=self._index, part=part))
            case e.Reasoning():
                item.status = status
                thought = item.content[0]
                await self._emit(e.ReasoningTextDone(item_id=item.id, output_index=self._index, text=thought.text))
                await self._emit(e.ContentPartDone(item_id=item.id, output_index=self._index, part=thought))
            case e.CodeInterpreterCall():
                await self._close_call(item, "incomplete")
                return
        self._open = None
        await self._emit(e.OutputItemDone(output_index=self._index, item=item))

    async def end(
        self,
        status: Literal["completed", "incomplete", "failed", "cancelled"],
        usage: Usage | None,
        *,
        error: e.ResponseError | None = None,
        incomplete: e.IncompleteDetails | None = None,
    ) -> None:
        """Closes what is open and emits the one terminal event. `status` is the response's last.

        `usage` is None where nobody knows it.
        """
        response = self.response
        await self.close_item(complete=status == "completed")
        response.status = status
        response.error = error
        response.incomplete_details = incomplete
        response.usage = None if usage is None else response_usage(usage)
        response.ledger.total_s = self.elapsed_s
        if status == "completed":
            response.completed_at = time.time()
        await self._emit(terminal_event(response))

    # ---- inside ------------------------------------------------------------------------------------

    @property
    def _call(self) -> e.CodeInterpreterCall:
        assert isinstance(self._open, e.CodeInterpreterCall), "no block of code is open"
        return self._open

    async def _add(self, item: e.Item) -> None:
        self.response.output.append(item)
        self._open, self._index = item, len(self.response.output) - 1
        await self._emit(e.OutputItemAdded(output_index=self._index, item=item))

    def _mark(self, name: str) -> None:
        if getattr(self.response.ledger, name) is None:
            setattr(self.response.ledger, name, self.elapsed_s)


def terminal_event(response: e.Response) -> e.TerminalEvent:
    """How a response that has ended tells it."""
    match response.status:
        case "completed":
            return e.ResponseCompleted(response=response)
        case "failed":
            return e.ResponseFailed(response=response)
        case _:
            return e.ResponseIncomplete(response=response)
