"""A block of code that runs again after its kernel was lost: its calls get the results that they got before.

Pure. `CodeExecution` passes each call to `Rerun.take` and makes none outside until the code has made all of them again.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from codeact.tools.values import hashed_arguments
from sandbox_pool.calls import Call
from sandbox_pool.outputs import Output

__all__ = ["PastCall", "Rerun"]

SHOWN_CHARS = 200


@dataclass(frozen=True, slots=True)
class PastCall:
    """A call that the block made before: the function's name, the SHA-256 of the arguments, and what the code got.

    `waits_as` is the id under which it still waits: that of a client's call or of a request for approval. Values of a
    client's functions do not count against the block's `call_bytes` (`is_counted`).
    """

    name: str
    arguments: str
    value: str | None = None
    error: str | None = None
    waits_as: str | None = None
    is_counted: bool = True


class Rerun:
    """The calls that the code must make again, in their order; with `side_by_side` in any order.

    Calls from several threads have no order of their own. `waiting` collects the calls that wait again. They are
    answered only when all calls were made again: before, the code came as far without an answer. `problem` says how the
    code went another way; it is then to be stopped. `differs` compares its outputs with those of before.
    """

    def __init__(
        self, calls: Sequence[PastCall], *, side_by_side: bool, differs: Callable[[Sequence[Output]], str | None]
    ) -> None:
        self._queues: dict[tuple[str, str] | None, deque[PastCall]] = {}
        self._left = len(calls)
        self._side_by_side = side_by_side
        for past in calls:
            self._queues.setdefault(self._key(past.name, past.arguments), deque()).append(past)
        self.differs = differs
        self.waiting: dict[str, Call] = {}
        self.problem: str | None = None
        self.has_caught_up = False

    @property
    def is_complete(self) -> bool:
        """Whether the code has made all calls again."""
        return not self._left and self.problem is None

    def _key(self, name: str, arguments: str) -> tuple[str, str] | None:
        """In which queue a call waits to be made again: all calls that have an order are in one."""
        return (name, arguments) if self._side_by_side else None

    def take(self, call: Call) -> PastCall | None:
        """Returns what this call got before; None, and sets `problem`, if the block did not make it then."""
        arguments = hashed_arguments(call.arguments)
        queue = self._queues.get(self._key(call.name, arguments))
        is_same = queue and (queue[0].name, queue[0].arguments) == (call.name, arguments)
        if self.problem is not None or not queue or not is_same:
            self._fail(f"it called {_shown(call)} where it had called {self._expected()}")
            return None
        past = queue.popleft()
        self._left -= 1
        if past.waits_as is not None:
            self.waiting[past.waits_as] = call
        return past

    def ended(self) -> None:
        """Notes that the code has ended, and did not come as far as before."""
        self._fail(f"it ended before it called {self._expected()}")

    def is_late(self, seconds: float) -> None:
        """Notes that the code has not come as far as before within this time."""
        self._fail(f"it did not call {self._expected()} within {seconds:g} s")

    def _fail(self, problem: str) -> None:
        if self.problem is None:
            self.problem = (
                f"The block ran again, and went another way than before: {problem}. It was stopped, and called nothing"
                " outside of the sandbox."
            )

    def _expected(self) -> str:
        past = next((queue[0] for queue in self._queues.values() if queue), None)
        return "nothing more" if past is None else f"{past.name}() with the arguments of before"


def _shown(call: Call) -> str:
    return f"{call.name}({call.arguments[:SHOWN_CHARS]})"
