"""Emits the events of one response's blocks of code: their code, outputs and results.

The response builder closes any open item before it begins a block. The code's function calls, and reasoning that
arrives meanwhile, are separate items, which are closed before the block.
"""

from typing import Literal

from codeact import events as e
from codeact.agent.call_items import CallItems, Emit
from codeact.agent.reasoning_items import ReasoningItems
from codeact.agent.timings import Timings
from codeact.concurrency.offloop import off_loop, size_of
from codeact.events.standard import standard_outputs
from codeact.ids import new_id
from codeact.tools.values import hashed_arguments
from sandbox_pool.calls import Call
from sandbox_pool.outputs import ExecutionResult, Output, fold

__all__ = ["CodeItems"]

MOST_REFUSED, MOST_ERROR_CHARS = 100, 1_000
"""The maximum number of refused calls that are recorded for a block, and of the characters of their errors."""

CLOSED: dict[str, Literal["completed", "incomplete", "failed"]] = {
    "ok": "completed",
    "error": "completed",
    "interrupted": "incomplete",
    "timeout": "failed",
    "died": "failed",
}
"""The item's status by the result's status. No items may follow an incomplete one, says Open Responses."""


class CodeItems:
    """Emits the blocks of code of one response, of which at most one is open. Not safe for concurrent calls."""

    def __init__(
        self, response: e.Response, emit: Emit, timings: Timings, *, calls: CallItems, reasoning: ReasoningItems
    ) -> None:
        self._response = response
        self._emit = emit
        self._timings = timings
        self._calls = calls
        self._reasoning = reasoning
        self._open: e.CodeInterpreterCall | None = None
        self._index = -1
        self._live: list[Output] = []

    @property
    def is_open(self) -> bool:
        """Whether a block has begun and has not ended."""
        return self._open is not None

    @property
    def open_id(self) -> str:
        """The id of the open block."""
        return self._call.id

    def resume(self, index: int, item: e.CodeInterpreterCall, outputs: list[Output]) -> None:
        """Registers a block that another process left open, with its outputs so far."""
        self._open, self._index, self._live = item, index, outputs

    async def begin(self, container_id: str, *, tagged: bool = True, continues: str | None = None) -> None:
        """Opens a block. `continues` is the id of an earlier response's item whose execution it continues."""
        call = e.CodeInterpreterCall(id=new_id("ci"), container_id=container_id, tagged=tagged, continues=continues)
        self._response.output.append(call)
        self._open, self._index, self._live = call, len(self._response.output) - 1, []
        await self._emit(e.OutputItemAdded(output_index=self._index, item=call))
        await self._emit(e.InterpreterInProgress(item_id=call.id, output_index=self._index))

    async def delta(self, delta: str) -> None:
        """Adds to the code."""
        call = self._call
        call.add(delta)
        await self._emit(e.CodeDelta(item_id=call.id, output_index=self._index, delta=delta))

    async def written(self, code: str) -> None:
        """Sets the block's complete code, after the model has written it."""
        call = self._call
        call.code = code
        self._timings.mark("code_detected_s")
        await self._emit(e.CodeDone(item_id=call.id, output_index=self._index, code=code))

    def wrote(self, written: e.Written | None) -> None:
        """Records the exact text in which the model wrote the block."""
        self._call.written = written

    async def interpreting(self, container_id: str, *, eager: bool = False) -> None:
        """Emits the event that the code begins to run in this sandbox; `eager`: the model still writes it."""
        call = self._call
        call.container_id = container_id
        call.eager = eager
        await self._reasoning.close()
        call.status = "interpreting"
        call.started_s = self._timings.elapsed_s
        await self._emit(e.InterpreterInterpreting(item_id=call.id, output_index=self._index))

    def runs(self, code: str) -> None:
        """Records the code that runs in place of what the model wrote."""
        self._call.ran = code

    def refused(self, call: Call, error: str) -> None:
        """Records a call that got an error and has no item, so that it can be repeated when the answer is verified."""
        if len(self._call.refused) < MOST_REFUSED:
            self._call.refused.append(
                e.RefusedCall(call.name, hashed_arguments(call.arguments), error[:MOST_ERROR_CHARS])
            )

    async def output(self, output: Output) -> None:
        """Adds one live output of the running code."""
        self._timings.mark("first_output_s")
        self._live.append(output)
        await self._emit(e.CodeOutput(item_id=self._call.id, output_index=self._index, output=output))

    async def progress(self, ran: int, line: int | None) -> None:
        """Reports how many lines have run of code that the model still writes, and the last line of what runs now."""
        await self._emit(e.CodeProgress(item_id=self._call.id, output_index=self._index, ran=ran, line=line))

    async def waits(
        self, call_ids: list[str], observation: str | None = None, *, restart: e.Restart | None = None
    ) -> str:
        """Closes the block while its code waits for these calls of client functions; returns the item's id.

        `observation` is what the model reads of the statements that have run, if the others wait for approval. With
        `restart` the code can run again if its kernel is lost meanwhile.
        """
        call = self._call
        call.restart = restart
        call.waits_for = call_ids
        call.observation = observation
        await self.close("completed")  # Clients that send it back with the functions' values accept no other status.
        return call.id

    async def executed(self, result: ExecutionResult, observation: str) -> None:
        """Closes the block with its result and with the observation that the model reads."""
        call = self._call
        call.result = result
        call.observation = observation
        await self.close(CLOSED[result.status])

    async def rejected(self, observation: str) -> None:
        """Closes a block that does not run; `observation` tells the model why."""
        self._call.observation = observation
        await self.close("incomplete")

    async def close(self, status: Literal["completed", "incomplete", "failed"]) -> None:
        """Closes the block's open calls and reasoning, and then the block itself."""
        call = self._call
        await self._reasoning.close()
        await self._calls.close()
        size = size_of(self._live)
        call.notebook_outputs = await off_loop(size, fold, self._live)
        call.outputs = await off_loop(size, standard_outputs, call.notebook_outputs)
        call.status = status
        self._open = None
        self._live = []
        if call.status == "completed":
            await self._emit(e.InterpreterCompleted(item_id=call.id, output_index=self._index))
        await self._emit(e.OutputItemDone(output_index=self._index, item=call))

    @property
    def _call(self) -> e.CodeInterpreterCall:
        assert self._open is not None, "no block of code is open"
        return self._open
