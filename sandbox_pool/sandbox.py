"""A sandbox that lives enters, what a conversation does with it leaves: code in, live outputs and one result out."""

import asyncio
import time
from collections.abc import AsyncIterable
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio

from sandbox_pool.backends import Backend, Death
from sandbox_pool.calls import MAX_OPEN, Call, defining
from sandbox_pool.coalesce import Coalescer
from sandbox_pool.errors import SandboxBusy, SandboxError
from sandbox_pool.execution import Cause, Execution, to_result
from sandbox_pool.files import FileInfo, FileList, Files, OpenFile
from sandbox_pool.kernel import KernelClient, Request
from sandbox_pool.life import Life
from sandbox_pool.messages import Reply
from sandbox_pool.outputs import DisplayData, Error, ExecuteResult, ExecutionResult, Output, Stream, fold
from sandbox_pool.spec import SandboxSpec

__all__ = ["Execution", "Sandbox"]

INTERRUPT_GRACES_S = (2.0, 1.0)
DESTROY_S = 2.5
"""With the graces before it, code that ignores its interrupt is gone in under 6 seconds."""
DEFINE_S = 10.0


class Sandbox:
    """One kernel in one sandbox, used by one conversation. Make it with `start`."""

    def __init__(self, backend: Backend, sandbox_id: str, spec: SandboxSpec) -> None:
        self.id = sandbox_id
        self.spec = spec
        self._life = Life(backend, sandbox_id, spec, make_client=self._client, at_end=self._finish_what_runs)
        self._files = Files(backend, sandbox_id, spec.limits)
        self._running: Execution | None = None
        self._takes_calls = False
        self._outputs = self._coalescer()

    @classmethod
    async def start(cls, backend: Backend, sandbox_id: str, spec: SandboxSpec, *, deadline_s: float) -> "Sandbox":
        """A sandbox whose kernel has answered and holds the preloaded modules.

        Raises `SandboxStartFailed`. On failure or cancellation what was created is destroyed first.
        """
        sandbox = cls(backend, sandbox_id, spec)
        await sandbox._life.start(deadline_s)
        sandbox._outputs = sandbox._coalescer()
        return sandbox

    # ---- its life ----------------------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        """Whether code can run: False once the kernel has gone or `close` was called."""
        return self._life.alive

    @property
    def death(self) -> Death | None:
        """Why the kernel has gone; None while it lives."""
        return self._life.death

    def begin_lifetime(self) -> None:
        """From now on its `lifetime_s` counts; when it is over the sandbox ends, whatever runs in it."""
        self._life.limit()

    async def died(self) -> Death:
        """Returns when the kernel has gone, whatever the reason (`close` is one). Any number of callers."""
        await self._life.died.wait()
        assert self._life.death is not None
        return self._life.death

    async def close(self) -> None:
        """Destroys the sandbox; code that runs ends as `died`. Idempotent; waits 10 seconds at most.

        Cancelling the call does not stop the destruction.
        """
        await self._life.close()

    # ---- code --------------------------------------------------------------------------------------------

    def execute(self, code: str, *, timeout_s: float | None = None, calls: bool = False) -> Execution:
        """Starts the code; None means the spec's `execution_timeout_s`.

        With `calls`, read it by `Execution.next`, and `answer` each call that it makes to a function which `define`
        has given it; without, such calls fail in the code.

        Raises `SandboxBusy` while other code runs, `SandboxGone` when there is no kernel any more.
        """
        return self._execute(code, timeout_s, calls=calls)

    async def run(
        self, code: str, *, timeout_s: float | None = None
    ) -> tuple[list[Stream | DisplayData | ExecuteResult | Error], ExecutionResult]:
        """Runs the code to its end: its outputs as a notebook would hold them, and its result.

        Raises as `execute`. Cancelling it stops the code.
        """
        async with self.execute(code, timeout_s=timeout_s) as execution:
            outputs = [output async for output in execution]
        return fold(outputs), execution.result

    async def interrupt(self) -> None:
        """Stops the running code and returns when it has stopped, in 6 seconds at most; no-op when idle.

        Code that ignores the interrupt costs the kernel its life.
        """
        if self._running is not None:
            await self._running.aclose()

    async def define(self, source: str) -> None:
        """Runs code of ours in a namespace of its own; it can import `call` from `codeact_calls`.

        Raises as `execute`, and `SandboxError` where it fails or takes over 10 s.
        """
        execution = self._execute(defining(source), DEFINE_S, silent=True)
        async with execution:
            await execution.ended()
        if execution.result.status != "ok":
            error = execution.result.error
            reason = f"{error.ename}: {error.evalue}" if error is not None else execution.result.detail
            raise SandboxError(f"The functions could not be made known to the kernel. {reason}", sandbox_id=self.id)

    def answer(self, call: Call, *, value: str | None = None, error: str | None = None) -> None:
        """Lets a call go on: with its value as JSON text, or with words that it raises. No-op once it has ended."""
        if self.alive:
            self._life.kernel.answer(call.call_id, value=value, error=error)
        if self._running is not None:
            self._running.answered(call.call_id)

    # ---- files -------------------------------------------------------------------------------------------

    def read_file(self, path: str) -> AbstractAsyncContextManager[OpenFile]:
        """A file of the workspace, as it is when entered: its `info`, and its content by iteration.

        `path` is relative to the workspace. This and its siblings work while code runs, and raise `FileError`,
        or `SandboxGone`. Cancelling and leaving early leave nothing.
        """
        return self._opened_files().read(path)

    async def write_file(self, path: str, content: bytes | AsyncIterable[bytes]) -> FileInfo:
        """Makes or replaces a file, and the directories above it. It is there when it is complete, or not at all."""
        return await self._opened_files().write(path, content)

    async def list_files(self) -> FileList:
        """The regular files of the workspace."""
        return await self._opened_files().list()

    async def delete_file(self, path: str) -> None:
        """Deletes anything but a directory; of a symbolic link, itself."""
        await self._opened_files().delete(path)

    def _opened_files(self) -> Files:
        _ = self._life.kernel  # Raises where it has gone.
        return self._files

    # ---- an execution, from its request to its result ----------------------------------------------------

    def _execute(self, code: str, timeout_s: float | None, *, calls: bool = False, silent: bool = False) -> Execution:
        kernel = self._life.kernel
        if self._running is not None:
            raise SandboxBusy("The sandbox runs other code.", sandbox_id=self.id)
        if timeout_s is None:
            timeout_s = self.spec.limits.execution_timeout_s
        execution = self._running = Execution(self._outputs, timeout_s=timeout_s)
        self._takes_calls = calls
        began_at = time.perf_counter()
        request = kernel.execute(code, silent=silent)
        request.done.add_done_callback(lambda _: execution.decide("done"))
        self._life.tasks.create_task(self._supervise(kernel, execution, request, began_at))
        return execution

    async def _supervise(self, kernel: KernelClient, execution: Execution, request: Request, began_at: float) -> None:
        """Sees one execution to its end: its own, the kernel's, or the one that the stop ladder brings."""
        execution.start_clock()
        cause = await execution.cause
        execution.stop_clock()
        if cause != "done" and not await self._interrupt(kernel, request):
            self._life.end(Death("The code did not stop when it was interrupted, so its sandbox was destroyed."))
            await asyncio.wait({request.done})
            with anyio.move_on_after(DESTROY_S):
                await self._life.destroyed.wait()
        reply = request.done.result()
        if reply is None:
            await self._life.died.wait()
        self._finish(execution, cause, reply, time.perf_counter() - began_at)

    async def _interrupt(self, kernel: KernelClient, request: Request) -> bool:
        """Whether the code has ended and no signal that was meant for it is still on its way."""
        pending: set[asyncio.Future[Any]] = {request.done}
        for grace_s in INTERRUPT_GRACES_S:
            _, pending = await asyncio.wait({*pending, kernel.interrupt(request)}, timeout=grace_s)
            if not pending:
                return True
        return False

    def _finish(self, execution: Execution, cause: Cause, reply: Reply | None, duration_s: float) -> None:
        self._running = None
        self._outputs = self._coalescer()
        limits = self.spec.limits
        execution.finish(to_result(execution, cause, reply, self.death, limits=limits, duration_s=duration_s))

    def _finish_what_runs(self) -> None:
        """At the end of a life that an error of ours has cut short: nobody waits for ever."""
        if self._running is not None:
            self._finish(self._running, "done", None, 0.0)

    # ---- what the kernel says ----------------------------------------------------------------------------

    def _client(self, connection: dict[str, Any]) -> KernelClient:
        return KernelClient(
            connection,
            limit_bytes=self.spec.limits.output_bytes,
            on_output=self._on_output,
            on_omitted=self._on_omitted,
            on_call=self._on_call,
        )

    def _coalescer(self) -> Coalescer:
        return Coalescer(self.spec.limits.output_bytes)

    def _on_output(self, output: Output, size_bytes: int) -> None:
        self._outputs.add(output, size_bytes)
        if self._running is not None:
            self._running.wake()

    def _on_omitted(self, size_bytes: int) -> None:
        self._outputs.omit(size_bytes)

    def _on_call(self, call: Call) -> None:
        running = self._running
        if running is None or not self._takes_calls:
            self.answer(call, error=f"There is nobody to answer {call.name}() now.")
        elif running.open_calls >= MAX_OPEN:
            self.answer(call, error=f"{MAX_OPEN} calls wait already; at most so many can at once.")
        else:
            running.call(call)
