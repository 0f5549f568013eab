"""The public interface of one sandbox: runs code, streams its outputs, and reads and writes files."""

import asyncio
import time
from collections.abc import AsyncIterable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio

from sandbox_pool.backends.base import Backend, Death
from sandbox_pool.calls import Call, defining
from sandbox_pool.checkpoint import Checkpoint, Manifest, Restored, StateLimits
from sandbox_pool.errors import SandboxBusy, SandboxError
from sandbox_pool.inventory import Inventory, to_inventory
from sandbox_pool.kernel.client import KernelClient, Request
from sandbox_pool.outputs import DisplayData, Error, ExecuteResult, ExecutionResult, Stream, fold
from sandbox_pool.sandbox.execution import Execution
from sandbox_pool.sandbox.files import FileInfo, FileList, Files, OpenFile
from sandbox_pool.sandbox.inbox import Inbox
from sandbox_pool.sandbox.lifecycle import Lifecycle
from sandbox_pool.sandbox.state import Fetch, Store, restore_state, save_state
from sandbox_pool.spec import SandboxSpec

__all__ = ["Execution", "Sandbox"]

INTERRUPT_GRACES_S = (2.0, 1.0)
DESTROYED_TIMEOUT_S = 2.5
"""How long to wait for the destruction. With the grace periods, stopping code takes less than 6 seconds."""
DEFINE_TIMEOUT_S = 10.0
INVENTORY_TIMEOUT_S = 5.0


class Sandbox:
    """One kernel in one sandbox, used by one conversation. Create it with `start`."""

    def __init__(self, backend: Backend, sandbox_id: str, spec: SandboxSpec) -> None:
        self.id = sandbox_id
        self.spec = spec
        self._backend = backend
        self._inbox = Inbox(spec.limits)
        self._lifecycle = Lifecycle(backend, sandbox_id, spec, self._inbox)
        self._files = Files(backend, sandbox_id, spec.limits)
        self._state = asyncio.Lock()
        self._restoring = False

    @classmethod
    async def start(cls, backend: Backend, sandbox_id: str, spec: SandboxSpec, *, deadline_s: float) -> "Sandbox":
        """Starts a sandbox. Returns when its kernel has answered and imported the preloaded modules.

        Raises `SandboxStartFailed`. On failure or cancellation, destroys what was created before it raises.
        """
        sandbox = cls(backend, sandbox_id, spec)
        await sandbox._lifecycle.start(deadline_s)
        sandbox._inbox.clear()
        return sandbox

    async def add_readonly(self, folder: str, files: Mapping[str, bytes]) -> None:
        """Writes a folder that the code can read and not change, in `READONLY`; replaces one of the same name.

        The paths of the files must be relative, without `..`. Raises `SandboxError`.
        """
        await self._backend.add_readonly(self.id, folder, files)

    # ---- lifecycle ---------------------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        """Whether code can run: False once the kernel has ended or `close` was called."""
        return self._lifecycle.alive

    @property
    def packages(self) -> tuple[str, ...]:
        """The names of the distributions installed in the sandbox. Raises `SandboxGone` if the kernel has ended."""
        return tuple(self.versions)

    @property
    def versions(self) -> Mapping[str, str]:
        """The versions of the installed distributions by name. Raises `SandboxGone` if the kernel has ended."""
        return self._lifecycle.kernel.packages

    @property
    def image(self) -> str | None:
        """The digest of the image that the sandbox runs; None if its backend has no images or does not know it."""
        return self._lifecycle.image

    @property
    def death(self) -> Death | None:
        """Why the kernel has ended; None while it is alive."""
        return self._lifecycle.death

    def begin_lifetime(self) -> None:
        """Starts the countdown of the spec's `lifetime_s`. After it the sandbox ends, even while code runs."""
        self._lifecycle.limit()

    async def died(self) -> Death:
        """Waits until the kernel has ended for any reason, including `close`. Any number of tasks may wait."""
        await self._lifecycle.died.wait()
        assert self._lifecycle.death is not None
        return self._lifecycle.death

    async def close(self) -> None:
        """Destroys the sandbox and waits for that, 10 seconds at most. Running code ends as `died`. Idempotent.

        The sandbox is destroyed even if this call is cancelled.
        """
        await self._lifecycle.close()

    # ---- code --------------------------------------------------------------------------------------------

    def execute(self, code: str, *, timeout_s: float | None = None, calls: bool = False) -> Execution:
        """Starts the code, and returns its `Execution`: iterate over it to get the outputs as they come.

        Args:
            code: The code to run.
            timeout_s: The time limit in seconds; None means the spec's `execution_timeout_s`.
            calls: Whether the code may call the functions that `define` gave it. If so, read the execution with
                `Execution.next`, and `answer` each call. Otherwise such calls raise an exception in the code.

        Raises:
            SandboxBusy: Other code runs.
            SandboxGone: The kernel has ended.
        """
        return self._execute(code, timeout_s, calls=calls)

    def open(self, statements: Sequence[str], *, timeout_s: float | None = None, calls: bool = False) -> Execution:
        """Starts a block of code of which only the first statements are known; `Execution.write` adds the others.

        Each statement must be complete, with its line end. They run one after the other, with the effects and the
        outputs of the same code in one piece, except that a syntax error is found only when its statement comes. The
        block ends after a `write` with `ended`, or at its first error. Otherwise as `execute`.
        """
        return self._execute(statements[0], timeout_s, calls=calls, more=statements[1:])

    async def run(
        self, code: str, *, timeout_s: float | None = None
    ) -> tuple[list[Stream | DisplayData | ExecuteResult | Error], ExecutionResult]:
        """Runs the code to its end. Returns its outputs as a notebook would store them, and its result.

        Raises the errors of `execute`. Cancelling it stops the code.
        """
        async with self.execute(code, timeout_s=timeout_s) as execution:
            outputs = [output async for output in execution]
        return fold(outputs), execution.result

    async def interrupt(self) -> None:
        """Stops the running code and waits for that, 6 seconds at most. Does nothing if no code runs.

        If the code ignores the interrupt, the sandbox is destroyed.
        """
        if (running := self._inbox.running) is not None:
            await running.aclose()

    async def define(self, source: str) -> None:
        """Runs trusted code in its own namespace, to define functions. It can import `call` from `codeact_calls`.

        Raises the errors of `execute`, and `SandboxError` if the code fails or takes more than 10 s.
        """
        execution = self._execute(defining(source), DEFINE_TIMEOUT_S, silent=True)
        async with execution:
            await execution.ended()
        if execution.result.status != "ok":
            error = execution.result.error
            reason = f"{error.ename}: {error.evalue}" if error is not None else execution.result.detail
            raise SandboxError(f"The functions could not be made known to the kernel. {reason}", sandbox_id=self.id)

    def answer(self, call: Call, *, value: str | None = None, error: str | None = None) -> None:
        """Answers a call: it returns `value`, which is JSON text, or raises an exception with the text `error`.

        Does nothing if the call has ended.
        """
        if self.alive:
            self._lifecycle.kernel.answer(call.call_id, value=value, error=error)
        if self._inbox.running is not None:
            self._inbox.running.answered(call.call_id)

    async def inventory(self) -> Inventory:
        """Returns the kernel's variables, functions, imports and files, without running any of the user's code.

        An idle kernel answers within a second; a kernel that runs code answers, too. Raises `SandboxGone`, and
        `SandboxError` if there is no valid answer within 5 seconds.
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

    # ---- state -------------------------------------------------------------------------------------------

    async def checkpoint(
        self,
        store: Store,
        *,
        since: Manifest | None = None,
        limits: StateLimits | None = None,
        captured: Callable[[], None] = lambda: None,
    ) -> Checkpoint:
        """Saves the kernel's variables, definitions, settings and files, as they are between two blocks of code.

        The kernel does it in a copy of its process, so code that starts meanwhile neither waits nor changes it.
        Checkpoints of one sandbox wait for each other. What cannot be saved is named in the manifest.

        Args:
            store: Called with each part (its SHA-256 and its content, `PART_BYTES` at most) that `since` does not
                name, one at a time. It may be called for parts that no manifest names in the end.
            since: The manifest of an earlier checkpoint whose parts are all stored still.
            limits: None means the defaults of `StateLimits`.
            captured: Called when the copy exists. Code that starts earlier may end the checkpoint as `SandboxBusy`.

        Raises:
            SandboxBusy: Code runs.
            SandboxGone: The kernel has ended.
            SandboxError: There is no checkpoint, for the reason in its message.

        Cancelling it gives the checkpoint up. The kernel goes on.
        """
        kernel = self._lifecycle.kernel
        async with self._state:
            if self._inbox.running is not None:
                raise SandboxBusy("The sandbox runs other code.", sandbox_id=self.id)
            return await save_state(
                kernel,
                store,
                since=since,
                limits=limits or StateLimits(),
                captured=captured,
                sandbox_id=self.id,
            )

    async def restore(self, manifest: Manifest, fetch: Fetch) -> Restored:
        """Restores a checkpoint into this sandbox, which should be fresh: what else it holds stays.

        A part that is missing or damaged costs the names and files that need it, and no others. `execute` raises
        `SandboxBusy` until this has returned. `fetch` raises `LookupError` for a part that it does not have; its
        other errors end the restoration.

        Raises the errors of `checkpoint`. After an error or a cancellation the sandbox holds a part of the checkpoint:
        close it.
        """
        kernel = self._lifecycle.kernel
        async with self._state:
            if self._inbox.running is not None:
                raise SandboxBusy("The sandbox runs other code.", sandbox_id=self.id)
            self._restoring = True
            try:
                return await restore_state(kernel, manifest, fetch, sandbox_id=self.id)
            finally:
                self._restoring = False

    # ---- files -------------------------------------------------------------------------------------------

    def read_file(self, path: str) -> AbstractAsyncContextManager[OpenFile]:
        """Opens a file of the workspace. Enter the result to get its `info`, and iterate to get its content.

        `path` is relative to the workspace. All methods for files work while code runs, and raise `FileError` or
        `SandboxGone`. Cancelling, or leaving the context early, releases all resources.
        """
        return self._opened_files().read(path)

    async def write_file(self, path: str, content: bytes | AsyncIterable[bytes]) -> FileInfo:
        """Creates or replaces a file, and creates its parent directories. The file appears only once it is complete."""
        return await self._opened_files().write(path, content)

    async def list_files(self) -> FileList:
        """Lists the regular files of the workspace."""
        return await self._opened_files().list()

    async def delete_file(self, path: str) -> None:
        """Deletes a file of any kind, but no directory. Of a symbolic link, deletes the link itself."""
        await self._opened_files().delete(path)

    def _opened_files(self) -> Files:
        _ = self._lifecycle.kernel  # Raises `SandboxGone` if the kernel has ended.
        return self._files

    # ---- executions --------------------------------------------------------------------------------------

    def _execute(
        self,
        code: str,
        timeout_s: float | None,
        *,
        calls: bool = False,
        silent: bool = False,
        more: Sequence[str] | None = None,
    ) -> Execution:
        kernel = self._lifecycle.kernel
        if self._inbox.running is not None or self._restoring:
            raise SandboxBusy("The sandbox runs other code.", sandbox_id=self.id)
        if timeout_s is None:
            timeout_s = self.spec.limits.execution_timeout_s
        execution = self._inbox.begin(timeout_s=timeout_s, calls=calls)
        began_at = time.perf_counter()
        request = kernel.execute(code, silent=silent, more=more)
        if more is not None:
            execution.begin_open(lambda later, ended: kernel.write(request, later, ended=ended), 1 + len(more))
        request.done.add_done_callback(lambda _: execution.decide("done"))
        self._lifecycle.tasks.create_task(self._supervise(kernel, execution, request, began_at))
        return execution

    async def _supervise(self, kernel: KernelClient, execution: Execution, request: Request, began_at: float) -> None:
        """Supervises one execution until the code ends, the kernel dies, or the code is stopped."""
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
        self._inbox.end(cause, reply, self.death, duration_s=time.perf_counter() - began_at - execution.idle_s)

    async def _interrupt(self, kernel: KernelClient, request: Request) -> bool:
        """Interrupts the code. Returns True when it has ended and the kernel has sent all signals meant for it."""
        pending: set[asyncio.Future[Any]] = {request.done}
        for grace_s in INTERRUPT_GRACES_S:
            _, pending = await asyncio.wait({*pending, kernel.interrupt(request)}, timeout=grace_s)
            if not pending:
                return True
        return False
