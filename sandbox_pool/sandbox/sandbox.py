"""One sandbox as its conversation uses it: runs code, streams outputs, and moves files."""

import asyncio
import time
from collections.abc import AsyncIterable
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio

from sandbox_pool.backends.base import Backend, Death
from sandbox_pool.calls import Call, defining
from sandbox_pool.errors import SandboxBusy, SandboxError
from sandbox_pool.inventory import Inventory, to_inventory
from sandbox_pool.kernel.client import KernelClient, Request
from sandbox_pool.outputs import DisplayData, Error, ExecuteResult, ExecutionResult, Stream, fold
from sandbox_pool.sandbox.execution import Execution
from sandbox_pool.sandbox.files import FileInfo, FileList, Files, OpenFile
from sandbox_pool.sandbox.inbox import Inbox
from sandbox_pool.sandbox.lifecycle import Lifecycle
from sandbox_pool.spec import SandboxSpec

__all__ = ["Execution", "Sandbox"]

INTERRUPT_GRACES_S = (2.0, 1.0)
DESTROYED_TIMEOUT_S = 2.5
"""With the graces before it, code that ignores its interrupt is gone in under 6 seconds."""
DEFINE_TIMEOUT_S = 10.0
INVENTORY_TIMEOUT_S = 5.0


class Sandbox:
    """One kernel in one sandbox, used by one conversation. Make it with `start`."""

    def __init__(self, backend: Backend, sandbox_id: str, spec: SandboxSpec) -> None:
        self.id = sandbox_id
        self.spec = spec
        self._inbox = Inbox(spec.limits)
        self._lifecycle = Lifecycle(backend, sandbox_id, spec, self._inbox)
        self._files = Files(backend, sandbox_id, spec.limits)

    @classmethod
    async def start(cls, backend: Backend, sandbox_id: str, spec: SandboxSpec, *, deadline_s: float) -> "Sandbox":
        """A sandbox whose kernel has answered and holds the preloaded modules.

        Raises `SandboxStartFailed`. On failure or cancellation what was created is destroyed first.
        """
        sandbox = cls(backend, sandbox_id, spec)
        await sandbox._lifecycle.start(deadline_s)
        sandbox._inbox.clear()
        return sandbox

    # ---- its life ----------------------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        """Whether code can run: False once the kernel has gone or `close` was called."""
        return self._lifecycle.alive

    @property
    def packages(self) -> tuple[str, ...]:
        """The names of the distributions that are installed in it. Raises `SandboxGone` with its kernel."""
        return self._lifecycle.kernel.packages

    @property
    def death(self) -> Death | None:
        """Why the kernel has gone; None while it lives."""
        return self._lifecycle.death

    def begin_lifetime(self) -> None:
        """From now on its `lifetime_s` counts; when it is over the sandbox ends, whatever runs in it."""
        self._lifecycle.limit()

    async def died(self) -> Death:
        """Returns when the kernel has gone, whatever the reason (`close` is one). Any number of callers."""
        await self._lifecycle.died.wait()
        assert self._lifecycle.death is not None
        return self._lifecycle.death

    async def close(self) -> None:
        """Destroys the sandbox; code that runs ends as `died`. Idempotent; waits 10 seconds at most.

        Cancelling the call does not stop the destruction.
        """
        await self._lifecycle.close()

    # ---- code --------------------------------------------------------------------------------------------

    def execute(self, code: str, *, timeout_s: float | None = None, calls: bool = False) -> Execution:
        """Starts the code. Iterate over what this returns, or call its `next`, to get the outputs as they come.

        Args:
            code: What to run.
            timeout_s: None: the spec's `execution_timeout_s`.
            calls: Whether the code may call functions that `define` has given it. Read it by `Execution.next` then,
                and `answer` each call. Without, such calls fail in the code.

        Raises:
            SandboxBusy: Other code runs.
            SandboxGone: The kernel has gone.
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
        if (running := self._inbox.running) is not None:
            await running.aclose()

    async def define(self, source: str) -> None:
        """Runs code of ours in a namespace of its own; it can import `call` from `codeact_calls`.

        Raises as `execute`, and `SandboxError` where it fails or takes over 10 s.
        """
        execution = self._execute(defining(source), DEFINE_TIMEOUT_S, silent=True)
        async with execution:
            await execution.ended()
        if execution.result.status != "ok":
            error = execution.result.error
            reason = f"{error.ename}: {error.evalue}" if error is not None else execution.result.detail
            raise SandboxError(f"The functions could not be made known to the kernel. {reason}", sandbox_id=self.id)

    def answer(self, call: Call, *, value: str | None = None, error: str | None = None) -> None:
        """Lets a call go on: with its value as JSON text, or with words that it raises. No-op once it has ended."""
        if self.alive:
            self._lifecycle.kernel.answer(call.call_id, value=value, error=error)
        if self._inbox.running is not None:
            self._inbox.running.answered(call.call_id)

    async def inventory(self) -> Inventory:
        """What the kernel holds: variables, functions, imports and files. Runs nothing of the user's code.

        It takes a second at most for a kernel that is idle, and works while code runs. Raises `SandboxGone`, and
        `SandboxError` where the kernel gives no sensible answer within 5 seconds.
        """
        kernel = self._lifecycle.kernel
        try:
            async with asyncio.timeout(INVENTORY_TIMEOUT_S):
                answer = await kernel.inventory()
            if answer is not None:
                return to_inventory(answer.content)
        except (TimeoutError, ValueError, RecursionError):
            pass
        raise SandboxError("The kernel did not say what it holds.", sandbox_id=self.id)

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
        _ = self._lifecycle.kernel  # Raises where it has gone.
        return self._files

    # ---- an execution, from its request to its result ----------------------------------------------------

    def _execute(self, code: str, timeout_s: float | None, *, calls: bool = False, silent: bool = False) -> Execution:
        kernel = self._lifecycle.kernel
        if self._inbox.running is not None:
            raise SandboxBusy("The sandbox runs other code.", sandbox_id=self.id)
        if timeout_s is None:
            timeout_s = self.spec.limits.execution_timeout_s
        execution = self._inbox.begin(timeout_s=timeout_s, calls=calls)
        began_at = time.perf_counter()
        request = kernel.execute(code, silent=silent)
        request.done.add_done_callback(lambda _: execution.decide("done"))
        self._lifecycle.tasks.create_task(self._supervise(kernel, execution, request, began_at))
        return execution

    async def _supervise(self, kernel: KernelClient, execution: Execution, request: Request, began_at: float) -> None:
        """Supervises one execution until the code ends, the kernel dies, or a stop ends it."""
        execution.start_clock()
        cause = await execution.cause
        execution.stop_clock()
        if cause != "done" and not await self._interrupt(kernel, request):
            self._lifecycle.terminate(
                Death("The code did not stop when it was interrupted, so its sandbox was destroyed.")
            )
            await asyncio.wait({request.done})
            with anyio.move_on_after(DESTROYED_TIMEOUT_S):
                await self._lifecycle.destroyed.wait()
        reply = request.done.result()
        if reply is None:
            await self._lifecycle.died.wait()
        self._inbox.end(cause, reply, self.death, duration_s=time.perf_counter() - began_at)

    async def _interrupt(self, kernel: KernelClient, request: Request) -> bool:
        """Whether the code has ended and no signal that was meant for it is still on its way."""
        pending: set[asyncio.Future[Any]] = {request.done}
        for grace_s in INTERRUPT_GRACES_S:
            _, pending = await asyncio.wait({*pending, kernel.interrupt(request)}, timeout=grace_s)
            if not pending:
                return True
        return False
