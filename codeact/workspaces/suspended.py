"""A suspended block of code: it waits for results of the client's functions, or for approval, after its response."""

from collections.abc import Mapping, Sequence

from codeact.events import FunctionCallOutput, Input, Item
from codeact.tools.client_search import value_for_code
from codeact.tools.function import FunctionError
from sandbox_pool.calls import Call
from sandbox_pool.outputs import Output
from sandbox_pool.sandbox.execution import Execution
from sandbox_pool.sandbox.sandbox import Sandbox

__all__ = ["Suspended", "unanswered", "undecided"]

MOST_ERROR_CHARS = 10_000


def unanswered(name: str) -> str:
    """The error of a call of the client's function to which the client sent no value."""
    return f"{name}() was not answered: the user went on without it."


def undecided(name: str) -> str:
    """The error of a call that waited for approval when the user went on."""
    return f"{name}() was not approved: the user went on without a decision."


class Suspended:
    """A block of code that waits until a client answers the calls in `waiting`, which the code made.

    The response `response_id` ended with it; `item_id` is its item there. The ids in `waiting` are those by which the
    client knows the calls. It also waits for the approval of the calls in `held`, by the ids of the requests. It waits
    for as long as the sandbox lives. `state` is what `CodeExecution` needs to go on recording its calls.
    """

    def __init__(
        self,
        response_id: str,
        item_id: str,
        sandbox: Sandbox,
        execution: Execution,
        outputs: list[Output],
        waiting: Mapping[str, Call],
        held: Mapping[str, Call],
        *,
        state: str | None = None,
    ) -> None:
        self.response_id = response_id
        self.item_id = item_id
        self.sandbox = sandbox
        self.execution = execution
        self.outputs = outputs
        self._waiting = dict(waiting)
        self.held = dict(held)
        self.state = state

    def is_part_of(self, previous_response_id: str | None, context: Sequence[Input | Item]) -> bool:
        """Whether a response after this one continues the block; the conversation may go on in another branch."""
        if previous_response_id == self.response_id:
            return True
        return any(
            item.id == self.item_id or (isinstance(item, FunctionCallOutput) and item.call_id in self._waiting)
            for item in context
        )

    @property
    def call_ids(self) -> list[str]:
        """The ids of the calls whose values it waits for."""
        return list(self._waiting)

    async def stop(self) -> None:
        """Answers all its calls with an error, and ends the block."""
        self.resume([])
        self.refuse_held()
        await self.execution.aclose()

    def resume(self, values: Sequence[FunctionCallOutput]) -> None:
        """Answers every call: with its value or error from `values`, or with an error if the client sent none."""
        given = {value.call_id: value for value in values}
        for call_id, call in self._waiting.items():
            try:
                if (value := given.get(call_id)) is None:
                    raise FunctionError(unanswered(call.name))
                if value.is_error is True:
                    raise FunctionError(value.output[:MOST_ERROR_CHARS])
                self.sandbox.answer(call, value=value_for_code(value))
            except FunctionError as error:
                self.sandbox.answer(call, error=error.message)
        self._waiting.clear()

    def refuse_held(self) -> None:
        """Answers the calls that wait for approval with an error, since the user goes on without a decision."""
        for call in self.held.values():
            self.sandbox.answer(call, error=undecided(call.name))
        self.held.clear()
