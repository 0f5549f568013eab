"""Supervises one sandbox from the start of its first process until all its resources are destroyed."""

import asyncio
import time

import anyio

from sandbox_pool.backends.base import Backend, Death, claim_of
from sandbox_pool.errors import SandboxError, SandboxGone, SandboxStartFailed
from sandbox_pool.kernel.client import KernelClient
from sandbox_pool.kernel.pulse import silence_reason
from sandbox_pool.kernel.sink import Fault
from sandbox_pool.logs import Logger
from sandbox_pool.sandbox.inbox import Inbox
from sandbox_pool.spec import SandboxSpec

__all__ = ["Lifecycle"]

log = Logger(__name__)

EXIT_REASON_TIMEOUT_S = 2.0
DESTROY_TIMEOUT_S = 30.0
CLOSE_TIMEOUT_S = 10.0

# The last line raises on purpose: the first traceback of an interpreter imports modules for 50 ms. Without names
# nothing is imported beforehand, so that a sandbox starts as quickly as it can.
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


FAULTS: dict[Fault, Death] = {
    "costly": Death(
        "What the sandbox sent cost the server more time than one sandbox may take of it, or it did not read what it"
        " was sent.",
        "attention_s",
    ),
    "silent": Death(silence_reason()),
}


class Lifecycle:
    """The lifecycle of one sandbox. `start` begins it; it ends when the kernel ends, at its lifetime limit, or by
    `close`. `death` then has the reason.

    `inbox` receives the kernel's outputs; its running execution ends with the sandbox. `tasks` is the task group of
    the sandbox; its tasks are cancelled at the end.
    """

    def __init__(self, backend: Backend, sandbox_id: str, spec: SandboxSpec, inbox: Inbox) -> None:
        self.tasks = asyncio.TaskGroup()
        self.death: Death | None = None
        self.image: str | None = None
        self.died = asyncio.Event()
        self.destroyed = asyncio.Event()
        self._backend = backend
        self._id = sandbox_id
        self._spec = spec
        self._inbox = inbox
        self._kernel: KernelClient | None = None
        self._task: asyncio.Task[None] | None = None
        self._lifetime: asyncio.TimerHandle | None = None
        self._start_error: SandboxError | None = None
        self._started = asyncio.Event()
        self._ending = asyncio.Event()

    async def start(self, deadline_s: float) -> None:
        """Creates the sandbox, and returns when its kernel has answered and imported the preloaded modules.

        Raises `SandboxStartFailed`. On failure or cancellation, destroys what was created before it raises.
        """
        # This task belongs to no group: it owns the sandbox's group, and `close` ends it.
        self._task = asyncio.create_task(self._supervise(deadline_s), name=f"sandbox {self._id}")
        try:
            await self._started.wait()
        except BaseException:
            await self.close()
            raise
        if self._start_error is not None:
            await self.close()
            raise self._start_error

    @property
    def alive(self) -> bool:
        """Whether code can run: False once the kernel has ended or `close` was called."""
        return self._started.is_set() and not self._ending.is_set()

    @property
    def kernel(self) -> KernelClient:
        """The client of the kernel. Raises `SandboxGone`, with the reason, if the kernel has ended."""
        if self._kernel is None or not self.alive:
            reason = self.death.detail if self.death else "Its kernel has gone."
            raise SandboxGone(f"The sandbox is gone. {reason}", sandbox_id=self._id)
        return self._kernel

    def limit(self) -> None:
        """Starts the countdown of `lifetime_s`. After it the sandbox ends, even while code runs."""
        lifetime_s = self._spec.limits.lifetime_s
        death = Death(f"The sandbox had lived for its {lifetime_s:g} s.", "lifetime_s")
        if self._lifetime is not None:
            self._lifetime.cancel()
        self._lifetime = asyncio.get_running_loop().call_later(lifetime_s, self.terminate, death)

    def terminate(self, death: Death) -> None:
        """Begins the end of the sandbox. The first call sets the reason."""
        if self.death is None:
            self.death = death
            log.info("sandbox ended", sandbox=self._id, reason=death.detail, limit=death.limit)
        self._ending.set()
        self.died.set()

    async def close(self) -> None:
        """Ends the sandbox and waits for that, 10 seconds at most. The sandbox ends even if this call is cancelled."""
        if self._started.is_set():
            self.terminate(Death("The sandbox was closed."))
        elif self._task is not None:
            self._task.cancel()
        with anyio.CancelScope(shield=True):
            if self._task is not None:
                await asyncio.wait({self._task}, timeout=CLOSE_TIMEOUT_S)

    async def _supervise(self, deadline_s: float) -> None:
        """Runs the whole lifecycle, and destroys the sandbox however it ends."""
        try:
            async with self.tasks:
                await self._begin(deadline_s)
                await self._ending.wait()
                self.terminate(self.death or await self._find_death())
                await self._destroy()
        except Exception:
            log.exception("a sandbox failed", sandbox=self._id)
            self._start_error = SandboxStartFailed("The server failed to start the sandbox.", sandbox_id=self._id)
        finally:
            self._started.set()
            self.terminate(Death("The server ended the sandbox."))
            await self._destroy()
            # After an error in this class nothing else would end a running execution, and its reader would hang.
            self._inbox.end("done", None, self.death)

    async def _begin(self, deadline_s: float) -> None:
        began_at = time.perf_counter()
        try:
            async with asyncio.timeout(deadline_s):
                await self._warm_up()
            log.info("sandbox started", sandbox=self._id, seconds=round(time.perf_counter() - began_at, 3))
        except SandboxError as error:
            self._start_error = error
            self.terminate(Death(error.message))
        except (TimeoutError, ConnectionError) as error:
            late = isinstance(error, TimeoutError)
            problem = f"The kernel did not answer within {deadline_s:g} s." if late else f"{error}"
            death = await self._find_death()
            self._start_error = SandboxStartFailed(f"{problem} {death.detail}", sandbox_id=self._id)
            self.terminate(death)
        self._started.set()

    async def _warm_up(self) -> None:
        take = claim_of(self._backend) or self._backend.create
        started = await take(self._id, self._spec)
        self.image = started.image
        limits = self._spec.limits
        kernel = self._kernel = KernelClient(
            started.connection,
            self._inbox,
            limit_bytes=limits.output_bytes,
            attention_s=limits.attention_s,
            dial=started.dial,
        )
        self.tasks.create_task(self._watch_kernel(kernel))
        await kernel.connect(self.tasks)
        names = self._spec.preload
        preload = kernel.execute(PRELOAD.format(names=names) if names else "pass", silent=True)
        await asyncio.wait({preload.done})
        if kernel.gone.is_set():
            raise ConnectionError("The kernel ended while it started.")

    async def _watch_kernel(self, kernel: KernelClient) -> None:
        await kernel.gone.wait()
        if kernel.fault is not None:
            self.terminate(FAULTS[kernel.fault])
        self._ending.set()

    async def _find_death(self) -> Death:
        try:
            async with asyncio.timeout(EXIT_REASON_TIMEOUT_S):
                return await self._backend.death(self._id, self._spec.limits)
        except Exception:
            log.exception("why a kernel ended could not be found", sandbox=self._id)
            return Death("The kernel has gone.")

    async def _destroy(self) -> None:
        if self.destroyed.is_set():
            return
        if self._lifetime is not None:
            self._lifetime.cancel()
        if self._kernel is not None:
            self._kernel.close()
        try:
            async with asyncio.timeout(DESTROY_TIMEOUT_S):
                await self._backend.destroy(self._id)
        except Exception:  # This is the last step of the sandbox's task: nobody would catch the error.
            log.exception("a sandbox could not be destroyed", sandbox=self._id)
        self.destroyed.set()
