"""A backend and a spec enter, a warm sandbox leaves: code in, live outputs and one result out."""

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

from sandbox_pool.backends import Backend, Death
from sandbox_pool.outputs import DisplayData, Error, ExecuteResult, ExecutionResult, Output, Stream
from sandbox_pool.spec import SandboxSpec

__all__ = ["Execution", "Sandbox"]


class Execution(AsyncIterator[Output]):
    """One piece of code running: an iterator of its outputs, live, with a result at its end.

    Iterate it once, from one task. The code is bounded by its time limit whether or not anybody reads.
    """

    @property
    def result(self) -> ExecutionResult:
        """How it ended; known once iteration has ended, before that a `RuntimeError`."""
        raise NotImplementedError

    async def __anext__(self) -> Output:
        raise NotImplementedError

    async def aclose(self) -> None:
        """Stops the code if it still runs, and waits until it has stopped (bounded). Idempotent."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


class Sandbox:
    """One kernel in one sandbox, used by one conversation."""

    id: str
    spec: SandboxSpec

    @classmethod
    async def start(cls, backend: Backend, sandbox_id: str, spec: SandboxSpec, *, deadline_s: float) -> "Sandbox":
        """A sandbox whose kernel has answered and holds the preloaded modules.

        Raises `SandboxStartFailed`. On failure or cancellation what was created is destroyed first.
        """
        raise NotImplementedError

    @property
    def alive(self) -> bool:
        """Whether code can run: False once the kernel has gone or `close` was called."""
        raise NotImplementedError

    @property
    def death(self) -> Death | None:
        """Why the kernel has gone; None while it lives."""
        raise NotImplementedError

    async def died(self) -> Death:
        """Returns when the kernel has gone, whatever the reason. Any number of callers."""
        raise NotImplementedError

    def execute(self, code: str, *, timeout_s: float | None = None) -> Execution:
        """Starts the code; None means the spec's `execution_timeout_s`.

        Raises `SandboxBusy` while other code runs, `SandboxGone` when there is no kernel any more.
        """
        raise NotImplementedError

    async def run(
        self, code: str, *, timeout_s: float | None = None
    ) -> tuple[list[Stream | DisplayData | ExecuteResult | Error], ExecutionResult]:
        """Runs the code to its end: its outputs as a notebook would hold them, and its result.

        Raises as `execute`. Cancelling it stops the code.
        """
        raise NotImplementedError

    async def interrupt(self) -> None:
        """Stops the running code and returns when it has stopped, in 6 seconds at most; no-op when idle.

        Code that ignores the interrupt costs the kernel its life.
        """
        raise NotImplementedError

    async def close(self) -> None:
        """Destroys the sandbox. Idempotent; cancelling the call does not stop the destruction."""
        raise NotImplementedError
