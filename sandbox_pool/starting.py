"""Starts sandboxes: a backend and a spec enter, a warm sandbox leaves, or the reason why there is none."""

import random
import secrets
import time
from collections.abc import Callable

import anyio

from sandbox_pool.backends import Backend
from sandbox_pool.errors import SandboxError, SandboxStartFailed
from sandbox_pool.logs import Logger
from sandbox_pool.sandbox import Sandbox
from sandbox_pool.spec import SandboxSpec
from sandbox_pool.stats import Measurements
from sandbox_pool.waiting import Changes

__all__ = ["Starts", "jittered"]

log = Logger(__name__)

FIRST_PAUSE_S, DOUBLINGS = 0.25, 7
"""Between failing starts: up to half a minute."""
PATIENCE = 3
"""Failed starts in a row until there is no hope; one that does not pass by itself needs no second."""


class Starts:
    """`under_way` counts them; `error` is why the last one failed, None after one that did not.

    Of a failed one something may be left, if its backend failed at the clean-up too: `doubt` gets its id.
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
        self._failed_in_a_row = 0
        self._backend = backend
        self._changes = changes
        self._measured = measured
        self._timeout_s = timeout_s
        self._doubt = doubt

    @property
    def hopeless(self) -> bool:
        """Whether waiting for the next one is no use."""
        return self.error is not None and (not self.error.retryable or self._failed_in_a_row >= PATIENCE)

    async def one(self, spec: SandboxSpec) -> Sandbox | None:
        """A warm sandbox; None when it failed, and `error` says why. Cancelling it leaves nothing behind."""
        sandbox_id = f"cntr_{time.time_ns() // 1_000_000:012x}{secrets.token_hex(16)}"
        began = time.monotonic()
        self.under_way += 1
        try:
            sandbox = await Sandbox.start(self._backend, sandbox_id, spec, deadline_s=self._timeout_s)
        except SandboxError as error:
            self._failed(sandbox_id, error)
            return None
        except Exception as error:
            log.exception("sandbox start failed by an error of ours", sandbox=sandbox_id)
            self._failed(sandbox_id, SandboxStartFailed(f"The sandbox could not start: {error!r}"))
            return None
        finally:
            self.under_way -= 1
            self._changes.notify()
        self._measured.started(time.monotonic() - began)
        self._failed_in_a_row, self.error = 0, None
        return sandbox

    def _failed(self, sandbox_id: str, error: SandboxError) -> None:
        log.warning("sandbox start failed", sandbox=sandbox_id, code=error.code, reason=error.message)
        self._measured.failed(error.message)
        self._failed_in_a_row += 1
        self.error = error
        self._doubt(sandbox_id)

    async def pause(self, *, is_urgent: Callable[[], bool]) -> None:
        """Before the next one after a failure: longer each time, but the shortest while it is urgent."""
        await anyio.sleep(FIRST_PAUSE_S)
        longest_s = FIRST_PAUSE_S * 2 ** min(self._failed_in_a_row, DOUBLINGS)
        with anyio.move_on_after(jittered(longest_s)):
            await self._changes.until(is_urgent)


def jittered(duration_s: float) -> float:
    """Up to a fifth less, so that what begins together does not end together."""
    return duration_s * random.uniform(0.8, 1.0)  # noqa: S311
