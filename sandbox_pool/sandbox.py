"""A backend and a spec enter, a warm sandbox leaves: code in, live outputs and one result out."""

import asyncio
import time
from collections.abc import AsyncIterable
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio

from sandbox_pool.backends import Backend, Death
from sandbox_pool.calls import MAX_OPEN, Call, defining
from sandbox_pool.coalesce import Coalescer
from sandbox_pool.errors import SandboxBusy, SandboxError, SandboxGone, SandboxStartFailed
from sandbox_pool.execution import Execution, to_result
from sandbox_pool.files import FileInfo, FileList, Files, OpenFile
from sandbox_pool.kernel import KernelClient, Request
from sandbox_pool.logs import Logger
from sandbox_pool.outputs import DisplayData, Error, ExecuteResult, ExecutionResult, Output, Stream, fold
from sandbox_pool.spec import SandboxSpec

__all__ = ["Execution", "Sandbox"]

log = Logger(__name__)

INTERRUPT_GRACES_S = (2.0, 1.0)
DEATH_S = 2.0
DESTROY_S = 2.5
"""With the graces before it, code that ignores its interrupt is gone in under 6 seconds."""
ABANDON_S = 30.0
CLOSE_S = 10.0
DEFINE_S = 10.0

# The last line raises on purpose: the first traceback of an interpreter costs 50 ms of imports.
PRELOAD = """
def _preload(names):
    import contextlib, importlib
    for name in names:
        with contextlib.suppress(Exception):
            importlib.import_module(name)
_preload({names!r})
del _preload
raise Warning("warm")
"""


class Sandbox:
    """One kernel in one sandbox, used by one conversation. Make it with `start`."""

    def __init__(self, backend: Backend, sandbox_id: str, spec: SandboxSpec) -> None:
        self.id = sandbox_id
        self.spec = spec
        self._backend = backend
        self._files = Files(backend, sandbox_id, spec.limits)
        self._kernel: KernelClient | None = None
        self._tasks = asyncio.TaskGroup()
        self._life: asyncio.Task[None] | None = None
        self._running: Execution | None = None
        self._takes_calls = False
        self._outputs = self._coalescer()
        self._start_error: SandboxError | None = None
        self._lifetime: asyncio.TimerHandle | None = None
        self._death: Death | None = None
        self._started = asyncio.Event()
        self._ending = asyncio.Event()
        self._died = asyncio.Event()
        self._destroyed = asyncio.Event()

    @classmethod
    async def start(cls, backend: Backend, sandbox_id: str, spec: SandboxSpec, *, deadline_s: float) -> "Sandbox":
        """A sandbox whose kernel has answered and holds the preloaded modules.

        Raises `SandboxStartFailed`. On failure or cancellation what was created is destroyed first.
        """
        sandbox = cls(backend, sandbox_id, spec)
        # The one task outside of a group: it is the sandbox's life, which `close` ends, and owns its group.
        sandbox._life = asyncio.create_task(sandbox._live(deadline_s), name=f"sandbox {sandbox_id}")
        try:
            await sandbox._started.wait()
        except BaseException:
            await sandbox.close()
            raise
        if sandbox._start_error is not None:
            await sandbox.close()
            raise sandbox._start_error
        return sandbox

    @property
    def alive(self) -> bool:
        """Whether code can run: False once the kernel has gone or `close` was called."""
        return self._started.is_set() and not self._ending.is_set()

    @property
    def death(self) -> Death | None:
        """Why the kernel has gone; None while it lives."""
        return self._death

    def begin_lifetime(self) -> None:
        """From now on its `lifetime_s` counts; when it is over the sandbox ends, whatever runs in it."""
        lifetime_s = self.spec.limits.lifetime_s
        death = Death(f"The sandbox had lived for its {lifetime_s:g} s.", "lifetime_s")
        if self._lifetime is not None:
            self._lifetime.cancel()
        self._lifetime = asyncio.get_running_loop().call_later(lifetime_s, self._end, death)

    async def died(self) -> Death:
        """Returns when the kernel has gone, whatever the reason (`close` is one). Any number of callers."""
        await self._died.wait()
        assert self._death is not None
        return self._death

    def execute(self, code: str, *, timeout_s: float | None = None, calls: bool = False) -> Execution:
        """Starts the code; None means the spec's `execution_timeout_s`.

        With `calls`, read it by `Execution.next`, and `answer` each call that it makes to a function which `define`
        has given it; without, such calls fail in the code.

        Raises `SandboxBusy` while other code runs, `SandboxGone` when there is no kernel any more.
        """
        return self._start(code, timeout_s, calls=calls)

    async def define(self, source: str) -> None:
        """Runs code of ours in a namespace of its own; it can import `call` from `codeact_calls`.

        Raises as `execute`, and `SandboxError` where it fails or takes over 10 s.
        """
        execution = self._start(defining(source), DEFINE_S, silent=True)
        async with execution:
            await execution.ended()
        if execution.result.status != "ok":
            error = execution.result.error
            reason = f"{error.ename}: {error.evalue}" if error is not None else execution.result.detail
            raise SandboxError(f"The functions could not be made known to the kernel. {reason}", sandbox_id=self.id)

    def answer(self, call: Call, *, value: str | None = None, error: str | None = None) -> None:
        """Lets a call go on: with its value as JSON text, or with words that it raises. No-op once it has ended."""
        if self._kernel is not None:
            self._kernel.answer(call.call_id, value=value, error=error)
        if self._running is not None:
            self._running.answered(call.call_id)

    def _start(self, code: str, timeout_s: float | None, *, calls: bool = False, silent: bool = False) -> Execution:
        kernel = self._kernel
        if kernel is None or not self.alive:
            raise self._gone()
        if self._running is not None:
            raise SandboxBusy("The sandbox runs other code.", sandbox_id=self.id)
        if timeout_s is None:
            timeout_s = self.spec.limits.execution_timeout_s
        execution = self._running = Execution(self._outputs, timeout_s=timeout_s)
        self._takes_calls = calls
        started_at = time.perf_counter()
        request = kernel.execute(code, silent=silent)
        request.done.add_done_callback(lambda _: execution.decide("done"))
        self._tasks.create_task(self._supervise(kernel, execution, request, started_at))
        return execution

    async def run(
        self, code: str, *, timeout_s: float | None = None
    ) -> tuple[list[Stream | DisplayData | ExecuteResult | Error], ExecutionResult]:
        """Runs the code to its end: its outputs as a notebook would hold them, and its result.

        Raises as `execute`. Cancelling it stops the code.
        """
        async with self.execute(code, timeout_s=timeout_s) as execution:
            outputs = [output async for output in execution]
        return fold(outputs), execution.result

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

    async def interrupt(self) -> None:
        """Stops the running code and returns when it has stopped, in 6 seconds at most; no-op when idle.

        Code that ignores the interrupt costs the kernel its life.
        """
        if self._running is not None:
            await self._running.aclose()

    async def close(self) -> None:
        """Destroys the sandbox; code that runs ends as `died`. Idempotent; waits 10 seconds at most.

        Cancelling the call does not stop the destruction.
        """
        if self._started.is_set():
            self._end(Death("The sandbox was closed."))
        elif self._life is not None:
            self._life.cancel()
        with anyio.CancelScope(shield=True):
            if self._life is not None:
                await asyncio.wait({self._life}, timeout=CLOSE_S)

    async def _live(self, deadline_s: float) -> None:
        """The whole life of the sandbox. However it ends, nothing is left."""
        try:
            async with self._tasks:
                await self._warm_up(deadline_s)
                await self._ending.wait()
                self._end(self._death or await self._find_death())
                await self._destroy()
        except Exception:
            log.exception("a sandbox failed", sandbox=self.id)
            self._start_error = SandboxStartFailed("The server failed to start the sandbox.", sandbox_id=self.id)
        finally:
            self._started.set()
            self._end(Death("The server ended the sandbox."))
            await self._destroy()
            if self._running is not None:
                limits = self.spec.limits
                self._running.finish(to_result(self._running, "done", None, self._death, limits=limits, duration_s=0.0))

    async def _warm_up(self, deadline_s: float) -> None:
        began_at = time.perf_counter()
        try:
            async with asyncio.timeout(deadline_s):
                started = await self._backend.create(self.id, self.spec)
                self._kernel = KernelClient(
                    started.connection,
                    limit_bytes=self.spec.limits.output_bytes,
                    on_output=self._on_output,
                    on_omitted=self._on_omitted,
                    on_call=self._on_call,
                )
                self._tasks.create_task(self._notice(self._kernel))
                await self._kernel.connect(self._tasks)
                preload = self._kernel.execute(PRELOAD.format(names=self.spec.preload), silent=True)
                await asyncio.wait({preload.done})
            if self._kernel.gone.is_set():
                raise ConnectionError("The kernel ended while it started.")
            self._outputs = self._coalescer()
            log.info("sandbox started", sandbox=self.id, seconds=round(time.perf_counter() - began_at, 3))
        except SandboxError as error:
            self._start_error = error
            self._end(Death(error.message))
        except (TimeoutError, ConnectionError) as error:
            late = isinstance(error, TimeoutError)
            problem = f"The kernel did not answer within {deadline_s:g} s." if late else f"{error}"
            death = await self._find_death()
            self._start_error = SandboxStartFailed(f"{problem} {death.detail}", sandbox_id=self.id)
            self._end(death)
        self._started.set()

    async def _supervise(self, kernel: KernelClient, execution: Execution, request: Request, began_at: float) -> None:
        """Sees one execution to its end: its own, the kernel's, or the one that the stop ladder brings."""
        execution.start_clock()
        cause = await execution.cause
        execution.stop_clock()
        if cause != "done" and not await self._interrupt(kernel, request):
            self._end(Death("The code did not stop when it was interrupted, so its sandbox was destroyed."))
            await asyncio.wait({request.done})
            with anyio.move_on_after(DESTROY_S):
                await self._destroyed.wait()
        reply = request.done.result()
        if reply is None:
            await self._died.wait()
        self._running = None
        self._outputs = self._coalescer()
        duration_s = time.perf_counter() - began_at
        limits = self.spec.limits
        execution.finish(to_result(execution, cause, reply, self._death, limits=limits, duration_s=duration_s))

    async def _interrupt(self, kernel: KernelClient, request: Request) -> bool:
        """Whether the code has ended and no signal that was meant for it is still on its way."""
        pending: set[asyncio.Future[Any]] = {request.done}
        for grace_s in INTERRUPT_GRACES_S:
            _, pending = await asyncio.wait({*pending, kernel.interrupt(request)}, timeout=grace_s)
            if not pending:
                return True
        return False

    async def _notice(self, kernel: KernelClient) -> None:
        await kernel.gone.wait()
        self._ending.set()

    async def _find_death(self) -> Death:
        try:
            async with asyncio.timeout(DEATH_S):
                return await self._backend.death(self.id, self.spec.limits)
        except Exception:
            log.exception("why a kernel ended could not be found", sandbox=self.id)
            return Death("The kernel has gone.")

    def _end(self, death: Death) -> None:
        """The first call says why."""
        if self._death is None:
            self._death = death
            log.info("sandbox ended", sandbox=self.id, reason=death.detail, limit=death.limit)
        self._ending.set()
        self._died.set()

    async def _destroy(self) -> None:
        if self._destroyed.is_set():
            return
        if self._lifetime is not None:
            self._lifetime.cancel()
        if self._kernel is not None:
            self._kernel.close()
        try:
            async with asyncio.timeout(ABANDON_S):
                await self._backend.destroy(self.id)
        except Exception:  # The last step of a life: there is nobody to raise to.
            log.exception("a sandbox could not be destroyed", sandbox=self.id)
        self._destroyed.set()

    def _gone(self) -> SandboxGone:
        reason = self._death.detail if self._death else "Its kernel has gone."
        return SandboxGone(f"The sandbox is gone. {reason}", sandbox_id=self.id)

    def _opened_files(self) -> Files:
        if not self.alive:
            raise self._gone()
        return self._files

    def _coalescer(self) -> Coalescer:
        return Coalescer(self.spec.limits.output_bytes)

    def _on_output(self, output: Output, size_bytes: int) -> None:
        self._outputs.add(output, size_bytes)
        if self._running is not None:
            self._running.wake()

    def _on_call(self, call: Call) -> None:
        running = self._running
        if running is None or not self._takes_calls:
            self.answer(call, error=f"There is nobody to answer {call.name}() now.")
        elif running.open_calls >= MAX_OPEN:
            self.answer(call, error=f"{MAX_OPEN} calls wait already; at most so many can at once.")
        else:
            running.call(call)

    def _on_omitted(self, size_bytes: int) -> None:
        self._outputs.omit(size_bytes)
