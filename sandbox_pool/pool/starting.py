"""Starts sandboxes, and tracks why starts fail."""

import random
import secrets
import time
from collections.abc import Callable

import anyio

from sandbox_pool.backends.base import Backend
from sandbox_pool.backoff import Backoff
from sandbox_pool.errors import SandboxError, SandboxStartFailed
from sandbox_pool.logs import Logger
from sandbox_pool.pool.stats import Measurements
from sandbox_pool.pool.wait_queue import Changes
from sandbox_pool.sandbox.sandbox import Sandbox
from sandbox_pool.spec import SandboxSpec

__all__ = ["Starts", "jittered"]

log = Logger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 32.0
"""The pauses between failing starts: the first applies while a request waits, the second is the longest."""
MAX_FAILURES = 3
"""After this many failures in a row, waiting requests fail. An error that is not retryable fails them at once."""


class Starts:
    """Starts sandboxes. `under_way` counts running starts; `error` is why the last start failed, None after a success.

    After a failed start, `doubt` is called with the sandbox's id: the backend may have failed to clean up.
    """

    def __init__(
        self,
        backend: Backend,
        changes: Changes,
        measured: Measurements,
        *,
        timeout_s: float,
        doubt: Callable[[str], None],
    ) -> None:
        self.under_way = 0
        self.error: SandboxError | None = None
        self.packages: tuple[str, ...] = ()
        self._failed_in_a_row = 0
        self._backoff = Backoff(2 * FIRST_PAUSE_S, LONGEST_PAUSE_S, jitter=0.2)
        self._backend = backend
        self._changes = changes
        self._measured = measured
        self._timeout_s = timeout_s
        self._doubt = doubt

    @property
    def hopeless(self) -> bool:
        """Whether the next start will probably fail, too."""
        return self.error is not None and (not self.error.retryable or self._failed_in_a_row >= MAX_FAILURES)

    async def one(self, spec: SandboxSpec) -> Sandbox | None:
        """Starts one sandbox. Returns None if that fails, with the reason in `error`. Cancelling destroys it."""
        sandbox_id = f"cntr_{time.time_ns() // 1_000_000:012x}{secrets.token_hex(16)}"
        began = time.monotonic()
        self.under_way += 1
        try:
            sandbox = await Sandbox.start(self._backend, sandbox_id, spec, deadline_s=self._timeout_s)
        except SandboxError as error:
            self._failed(sandbox_id, error)
            return None
        except Exception as error:
            log.exception("sandbox start failed because of an internal error", sandbox=sandbox_id)
            self._failed(sandbox_id, SandboxStartFailed(f"The sandbox could not start: {error!r}"))
            return None
        finally:
            self.under_way -= 1
            self._changes.notify()
        self._measured.started(time.monotonic() - began)
        self._failed_in_a_row, self.error = 0, None
        self._backoff.reset()
        if sandbox.alive:
            self.packages = sandbox.packages
        return sandbox

    def _failed(self, sandbox_id: str, error: SandboxError) -> None:
        log.warning("sandbox start failed", sandbox=sandbox_id, code=error.code, reason=error.message)
        self._measured.failed(error.message)
        self._failed_in_a_row += 1
        self.error = error
        self._doubt(sandbox_id)

    async def pause(self, *, is_urgent: Callable[[], bool]) -> None:
        """Waits before the start after a failure: longer after each failure, but only briefly while it is urgent."""
        await anyio.sleep(FIRST_PAUSE_S)
        with anyio.move_on_after(self._backoff.next_s()):
            await self._changes.until(is_urgent)


def jittered(duration_s: float) -> float:
    """Shortens the duration at random by up to a fifth, so that what begins together does not end together."""
    return duration_s * random.uniform(0.8, 1.0)  # noqa: S311
