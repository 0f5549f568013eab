"""A suspended block of code: it waits for results of the client's functions after its response has ended."""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence

from codeact.events import FunctionCallOutput, Input, Item
from codeact.tools.function import FunctionError
from codeact.tools.toolbox import value_of
from sandbox_pool.calls import Call
from sandbox_pool.outputs import Output
from sandbox_pool.sandbox.execution import Execution
from sandbox_pool.sandbox.sandbox import Sandbox

__all__ = ["Suspended"]

MOST_ERROR_CHARS = 10_000


class Suspended:
    """A block of code that waits until a client answers the calls in `waiting`, which the code made.

    The response `response_id` ended with it; `item_id` is its item there.
    It also waits for the approval of the calls in `held`, by the ids of the requests, for as long as the sandbox lives.
    Calls in `waiting` without an answer after `timeout_s` seconds raise an error in the code, which then continues. Its
    further output is collected up to the limit on output.
    """

    def __init__(
        self,
        response_id: str,
        item_id: str,
        sandbox: Sandbox,
        execution: Execution,
        outputs: list[Output],
        waiting: Iterable[Call],
        held: Mapping[str, Call] | None = None,
        *,
        timeout_s: float,
    ) -> None:
        self.response_id = response_id
        self.item_id = item_id
        self.sandbox = sandbox
        self.execution = execution
        self.outputs = outputs
        self._waiting = {call.call_id: call for call in waiting}
        self.held = dict(held or {})
        self._timeout_s = timeout_s
        self._timer = asyncio.get_running_loop().call_later(timeout_s, self._give_up)

    def is_part_of(self, previous_response_id: str | None, context: Sequence[Input | Item]) -> bool:
        """Whether a response after this one continues the block; the conversation may go on in another branch."""
        if previous_response_id == self.response_id:
            return True
        return any(
            item.id == self.item_id or (isinstance(item, FunctionCallOutput) and item.call_id in self._waiting)
            for item in context
        )

    async def stop(self) -> None:
        """Answers all its calls with an error, and ends the block."""
        self.resume({})
        self.refuse_held()
        await self.execution.aclose()

    def resume(self, values: Mapping[str, str], *, errors: Collection[str] = ()) -> None:
        """Answers every call: with its value from `values`, by call id, or with an error if the client sent none.

        The values of the calls `errors` are texts of errors.
        """
        self._timer.cancel()
        for call in self._waiting.values():
            try:
                if call.call_id not in values:
                    raise FunctionError(f"{call.name}() was not answered: the user went on without it.")
                if call.call_id in errors:
                    raise FunctionError(values[call.call_id][:MOST_ERROR_CHARS])
                self.sandbox.answer(call, value=value_of(values[call.call_id]))
            except FunctionError as error:
                self.sandbox.answer(call, error=error.message)
        self._waiting.clear()

    def refuse_held(self) -> None:
        """Answers the calls that wait for approval with an error, since the user goes on without a decision."""
        for call in self.held.values():
            self.sandbox.answer(call, error=f"{call.name}() was not approved: the user went on without a decision.")
        self.held.clear()

    def _give_up(self) -> None:
        for call in self._waiting.values():
            self.sandbox.answer(call, error=f"{call.name}() was not answered within {self._timeout_s:g} s.")
        self._waiting.clear()
