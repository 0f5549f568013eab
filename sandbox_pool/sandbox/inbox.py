"""Passes a kernel's outputs and calls to the running execution. If none runs, the next one gets the outputs."""

from sandbox_pool.backends.base import Death
from sandbox_pool.calls import MAX_OPEN, Call, CallBudget
from sandbox_pool.kernel.messages import Progress, Reply
from sandbox_pool.outputs import Output
from sandbox_pool.sandbox.coalesce import Coalescer
from sandbox_pool.sandbox.execution import Cause, Execution, to_result
from sandbox_pool.spec import Limits

__all__ = ["Inbox"]


class Inbox:
    """The `Sink` of a kernel. It passes everything to the running execution; there is one at a time."""

    def __init__(self, limits: Limits) -> None:
        self.running: Execution | None = None
        self._limits = limits
        self._takes_calls = False
        self._outputs = Coalescer(limits.output_bytes)

    def clear(self) -> None:
        """Drops the outputs that have come so far."""
        self._outputs = Coalescer(self._limits.output_bytes)

    def begin(self, *, timeout_s: float, calls: bool) -> Execution:
        """Starts an execution that gets all further outputs. With `calls`, its reader also answers calls."""
        budget = CallBudget(self._limits.calls, self._limits.call_bytes)
        self._takes_calls = calls
        self.running = Execution(self._outputs, timeout_s=timeout_s, budget=budget)
        return self.running

    def end(self, cause: Cause, reply: Reply | None, death: Death | None, *, duration_s: float = 0.0) -> None:
        """Sets the result of the running execution. Does nothing if none runs."""
        if (execution := self.running) is None:
            return
        self.running = None
        self.clear()
        result = to_result(execution, cause, reply, death, limits=self._limits, duration_s=duration_s)
        execution.finish(result, reply.clue if reply is not None else None)

    # ---- Sink --------------------------------------------------------------------------------------------

    @property
    def is_full(self) -> bool:
        return self._outputs.is_full

    def output(self, output: Output, size_bytes: int) -> None:
        self._outputs.add(output, size_bytes)
        if self.running is not None:
            self.running.wake()

    def omitted(self, size_bytes: int) -> None:
        self._outputs.omit(size_bytes)

    def call(self, call: Call) -> str | None:
        execution = self.running
        if execution is None or not self._takes_calls:
            return f"There is nobody to answer {call.name}() now."
        if execution.open_calls >= MAX_OPEN:
            execution.charge(0, calls=1)
            return f"{MAX_OPEN} calls wait already; at most so many can at once."
        execution.call(call)
        return None

    def progress(self, progress: Progress) -> bool:
        return self.running is not None and self.running.progress(progress)
