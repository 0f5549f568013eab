"""Parts of the server that start in the background: a way to open one enters, its value or its error leaves.

The socket listens before the database, the pool and the model are there; whoever needs one waits here.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import anyio
import structlog

from codeact.errors import CodeActError
from sandbox_pool.errors import SandboxError

__all__ = ["Opened", "Part"]

log = structlog.get_logger(__name__)
T = TypeVar("T")

FIRST_PAUSE_S, LONGEST_PAUSE_S = 2.0, 30.0


@dataclass(frozen=True, slots=True)
class Opened(Generic[T]):
    """A part that runs: its value, what it is in half a line, why it was chosen, and how to have a better one."""

    value: T
    summary: str
    why: str
    hints: tuple[str, ...] = ()


class Part(Generic[T]):
    """One part. `run` is its task; everything else may be called from any task of the same loop."""

    def __init__(self, name: str, open_: Callable[["Part[T]"], AbstractAsyncContextManager[Opened[T]]]) -> None:
        self.name = name
        self.progress = "starting"
        self.on_progress: Callable[[str], None] = lambda line: None
        self.opened: Opened[T] | None = None
        self.error: Exception | None = None
        self._open = open_
        self._settled = anyio.Event()
        self._closing = anyio.Event()
        self._closed = anyio.Event()

    @property
    def state(self) -> Literal["starting", "ready", "failed"]:
        if self.opened is not None:
            return "ready"
        return "failed" if self.error is not None else "starting"

    async def run(self) -> None:
        """Opens the part, keeps it until `close`, and closes it in this same task. Never raises.

        A failure that may pass (a database that is not up yet) is tried again until it opens or `close` comes.
        """
        pause_s = FIRST_PAUSE_S
        try:
            while not self._closing.is_set():
                if not await self._hold():
                    return
                with anyio.move_on_after(pause_s):
                    await self._closing.wait()
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
        finally:
            self._settled.set()
            self._closed.set()

    async def _hold(self) -> bool:
        """One attempt, to its end; whether another one makes sense."""
        try:
            async with self._open(self) as opened:
                self.opened, self.error = opened, None
                self._settled.set()
                log.info("part ready", part=self.name, summary=opened.summary, why=opened.why)
                await self._closing.wait()
        except (CodeActError, SandboxError) as error:
            self._fail(error)
            return error.retryable
        except Exception as error:
            log.exception("part failed by an error of ours", part=self.name)
            self._fail(error)
        return False

    def _fail(self, error: Exception) -> None:
        log.error("part failed", part=self.name, reason=str(error))
        self.opened, self.error = None, error
        self._settled.set()

    def say(self, line: str) -> None:
        """Tells how far opening has come; for the terminal and `/readyz`."""
        self.progress = line
        self.on_progress(line)

    async def settled(self) -> None:
        """Returns once the part runs or has failed."""
        await self._settled.wait()

    async def get(self) -> T:
        """The part's value, once it runs. Raises what it failed with; cancelling only stops the waiting."""
        await self._settled.wait()
        if self.opened is None or self._closing.is_set():
            raise self.error or CodeActError(f"The {self.name} has been closed: the server is stopping.")
        return self.opened.value

    async def close(self) -> None:
        """Asks the part to close and waits for it."""
        self._closing.set()
        await self._closed.wait()
