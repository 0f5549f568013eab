"""Components of the server that start in the background and restart after a failure: database, pool, models.

The server listens before its components are ready; a request that needs one waits here. A component that cannot be
opened, or fails later, is opened again, so that an engine or a database that comes up later is found.
"""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from copy import copy
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import anyio

from codeact.errors import CodeActError
from sandbox_pool.backoff import Backoff
from sandbox_pool.errors import SandboxError
from sandbox_pool.logs import Logger

__all__ = ["Component", "ComponentFailed", "Started"]

log = Logger(__name__)
T = TypeVar("T", covariant=True)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 2.0, 30.0
STEADY_S = 60.0
"""After a component was open for this long, its next restart uses the shortest pause."""


class ComponentFailed(CodeActError):
    """A component failed because of a bug in our code; it is restarted."""

    code = "part_failed"
    status = 503
    retryable = True


@dataclass(frozen=True, slots=True)
class Started(Generic[T]):
    """A running component: its value, a summary in half a line, why it was chosen, and hints for a better choice."""

    value: T
    summary: str
    why: str
    hints: tuple[str, ...] = ()


class Component(Generic[T]):
    """A component that starts in the background. One task calls `run`; any task of the same loop may call the rest."""

    def __init__(self, name: str, open_: Callable[["Component[T]"], AbstractAsyncContextManager[Started[T]]]) -> None:
        self.name = name
        self.progress = "starting"
        self.on_progress: Callable[[str], None] = lambda line: None
        self.started: Started[T] | None = None
        self.error: CodeActError | SandboxError | None = None
        self._open = open_
        self._settled = anyio.Event()
        self._closing = anyio.Event()
        self._running = False
        self._ended = anyio.Event()

    @classmethod
    def running(cls, name: str, value: T) -> "Component[T]":  # type: ignore[misc]  # A constructor, so it may take T.
        """Makes a component that is running already. Nobody needs to start or close it."""

        @asynccontextmanager
        async def opened(component: Component[T]) -> AsyncIterator[Started[T]]:
            yield Started(value, name, "")

        component = cls(name, opened)
        component.started = Started(value, name, "")
        component._settled.set()
        return component

    @property
    def state(self) -> Literal["starting", "ready", "failed"]:
        if self.started is not None:
            return "ready"
        return "failed" if self.error is not None else "starting"

    async def run(self) -> None:
        """Opens the component, keeps it open until `close`, and closes it in the same task.

        If opening fails, for whatever reason, it is tried again until it succeeds or `close` is called: the cause may
        be fixed while the server runs. If this raises, it can be called again.
        """
        backoff, self._running = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S), True
        try:
            while not self._closing.is_set():
                began_at = time.monotonic()
                await self._run_once()
                if time.monotonic() - began_at >= STEADY_S:
                    backoff.reset()
                with anyio.move_on_after(backoff.next_s()):
                    await self._closing.wait()
        finally:
            self.started, self._running = None, False
            if self.error is None and not self._closing.is_set():
                self.error = ComponentFailed(
                    f"The {self.name} failed because of an internal error; it is being opened again."
                )
            self._settled.set()
            self._ended.set()
            self._ended = anyio.Event()

    async def _run_once(self) -> None:
        """Makes one attempt: opens the component and waits until it is closed or fails."""
        try:
            async with self._open(self) as started:
                self.started, self.error = started, None
                self._settled.set()
                log.info("component ready", component=self.name, summary=started.summary, why=started.why)
                await self._closing.wait()
        except (CodeActError, SandboxError) as error:
            self._fail(error)
        except Exception:
            log.exception("component failed because of an internal error", component=self.name)
            self._fail(
                ComponentFailed(f"The {self.name} failed because of an internal error; the server's log has it.")
            )

    def _fail(self, error: CodeActError | SandboxError) -> None:
        if self.error is None or str(error) != str(self.error):
            log.error("component failed", component=self.name, reason=str(error))
        self.started, self.error = None, error
        self._settled.set()

    def report_progress(self, line: str) -> None:
        """Reports the progress of starting, to the terminal and to `/readyz`."""
        self.progress = line
        self.on_progress(line)

    async def settled(self) -> None:
        """Returns when the component runs or has failed."""
        await self._settled.wait()

    async def get(self) -> T:
        """Waits until the component runs; returns its value. Raises its error. Cancelling only stops the waiting."""
        await self._settled.wait()
        if self.started is not None and not self._closing.is_set():
            return self.started.value
        if self.error is not None:
            raise copy(self.error)  # A copy, because each raise extends the exception's traceback.
        raise CodeActError(f"The {self.name} has been closed: the server is stopping.")

    async def close(self) -> None:
        """Asks the component to close and waits until it has. Returns at once if it is not running."""
        ended = self._ended
        self._closing.set()
        if self._running:
            await ended.wait()
