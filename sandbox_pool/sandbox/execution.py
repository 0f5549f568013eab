"""One execution of code: an async iterator of its outputs, and one result at its end."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from types import TracebackType
from typing import Literal, Self

from sandbox_pool.backends.base import Death
from sandbox_pool.calls import Call, CallBudget
from sandbox_pool.clues import Clue
from sandbox_pool.kernel.messages import Progress, Reply
from sandbox_pool.outputs import ExecutionResult, Output
from sandbox_pool.sandbox.coalesce import Coalescer
from sandbox_pool.spec import Limits

__all__ = ["Cause", "Execution", "Progress", "to_result"]

TOLD_PER_STATEMENT = 8
"""How often a kernel may tell for each statement how far it is; our own does so three times at most."""
Cause = Literal["done", "interrupted", "timeout", "calls"]
"""What ended an execution: the code (or its kernel) itself, an interrupt, the time limit, or too many calls."""


class Execution(AsyncIterator[Output]):
    """Running code: an async iterator of its live outputs, with a `result` at the end.

    Iterate it once, from one task. The code does not wait for its reader: it runs, its time limit counts and its
    outputs are buffered (up to the output limit) whether or not anybody reads. A slow reader gets text in larger
    pieces. If threads of earlier code have written text since that code ended, it comes first. After the end, `clue`
    has the facts that the kernel added to an error, if any.

    An open block (`Sandbox.open`) gets further statements with `write`. `ran` is how many of them have run. While the
    kernel waits for more, the time limit does not count; `idle_s` is how many seconds that were.
    """

    def __init__(self, outputs: Coalescer, *, timeout_s: float, budget: CallBudget) -> None:
        loop = asyncio.get_running_loop()
        self.timeout_s = timeout_s
        self.budget = budget
        self.cause: asyncio.Future[Cause] = loop.create_future()
        self._loop = loop
        self._outputs = outputs
        self._ready: deque[Output | Call | Progress] = deque()
        self._open_calls: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._left_s = timeout_s
        self._result: ExecutionResult | None = None
        self.clue: Clue | None = None
        self.idle_s = 0.0
        self.ran = 0
        self._send: Callable[[Sequence[str], bool], None] | None = None
        self._given = 0
        self._told = 0
        self._idle_since: float | None = None
        self._ended = asyncio.Event()
        self._news = asyncio.Event()

    @property
    def result(self) -> ExecutionResult:
        """How the execution ended. Raises `RuntimeError` while it runs."""
        if self._result is None:
            raise RuntimeError("the code still runs: its result is known when its outputs have ended")
        return self._result

    @property
    def omitted_bytes(self) -> int:
        return self._outputs.omitted_bytes

    def wake(self) -> None:
        """Wakes the reader. Call it after adding outputs."""
        self._news.set()

    def call(self, call: Call) -> None:
        """Adds a call to a function outside of the sandbox. While a call is open, the time limit does not count.

        A call that exceeds the budget ends the code.
        """
        if not self.charge(len(call.arguments), calls=1):
            return
        self._ready.extend(self._outputs.take(self._loop.time()))
        self._ready.append(call)
        self._open_calls.add(call.call_id)
        self.stop_clock()
        self._news.set()

    def charge(self, size_bytes: int, *, calls: int = 0) -> bool:
        """Subtracts arguments or a value from the budget. If that exceeds it, ends the code and returns False."""
        if self.budget.take(size_bytes, calls=calls):
            return True
        self.decide("calls")
        return False

    def answered(self, call_id: str) -> None:
        self._open_calls.discard(call_id)
        if not self._open_calls and not self.cause.done() and self._idle_since is None:
            self.start_clock()

    # ---- an open block -----------------------------------------------------------------------------------

    def begin_open(self, send: Callable[[Sequence[str], bool], None], given: int) -> None:
        """Makes this the execution of an open block of which the kernel has been given so many statements."""
        self._send, self._given = send, given

    def write(self, statements: Sequence[str], *, ended: bool = False) -> None:
        """Gives the kernel further statements of the open block; `ended`: the block has no more.

        Does nothing if the block has ended already, by an error or from outside.
        """
        if self._send is None or self.cause.done():
            return
        self._given += len(statements)
        self._send(statements, ended)
        self._resume()
        if ended:
            self._send = None

    def progress(self, progress: Progress) -> bool:
        """Takes a message of the kernel, which is not trusted. Returns False if it is untrue or comes too often."""
        self._told += 1
        if not self.ran <= progress.ran <= progress.got <= self._given or self._told > TOLD_PER_STATEMENT * self._given:
            return False
        self.ran = progress.ran
        self._ready.extend(self._outputs.take(self._loop.time()))
        self._ready.append(progress)
        waits = not progress.runs and progress.got == self._given and self._send is not None
        if waits and self._idle_since is None and not self.cause.done():
            self.stop_clock()
            self._idle_since = self._loop.time()
        self._news.set()
        return True

    @property
    def is_idle(self) -> bool:
        """Whether the kernel waits for further statements of the open block."""
        return self._idle_since is not None

    def _resume(self) -> None:
        if self._idle_since is not None:
            self.idle_s += self._loop.time() - self._idle_since
            self._idle_since = None
            if not self._open_calls:
                self.start_clock()

    @property
    def open_calls(self) -> int:
        return len(self._open_calls)

    def start_clock(self) -> None:
        """Starts the countdown of the time limit. `stop_clock` pauses it; a later call continues it."""
        self._timer = self._timer or self._loop.call_later(self._left_s, self.decide, "timeout")

    def stop_clock(self) -> None:
        if self._timer is not None:
            self._left_s = max(0.0, self._timer.when() - self._loop.time())
            self._timer.cancel()
            self._timer = None

    def decide(self, cause: Cause) -> None:
        """Sets the cause of the end, unless it is set already. The sandbox then interrupts the code if necessary."""
        if not self.cause.done():
            self.cause.set_result(cause)

    def finish(self, result: ExecutionResult, clue: Clue | None = None) -> None:
        """Sets the result. The iteration ends once the reader has read the buffered outputs."""
        self._send = None
        self._result = result
        self.clue = clue
        self._ended.set()
        self._news.set()

    async def ended(self) -> None:
        await self._ended.wait()

    async def __anext__(self) -> Output:
        while True:
            if not isinstance(output := await self.next(), Call | Progress):
                return output

    async def next(self) -> Output | Call | Progress:
        """Returns the next output, or the next call to a function outside of the sandbox (see `Sandbox.execute`).

        Of an open block it also returns how far it is, before the outputs of the statement that runs then.
        Raises `StopAsyncIteration` at the end. Cancelling it loses no output.
        """
        while not self._ready:
            self._news.clear()
            due, now = self._outputs.due, self._loop.time()
            if due is not None and (self._result is not None or due <= now):
                self._ready.extend(self._outputs.take(now))
            elif self._result is not None:
                raise StopAsyncIteration
            else:
                timer = self._loop.call_at(due, self._news.set) if due is not None else None
                try:
                    await self._news.wait()
                finally:
                    if timer is not None:
                        timer.cancel()
        return self._ready.popleft()

    async def aclose(self) -> None:
        """Stops the code if it still runs, and waits for that, 6 seconds at most. Idempotent.

        The code is stopped even if this call is cancelled.
        """
        self.decide("interrupted")
        await self.ended()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


def to_result(
    execution: Execution, cause: Cause, reply: Reply | None, death: Death | None, *, limits: Limits, duration_s: float
) -> ExecutionResult:
    """Builds the result of an ended execution. `death` is None if the kernel is still alive."""
    status: Literal["ok", "error", "interrupted", "timeout", "died"]
    limit, sentences = None, []
    if cause == "timeout":
        status, limit = "timeout", "execution_timeout_s"
        sentences.append(f"The code ran longer than {execution.timeout_s:g} s and was interrupted.")
    elif cause == "calls":
        status, limit = "interrupted", execution.budget.exceeded
        what = f"{limits.calls:,} calls" if limit == "calls" else f"{limits.call_bytes:,} bytes of arguments and values"
        sentences.append(f"The code was interrupted: one block may make {what} of functions outside of the sandbox.")
    elif cause == "interrupted":
        status = "interrupted"
        sentences.append("The code was interrupted.")
    elif death is not None:
        status, limit = "died", death.limit
    else:
        status = "ok" if reply is not None and reply.status == "ok" else "error"
        # The name comes from the sandbox: use it only if it is the name of a limit.
        if status == "error" and reply is not None and (sentence := limits.explain(reply.limit or "")):
            limit = reply.limit
            sentences.append(sentence)
    if death is not None:
        sentences.append(f"{death.detail} All variables are gone.")
    if execution.omitted_bytes:
        limit = limit or "output_bytes"
        sentences.append(f"{execution.omitted_bytes:,} bytes of output over the limit were dropped.")
    return ExecutionResult(
        status=status,
        duration_s=duration_s,
        execution_count=reply.execution_count if reply else None,
        error=reply.error if reply else None,
        error_kind=("syntax" if reply and reply.syntax_error else "runtime") if status == "error" else None,
        limit=limit,
        detail=" ".join(sentences),
        kernel_alive=death is None,
        omitted_bytes=execution.omitted_bytes,
    )
